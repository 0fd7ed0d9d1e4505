"""Whether a response of the model server can be guarded, and which error it is if not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto

from proxy.core.guard import Guard
from proxy.dialects.base import Dialect
from proxy.errors import PromptTooLong, UpstreamBroken, UpstreamError
from proxy.server.http.headers import Headers
from proxy.server.upstream.client import FROM_UPSTREAM, TRANSPORT_ERRORS, UpstreamResponse

STREAM_TYPES = frozenset((b"text/event-stream", b"application/x-ndjson"))
WHOLE_TYPE = b"application/json"
MAX_ERROR_TEXT = 64 * 1024
WITHHELD = "The model server refused the request; its words are withheld by policy"
PAGE = b"text/html"  # no model server of these dialects sends it

TOO_LONG = re.compile(r"request \((\d{1,9}) tokens\) exceeds the available context size \((\d{1,9}) tokens\)", re.ASCII)
"""How llama.cpp, and so Ollama, refuses a long prompt (llama.cpp, tools/server/server-context.cpp)."""


class Shape(Enum):
    """The forms of a good response: a stream, or one body."""

    STREAM = auto()
    WHOLE = auto()


class UpstreamRefused(UpstreamError):
    """A 4xx or 5xx of the model server. Its `headers` go on to the client."""

    def __init__(self, message: str, response: UpstreamResponse) -> None:
        super().__init__(message, reason_of(response.status), response.status)
        self.headers = forwarded_headers(response.headers)
        self._plain = describe_response(response)

    @property
    def for_log(self) -> str:
        """Without the model server's words; see UpstreamError."""
        return self._plain


def reason_of(status: int) -> str:
    """One of UPSTREAM_REASONS."""
    return f"status_{status // 100}xx"


def describe_response(response: UpstreamResponse) -> str:
    """A response of which nothing else is known: its status, and whether it is a web page."""
    said = f"The model server answered with status {response.status}"
    return f"{said} and a web page: something else may be at its address" if _content_type(response) == PAGE else said


def _content_type(response: UpstreamResponse) -> bytes:
    header = dict(response.headers).get(b"content-type", b"")
    return header.partition(b";")[0].strip().lower()


async def check(response: UpstreamResponse, dialect: Dialect, guard: Guard) -> Shape:
    """The shape of a good response. Raises UpstreamRefused for errors of the model server, else UpstreamBroken."""
    header = dict(response.headers)
    encoding = header.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise UpstreamBroken("The model server sent an encoded answer, which was not asked for", "protocol")
    if response.status >= 400:
        raise await _read_error(response, dialect, guard)
    if response.status != 200:
        raise UpstreamBroken(describe_response(response), reason_of(response.status))
    kind = _content_type(response)
    if kind in STREAM_TYPES:
        return Shape.STREAM
    if kind == WHOLE_TYPE:
        return Shape.WHOLE
    if kind == PAGE:
        raise UpstreamBroken(describe_response(response), "protocol")
    raise UpstreamBroken("The model server answered with something that is neither a stream nor JSON", "protocol")


async def _read_error(response: UpstreamResponse, dialect: Dialect, guard: Guard) -> UpstreamRefused | PromptTooLong:
    try:
        body = await read_all(response, MAX_ERROR_TEXT)
    except (*TRANSPORT_ERRORS, UpstreamBroken):
        body = b""
    message = dialect.upstream_message(body)
    too_long = TOO_LONG.search(message) if response.status == 400 else None
    if too_long is not None:
        return PromptTooLong.with_counts(int(too_long[1]), int(too_long[2]), exact=True)
    if not message:
        message = describe_response(response)
    elif not guard.admits(message):
        message = WITHHELD
    return UpstreamRefused(message, response)


_DELAY = re.compile(rb"[0-9]{1,9}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")  # RFC 9110, 10.2.3


def forwarded_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of the model server's response that the client gets."""
    return [(name, value) for name, value in headers if name in FROM_UPSTREAM and _DELAY.fullmatch(value)]


async def read_all(response: UpstreamResponse, limit: int) -> bytes:
    """The whole body. Raises UpstreamBroken if it is longer than `limit`."""
    chunks: list[bytes] = []
    size = 0
    while data := await response.read_some():
        size += len(data)
        if size > limit:
            raise UpstreamBroken("The model server's answer is too long", "too_long")
        chunks.append(data)
    return b"".join(chunks)
