"""HTTP/1.1 as bytes: what is written, what is read, at any chunking."""

from __future__ import annotations

import httpx
import pytest

from proxy.server.upstream.client import UpstreamHeaders
from proxy.server.upstream.http1 import MAX_HEAD, Headers, ResponseParser, encode_request
from tests.server.faulty_server import chunked, ok

AUTHORITY = b"127.0.0.1:8080"


def encode(method: bytes = b"GET", target: bytes = b"/", headers: Headers = (), body: bytes = b"") -> bytes:
    return encode_request(method, target, AUTHORITY, headers, body)


def test_request_in_one_piece() -> None:
    """Request line, Host, the caller's headers in their order, content-length, body."""
    assert encode(b"POST", b"/a?b=c", [(b"X-One", b"1"), (b"x-two", b"\xe9 \t2")], b"body") == (
        b"POST /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nX-One: 1\r\nx-two: \xe9 \t2\r\ncontent-length: 4\r\n\r\nbody"
    )


def test_length_of_no_body() -> None:
    """A method that is about a body says that there is none; the others say nothing."""
    assert b"content-length: 0\r\n" in encode(b"POST")
    assert b"content-length" not in encode(b"GET")


def test_host_of_the_caller() -> None:
    """The caller's Host takes the place of the origin's."""
    assert encode(headers=[(b"Host", b"model.example")]) == b"GET / HTTP/1.1\r\nHost: model.example\r\n\r\n"


def test_length_of_the_caller() -> None:
    """A content-length that is right is not repeated."""
    assert encode(b"POST", headers=[(b"Content-Length", b"2")], body=b"hi").lower().count(b"content-length") == 1


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"GET", b"/", [(b"x", b"1\r\nevil: 1")]),
        (b"GET", b"/", [(b"x", b"1\nevil: 1")]),
        (b"GET", b"/", [(b"x", b"1\r")]),
        (b"GET", b"/", [(b"x", b"1\0")]),
        (b"GET", b"/", [(b"x\r\nevil", b"1")]),
        (b"GET", b"/", [(b"x: 1\r\nevil", b"1")]),
        (b"GET", b"/", [(b"x ", b"1")]),
        (b"GET", b"/", [(b"", b"1")]),
        (b"GET", b"/", [(b"x\n", b"1")]),
        (b"GET", b"/", [(b"host", b"a"), (b"Host", b"b")]),
        (b"GET", b"/ HTTP/1.1\r\nevil: 1\r\n\r\n", []),
        (b"GET", b"/a b", []),
        (b"GET", b"/\n", []),
        (b"GET", b"", []),
        (b"GET /", b"/", []),
        (b"", b"/", []),
        (b"POST", b"/", [(b"content-length", b"1")]),
        (b"POST", b"/", [(b"Transfer-Encoding", b"chunked")]),
    ],
)
def test_request_that_could_become_another(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever could forge a header, a length or a request is refused, and never repaired."""
    with pytest.raises(httpx.LocalProtocolError):
        encode(method, target, headers, b"hi" if method == b"POST" else b"")


# Reading

EARLY = b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n"
TRAILERS = chunked(b"hel", b"lo", end=b"0\r\nx-sum: 1\r\n\r\n")
BY_CLOSE = b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\nhello"
# bytes -> status, body, reusable, ends_by_close
ANSWERS = {
    ok(b"hello", b"X-A: 1"): (200, b"hello", True, False),
    ok(b""): (200, b"", True, False),
    TRAILERS: (200, b"hello", True, False),
    EARLY + EARLY + TRAILERS: (200, b"hello", True, False),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, b"", True, False),
    ok(b"hello", b"connection: close"): (200, b"hello", False, False),
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello": (200, b"hello", True, False),
    BY_CLOSE: (200, b"hello", False, True),
}


def read(*pieces: bytes, to_head: bool = False) -> ResponseParser:
    parser = ResponseParser(to_head=to_head)
    for piece in pieces:
        parser.feed(piece)
    return parser


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_chunking(answer: bytes) -> None:
    """An answer means the same whole, byte by byte, and cut in two anywhere; it is done with its last byte."""
    cuts = [(answer,), tuple(bytes([byte]) for byte in answer)]
    cuts += [(answer[:at], answer[at:]) for at in range(1, len(answer))]
    for pieces in cuts:
        parser = read(*pieces[:-1])
        assert not parser.done
        parser.feed(pieces[-1])
        assert parser.done is not parser.ends_by_close
        body = b"".join(parser.chunks)
        assert (parser.status, body, parser.reusable, parser.ends_by_close) == ANSWERS[answer]


def test_head_fields() -> None:
    """Header names come in lower case; the interim answer's headers and the trailers are not among them."""
    parser = read(EARLY + TRAILERS.replace(b"\r\n\r\n", b"\r\nX-A: B\r\n\r\n", 1))
    assert parser.headers == [(b"transfer-encoding", b"chunked"), (b"x-a", b"B")]
    assert (parser.reason, parser.http_version) == (b"OK", b"HTTP/1.1")


@pytest.mark.parametrize("extra", [b"H", b" ", b"garbage", ok(), b"\x00"])
def test_bytes_after_the_end(extra: bytes) -> None:
    """Bytes right after an answer change nothing of it, but the connection is not to be used again."""
    parser = read(TRAILERS + extra)
    assert (parser.done, b"".join(parser.chunks), parser.reusable) == (True, b"hello", False)


@pytest.mark.parametrize("answer", [ok(b"hello"), TRAILERS, ok(b"hello") + ok(), BY_CLOSE])
def test_body_in_answer_to_head(answer: bytes) -> None:
    """The answer to HEAD ends with its head; a body that comes all the same is dropped with its connection."""
    parser = read(answer, to_head=True)
    assert (parser.done, parser.chunks, parser.reusable) == (True, [], False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 3\r\n\r\nabc" + ok(),
        b"ICY 200 OK\r\n\r\n",
    ],
)
def test_what_is_not_http(answer: bytes) -> None:
    """What could be read in two ways is not read at all."""
    with pytest.raises(httpx.RemoteProtocolError):
        read(answer)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-a: aaaa\r\n"),
        (b"HTTP/1.1 200 OK\r\nx-a: ", b"aaaaaaaaaa"),
        (b"HTTP/1.1 200 ", b"OK OK OK"),
        (b"", b"HTTP/1.1 103 Early\r\nx-a: a\r\n\r\n"),
        (chunked(b"hello", end=b"0\r\n"), b"x-a: aaaa\r\n"),
        (chunked(b"hello", end=b"0\r\nx-a: "), b"aaaaaaaaaa"),
        (chunked(b"hello", end=b"5;"), b"extension;"),
    ],
    ids=["fields", "one field", "reason", "interim answers", "trailers", "one trailer", "chunk extension"],
)
def test_what_never_ends(start: bytes, piece: bytes) -> None:
    """Neither headers nor interim answers nor trailers nor extensions can go on for ever: 64 KiB is the bound."""
    parser = read(start) if start else ResponseParser()
    parser.chunks.clear()  # the reader has taken the body

    def go_on() -> None:
        for _ in range(2 * MAX_HEAD // len(piece)):
            parser.feed(piece)

    with pytest.raises(httpx.RemoteProtocolError, match="longer than 65536"):
        go_on()


def test_long_streams_have_no_bound() -> None:
    """The bound is for what never ends, not for the framing of a long stream, nor for headers and trailers together."""
    parser = read(ok(b"", b"x-a: " + b"a" * 40_000).replace(b"content-length: 0", b"transfer-encoding: chunked"))
    for _ in range(MAX_HEAD // 3):
        parser.feed(b"2\r\n")
        parser.feed(b"hi")
        parser.chunks.clear()
        parser.feed(b"\r\n")
    parser.feed(b"0\r\nx-b: " + b"b" * 40_000 + b"\r\n\r\n")
    assert parser.done


def test_trailers_of_any_number_in_one_piece() -> None:
    """The bound of the trailers holds also where they come all at once."""
    with pytest.raises(httpx.RemoteProtocolError, match="trailers are longer"):
        read(chunked(b"hello", end=b"0\r\n" + b"x-a: aaaa\r\n" * 9000 + b"\r\n"))


def test_what_many_requests_have_is_made_once_and_says_the_same() -> None:
    """Headers in a tuple and in a list make the same request, each with the framing of its own body."""
    pairs = (b"accept", b"a/b"), (b"content-type", b"c/d")
    for body in (b"", b"one", b"another"):
        args = b"POST", b"/x", b"host:1"
        assert encode_request(*args, pairs, body) == encode_request(*args, list(pairs), body)
    with pytest.raises(httpx.LocalProtocolError, match="does not fit"):
        encode_request(b"POST", b"/x", b"host:1", ((b"content-length", b"3"),), b"four")
    with pytest.raises(httpx.LocalProtocolError, match="no header may hold"):
        encode_request(b"POST", b"/x", b"host:1", ((b"a", b"b\r\nc: d"),), b"")


def test_what_a_client_brings_is_not_kept() -> None:
    """A client's credentials and trace stand in a list, of which nothing is remembered."""
    headers = UpstreamHeaders(None, pass_credentials=True)
    own = headers.build([(b"host", b"h")], b"a/b")
    assert type(own) is tuple
    assert headers.build([(b"accept", b"x")], b"a/b") is own
    for name in (b"authorization", b"x-api-key", b"traceparent"):
        with_more = headers.build([(name, b"secret")], b"a/b")
        assert with_more == [*own, (name, b"secret")]
