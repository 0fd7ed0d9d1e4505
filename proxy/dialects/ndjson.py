"""Newline-delimited JSON (application/x-ndjson), as Ollama's native endpoints stream it."""

from __future__ import annotations

from proxy.errors import UpstreamBroken

MAX_LINE = 16 * 1024 * 1024  # bytes


class Parser:
    """Bytes in at any chunking, complete lines out, each with its line break."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the line that is not complete yet
        self._size = 0

    @property
    def between(self) -> bool:
        """Whether the next byte begins a line."""
        return not self._parts

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now; empty ones are left out. Raises UpstreamBroken beyond MAX_LINE."""
        if self._parts:
            if b"\n" not in data:
                self._keep(data)
                return []
            data = self._rest() + data
        lines = data.split(b"\n")
        if lines[-1]:
            self._keep(lines[-1])
        lines.pop()
        return [line + b"\n" for line in lines if line.strip()]

    def finish(self) -> list[bytes]:
        """A last line without a line break."""
        rest = self._rest()
        return [rest + b"\n"] if rest.strip() else []

    def _keep(self, rest: bytes) -> None:
        self._parts.append(rest)
        self._size += len(rest)
        if self._size > MAX_LINE:
            raise UpstreamBroken(f"the model server sent a line of more than {MAX_LINE} bytes", "protocol")

    def _rest(self) -> bytes:
        """What was kept, no longer kept."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return rest
