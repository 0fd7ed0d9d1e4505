"""What a request's head says, as llhttp has read it: its line, whose name it is for, and offers that are not taken."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import httptools

from proxy.server.http.headers import Headers
from proxy.server.http.request import Scope


def complete_scope(scope: Scope, parser: httptools.HttpRequestParser, url: bytes, root_path: str) -> None:
    """Add the request's line to the scope that uvicorn has begun. Raises httptools' error for a target that is none.

    A target in absolute form says for whom the request is, and not Host (RFC 9112, section 3.2.2).
    """
    target = httptools.parse_url(url)
    raw_path: bytes = target.path or b"/"
    path = raw_path.decode("ascii")
    if target.host is not None:
        authority = _authority(target)
        scope["headers"] = [(name, authority if name == b"host" else value) for name, value in scope["headers"]]
    scope["method"] = parser.get_method().decode("ascii")
    scope["path"] = root_path + (unquote(path) if "%" in path else path)
    scope["raw_path"] = root_path.encode() + raw_path
    scope["query_string"] = target.query or b""
    scope["http_version"] = parser.get_http_version()


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
