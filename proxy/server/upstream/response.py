"""Whether the model server's answer is one that can be guarded, and what to make of it when it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto

from proxy.core.guard import Guard
from proxy.dialects.base import Dialect
from proxy.errors import PromptTooLong, UpstreamBroken, UpstreamError
from proxy.server.http.headers import Headers
from proxy.server.upstream.client import TRANSPORT_ERRORS, UpstreamResponse
from proxy.server.upstream.headers import FROM_UPSTREAM

STREAMS = frozenset((b"text/event-stream", b"application/x-ndjson"))
WHOLE = b"application/json"
MOST_ERROR_TEXT = 64 * 1024
WITHHELD = "The model server refused the request; its words are withheld by policy"
PAGE = b"text/html"  # what no model server of these dialects sends

TOO_LONG = re.compile(r"request \((\d{1,9}) tokens\) exceeds the available context size \((\d{1,9}) tokens\)", re.ASCII)
"""How llama.cpp refuses a long prompt, and Ollama with it (llama.cpp, tools/server/server-context.cpp)."""


class Shape(Enum):
    """How a good answer comes."""

    STREAM = auto()
    WHOLE = auto()


class UpstreamRefused(UpstreamError):
    """The model server's own 4xx or 5xx; `headers` of it go on to the client."""

    def __init__(self, message: str, response: UpstreamResponse) -> None:
        super().__init__(message, reason_of(response.status), response.status)
        self.headers = kept_headers(response.headers)
        self._plain = plain_answer(response)

    @property
    def for_log(self) -> str:
        """Without its words; see UpstreamError."""
        return self._plain


def reason_of(status: int) -> str:
    """One of UPSTREAM_REASONS."""
    return f"status_{status // 100}xx"


def plain_answer(response: UpstreamResponse) -> str:
    """What an answer is of which nothing else can be said: its status, and whether it is a page for people."""
    said = f"The model server answered with status {response.status}"
    return f"{said} and a web page: something else may be at its address" if _content_type(response) == PAGE else said


def _content_type(response: UpstreamResponse) -> bytes:
    header = dict(response.headers).get(b"content-type", b"")
    return header.partition(b";")[0].strip().lower()


async def check(response: UpstreamResponse, dialect: Dialect, guard: Guard) -> Shape:
    """The shape of a good answer. Raises UpstreamRefused for its own errors, UpstreamBroken for all else."""
    header = dict(response.headers)
    encoding = header.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise UpstreamBroken("The model server sent an encoded answer, which was not asked for", "protocol")
    if response.status >= 400:
        raise await _refusal(response, dialect, guard)
    if response.status != 200:
        raise UpstreamBroken(plain_answer(response), reason_of(response.status))
    kind = _content_type(response)
    if kind in STREAMS:
        return Shape.STREAM
    if kind == WHOLE:
        return Shape.WHOLE
    if kind == PAGE:
        raise UpstreamBroken(plain_answer(response), "protocol")
    raise UpstreamBroken("The model server answered with something that is neither a stream nor JSON", "protocol")


async def _refusal(response: UpstreamResponse, dialect: Dialect, guard: Guard) -> UpstreamRefused | PromptTooLong:
    try:
        body = await read_all(response, MOST_ERROR_TEXT)
    except (*TRANSPORT_ERRORS, UpstreamBroken):
        body = b""
    message = dialect.upstream_message(body)
    too_long = TOO_LONG.search(message) if response.status == 400 else None
    if too_long is not None:
        return PromptTooLong.about(int(too_long[1]), int(too_long[2]), exact=True)
    if not message:
        message = plain_answer(response)
    elif not guard.admits(message):
        message = WITHHELD
    return UpstreamRefused(message, response)


_DELAY = re.compile(rb"[0-9]{1,9}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")  # RFC 9110, 10.2.3


def kept_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Those of the model server's headers that a client gets."""
    return [(name, value) for name, value in headers if name in FROM_UPSTREAM and _DELAY.fullmatch(value)]


async def read_all(response: UpstreamResponse, limit: int) -> bytes:
    """The whole body. Raises UpstreamBroken when it is longer than `limit`."""
    chunks: list[bytes] = []
    size = 0
    while data := await response.read_some():
        size += len(data)
        if size > limit:
            raise UpstreamBroken("The model server's answer is too long", "too_long")
        chunks.append(data)
    return b"".join(chunks)
