"""What every dialect offers: a Request read from the client's bytes, and an Answer made of the upstream's.

A dialect is one module with one `Dialect` object. A handler calls it:

    request = dialect.parse(body, options)           ClientError when it cannot be served
    ... request.texts are judged; text.put() writes back what a rule rewrote ...
    request.path, dialect.upstream_body(request)     never the client's bytes: an allow-list, serialised anew
    answer = dialect.answer(request, guard, notice)
    out = answer.take(data)                          upstream bytes in, client bytes out; one send per read
    out = answer.take_end(error)                     the upstream has ended
    while answer.work is not None: answer.step()     what was too much for one turn of the event loop
    answer.result()                                  for a client that does not stream
"""

from __future__ import annotations

from typing import Protocol

from proxy.core.guard import Guard
from proxy.dialects.answer import Answer, Notice
from proxy.dialects.request import Options, Request
from proxy.errors import ClientError, UpstreamError


class Dialect(Protocol):
    """One wire format."""

    name: str
    stream_type: str  # Content-Type of a streamed answer
    keep_alive: bytes  # sent while nothing else can be, b"" if the format has no comment

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a request. Raises ClientError, naming the field."""

    def instruct(self, request: Request, before: str, after: str) -> None:
        """Put the operator's words around the client's system text; one of them may be empty."""

    def upstream_body(self, request: Request) -> bytes:
        """What goes upstream: always asks for a stream."""

    def answer(self, request: Request, guard: Guard, notice: Notice) -> Answer:
        """The answer of one exchange, before its first byte."""

    def error(self, error: ClientError | UpstreamError, request_id: str) -> bytes:
        """An error body in this dialect's shape."""

    def blocked(self, message: str, request_id: str) -> bytes:
        """The 400 body for a prompt that a rule refuses."""

    def upstream_message(self, body: bytes) -> str:
        """The human part of an upstream's error body, whatever its shape; "" if there is none."""
