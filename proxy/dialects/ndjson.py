"""Newline-delimited JSON (application/x-ndjson), as Ollama's native endpoints stream it."""

from __future__ import annotations

from proxy.errors import UpstreamBroken

MAX_LINE = 16 * 1024 * 1024  # bytes


class Parser:
    """Bytes in at any chunking, complete lines out, each with its line break."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now; empty ones are left out. Raises UpstreamBroken beyond MAX_LINE."""
        if self._buffer:
            data = self._buffer + data
        lines = data.split(b"\n")
        self._buffer = lines.pop()
        if len(self._buffer) > MAX_LINE:
            raise UpstreamBroken(f"the model server sent a line of more than {MAX_LINE} bytes", "protocol")
        return [line + b"\n" for line in lines if line.strip()]

    def finish(self) -> list[bytes]:
        """A last line without a line break."""
        rest, self._buffer = self._buffer, b""
        return [rest + b"\n"] if rest.strip() else []
