"""HTTP/1.1 as bytes, without any I/O: a request written, a response read (RFC 9112).

`encode_request` refuses what could forge a second header or a second request. `ResponseParser` wraps llhttp (httptools)
and adds what a client has to know: interim responses, the response to HEAD, bounds, and whether the connection ended
where the response ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import httptools
import httpx

Headers = Sequence[tuple[bytes, bytes]]

MAX_HEAD = 64 * 1024
"""The most bytes of header fields (with interim responses), of trailer fields, and of all else between body bytes."""

_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_target = re.compile(rb"[!-~]+").fullmatch
_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))


def encode_request(method: bytes, target: bytes, authority: bytes, headers: Headers, body: bytes) -> bytes:
    """The whole request in one piece, framed by content-length.

    `target` is the path with its query. `authority` becomes the Host unless `headers` has one. The encoding of a tuple
    of headers is cached, since many requests have the same one. So put secrets of clients into a list.
    Raises `httpx.LocalProtocolError` for what would not be one request with just these headers.
    """
    encode = _cached_head if type(headers) is tuple else _head
    head, framing = encode(method, target, authority, headers)
    for name, value in framing:
        _check_framing(name, value, body)
    if body or method in _WITH_BODY:
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
    return head + b"\r\n"


def _head(method: bytes, target: bytes, authority: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """A request's head without its framing, and the framing headers that were given."""
    if _token(method) is None or _target(target) is None:
        raise httpx.LocalProtocolError(f"request line {method!r} {target!r}: want a method token and a visible path")
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
    framing: list[tuple[bytes, bytes]] = []
    hosts = 0
    for name, value in headers:
        if _token(name) is None or _control(value) is not None:
            raise httpx.LocalProtocolError(f"header {name!r}: {value!r} holds characters that no header may hold")
        lowered = name.lower()
        if lowered == b"host":
            hosts += 1
        elif lowered in (b"content-length", b"transfer-encoding"):
            framing.append((lowered, value))
            continue
        lines.append(b"%b: %b\r\n" % (name, value))
    if hosts == 0:
        lines.insert(1, b"host: %b\r\n" % authority)
    elif hosts > 1:
        raise httpx.LocalProtocolError("header 'host' is given more than once; give it once or leave it out")
    return b"".join(lines), framing


_cached_head = lru_cache(maxsize=64)(_head)


def _check_framing(name: bytes, value: bytes, body: bytes) -> None:
    """The transport frames the request itself. A caller's header may only say the same."""
    if name != b"content-length" or value != b"%d" % len(body):
        raise httpx.LocalProtocolError(
            f"header {name!r}: {value!r} does not fit a body of {len(body)} bytes; leave it out"
        )


class ResponseParser:
    """One response, read from whatever pieces arrive. Do not feed it after `done`.

    `chunks` holds the body bytes that nobody has taken yet; the owner empties it. Header names are in lower case.
    Trailers are skipped, and so is an empty line right after the response, as between messages (RFC 9112 2.2).
    """

    __slots__ = (
        "_overhead",
        "_parser",
        "_size",
        "_to_head",
        "chunks",
        "done",
        "ends_by_close",
        "head_done",
        "headers",
        "http_version",
        "on_body",
        "reason",
        "received",
        "reusable",
        "status",
    )

    def __init__(self, *, to_head: bool = False) -> None:
        self.status = 0
        self.reason = b""
        self.http_version = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.received = False  # at least one byte came
        self.head_done = False
        self.done = False
        self.ends_by_close = False  # the body ends only with the connection
        self.reusable = False  # the connection may serve another request once this is done
        self.on_body = self.chunks.append  # httptools calls it for each piece; nothing is cheaper
        self._to_head = to_head
        self._size = 0  # of the header fields so far, then of the trailers
        self._overhead = 0  # bytes since the last progress: neither body nor the end of the headers
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read on. Raises `httpx.RemoteProtocolError`; body before the fault stays in `chunks`."""
        self.received = True
        had_head = self.head_done
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.done:
                raise _protocol_error(error) from error
            self.reusable = False  # bytes came after the end
        if self._to_head and self.head_done:
            self.chunks.clear()
        if self.chunks or had_head != self.head_done:
            self._overhead = 0
        elif not self.done:
            self._overhead += len(data)
            self._check_limit(self._overhead)

    def feed_eof(self) -> None:
        """The connection has ended. Raises `httpx.RemoteProtocolError` unless this response ends so."""
        if self.ends_by_close:
            self.done = True
        elif not self.received:
            raise httpx.RemoteProtocolError("the server closed the connection without a response")
        else:
            raise httpx.RemoteProtocolError(
                f"the server closed the connection within the response's {self._part('body')}"
            )

    def close(self) -> None:
        """Drop the parser, which refers back to this object, so that the garbage collector has nothing to do."""
        del self._parser

    def _part(self, after_head: str) -> str:
        return after_head if self.head_done else "headers"

    def _check_limit(self, size: int) -> None:
        if size > MAX_HEAD:
            raise httpx.RemoteProtocolError(f"the response's {self._part('trailers')} are longer than {MAX_HEAD} bytes")

    # Called by httptools. An error raised here stops the parser, and is the context of the error that it raises then.

    def on_message_begin(self) -> None:
        """Refuse a second message after the response. A message after an interim response is the response."""
        if self.done:
            raise httpx.RemoteProtocolError("bytes after the end of the response")

    def on_status(self, reason: bytes) -> None:
        """The reason phrase; may come in pieces."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer field."""
        self._size += len(name) + len(value) + 4
        self._check_limit(self._size)
        if not self.head_done:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The end of the headers, of the response or of an interim one."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self._skip_interim()
            return
        self._check_framing()
        self.head_done = True
        self._size = 0
        # llhttp does not know of HEAD and may wait for a body: such a connection is not used again.
        self.done = self._to_head
        self.reusable = self._parser.should_keep_alive() and not self._to_head

    def on_message_complete(self) -> None:
        """The end of the body, of the response or of an interim one."""
        self.done = self.head_done

    def _skip_interim(self) -> None:
        if self.status < 100 or self.status == 101:
            raise httpx.RemoteProtocolError(f"status {self.status} answers no request of this client")
        self.reason = b""
        self.headers.clear()

    def _check_framing(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise httpx.RemoteProtocolError(f"the response is HTTP/{version}, not HTTP/1.1")
        self.http_version = b"HTTP/" + version.encode()
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise httpx.RemoteProtocolError(
                f"transfer-encoding {b', '.join(codings).decode('latin-1')} is not 'chunked'"
            )
        framed = codings or self.status in (204, 304) or any(name == b"content-length" for name, _ in self.headers)
        self.ends_by_close = not framed


def _protocol_error(error: Exception) -> httpx.RemoteProtocolError:
    """The error that a callback raised, or llhttp's own."""
    if isinstance(error.__context__, httpx.RemoteProtocolError):
        return error.__context__
    return httpx.RemoteProtocolError(f"the response is not HTTP/1.1: {error}")
