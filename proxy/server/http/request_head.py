"""What a request's head says, as llhttp has read it: its line, whose name it is for, and offers that are not taken."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote

import httptools

from proxy.server.http.headers import Headers


class RequestHead(NamedTuple):
    """The parts of a head. `http_version`: "1.1"; `raw_path`: as it came, without the query."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    http_version: str
    headers: Headers

    def scope(self, root_path: str) -> dict[str, Any]:
        """Its part of an ASGI scope, for an application that lives below `root_path`."""
        return {
            "method": self.method,
            "path": root_path + self.path,
            "raw_path": root_path.encode() + self.raw_path,
            "query_string": self.query,
            "http_version": self.http_version,
            "headers": self.headers,
        }


def parse_request_head(parser: httptools.HttpRequestParser, url: bytes, headers: Headers) -> RequestHead:
    """The request's head. Raises httptools' error for a target that is none.

    A target in absolute form says for whom the request is, and not Host (RFC 9112, section 3.2.2).
    """
    target = httptools.parse_url(url)
    raw_path: bytes = target.path or b"/"
    path = raw_path.decode("ascii")
    if target.host is not None:
        authority = _authority(target)
        headers = [(name, authority if name == b"host" else value) for name, value in headers]
    method = parser.get_method().decode("ascii")
    path = unquote(path) if "%" in path else path
    return RequestHead(method, path, raw_path, target.query or b"", parser.get_http_version(), headers)


def _authority(target: Any) -> bytes:
    host = b"[%b]" % target.host if b":" in target.host else target.host
    return host if target.port is None else b"%b:%d" % (host, target.port)


def asks_for_upgrade(parser: httptools.HttpRequestParser) -> bool:
    """llhttp takes what follows such a head for another protocol, where it is the body."""
    return bool(parser.should_upgrade()) and parser.get_method() != b"CONNECT"


def without_upgrade(parser: httptools.HttpRequestParser, url: bytes, headers: Headers) -> bytes:
    """The head once more, without the offer (RFC 9110, section 7.8: a server may ignore it, and must in HTTP/1.0).

    Java's client offers HTTP/2 with every request. Websockets leave a mark.
    """
    lines = [b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())]
    lines += [b"%b: %b" % pair for pair in headers if pair[0] not in (b"upgrade", b"connection")]
    lines += [b"x-upgrade: %b" % value for name, value in headers if name == b"upgrade"]
    return b"\r\n".join((*lines, b"connection: close", b"", b""))
