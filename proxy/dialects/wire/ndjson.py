"""Newline-delimited JSON (application/x-ndjson), as Ollama's native endpoints stream it."""

from __future__ import annotations

from proxy.errors import UpstreamBroken

MAX_LINE = 4 * 1024 * 1024
"""Bytes. A line is read as JSON in one go, while everybody waits. Ollama's longest is the last of /api/generate, with
some seven bytes for each token of the context."""


class Parser:
    """Bytes in at any chunking, complete lines out, each with its line break.

    parts: of the line that is not complete yet
    """

    __slots__ = ("_size", "parts")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now; empty ones are left out. Raises UpstreamBroken beyond MAX_LINE."""
        if self.parts:
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
        self.parts.append(rest)
        self._size += len(rest)
        if self._size > MAX_LINE:
            raise UpstreamBroken(f"the model server sent a line of more than {MAX_LINE} bytes", "protocol")

    def _rest(self) -> bytes:
        """What was kept, no longer kept."""
        rest = b"".join(self.parts)
        self.parts.clear()
        self._size = 0
        return rest
