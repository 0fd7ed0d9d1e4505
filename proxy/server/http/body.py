"""A request's body: whole, within its limits, decoded, in time; or one clear refusal.

Encodings: identity, gzip and x-gzip, deflate (RFC 1950, and the raw RFC 1951 that many send), zstd. What comes out is
bounded while it is made, so a small body cannot become a large one (a decompression bomb).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

import zstandard

from proxy.errors import BadRequest, ClientError, TooLarge, Unsupported

Receive = Callable[[], Awaitable[tuple[bytes, bool]]]
"""Gives what has arrived of a body, and whether more will come. Raises ClientGone."""

BODY_RATE = 16 * 1024
"""Bytes of a body that give its client one second more."""

GZIP, ZLIB, RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class ClientGone(Exception):
    """The client has left; there is nobody to answer."""


async def read_body(receive: Receive, limit: int, within: float) -> bytes:
    """The whole body as it came. Raises ClientGone, TooLarge (and reads no further), or ClientError 408."""
    chunks: list[bytes] = []
    size = 0
    more = True
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(within) as clock:
            while more:
                chunk, more = await receive()
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                clock.reschedule(began + within + size / BODY_RATE)
    except TimeoutError:
        raise ClientError("The request's body came too slowly", code="request_timeout", status=408) from None
    return b"".join(chunks)


def too_large(limit: int) -> TooLarge:
    """The refusal of a body over the limit."""
    return TooLarge(f"The request's body is larger than {limit} bytes (setting max_body)", code="body_too_large")


def decode(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Undo Content-Encoding (RFC 9110, section 8.4). Raises Unsupported, BadRequest or TooLarge."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    decoder = _DECODERS.get(name)
    if decoder is None:
        known = "identity, gzip, deflate, zstd"
        raise Unsupported(f"Content-Encoding {name[:40].decode('latin-1')!a} cannot be read; use one of {known}")
    try:
        decoded = decoder(body, limit)
    except (zlib.error, zstandard.ZstdError, _NotWholeError):
        raise BadRequest(
            f"The body is not what its Content-Encoding ({name.decode('latin-1')}) says", code="invalid_encoding"
        ) from None
    if len(decoded) > limit:
        raise too_large(limit)
    return decoded


class _NotWholeError(ValueError):
    """Compressed data that ends early or goes on after its end."""


def _gunzip(body: bytes, limit: int) -> bytes:
    return _inflate(body, limit, GZIP)


def _deflate(body: bytes, limit: int) -> bytes:
    try:
        return _inflate(body, limit, ZLIB)
    except zlib.error:
        return _inflate(body, limit, RAW_DEFLATE)


def _inflate(body: bytes, limit: int, format_bits: int) -> bytes:
    """At most one byte more than `limit`. Of several gzip members only one is taken: the others would be unseen."""
    decoder = zlib.decompressobj(format_bits)
    decoded = decoder.decompress(body, limit + 1)
    if len(decoded) <= limit and (not decoder.eof or decoder.unused_data):
        raise _NotWholeError
    return decoded


def _unzstd(body: bytes, limit: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()
    out: list[bytes] = []
    size = 0
    for start in range(0, len(body), _ZSTD_STEP):
        if decoder.eof:
            raise _NotWholeError
        piece = decoder.decompress(body[start : start + _ZSTD_STEP])
        out.append(piece)
        size += len(piece)
        if size > limit:
            break
    if size <= limit and (not decoder.eof or decoder.unused_data):
        raise _NotWholeError
    return b"".join(out)


_ZSTD_STEP = 256  # a byte of zstd can stand for 32 KiB
_DECODERS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"gzip": _gunzip,
    b"x-gzip": _gunzip,
    b"deflate": _deflate,
    b"zstd": _unzstd,
}
