"""Responses to what never became a request. No dialect has been chosen, so they look like OpenAI's."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from proxy.errors import ClientError

MAX_HEAD = 64 * 1024  # bytes of a request's line and headers


class ErrorResponse(NamedTuple):
    """A response to what never became a request. `status`: the code and its phrase."""

    status: bytes
    message: str
    code: str

    def encode(self, date: bytes) -> bytes:
        """The whole response, with the Date header's line; the connection ends after it."""
        error = {"message": self.message, "type": "invalid_request_error", "param": None, "code": self.code}
        body = orjson.dumps({"error": error})
        head = b"HTTP/1.1 %b\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        return head % (self.status, date, len(body)) + body

    def error(self) -> ClientError:
        """The same for the handler that works on the request, and must not answer it."""
        return ClientError(self.message, code=self.code, status=int(self.status[:3]))


MALFORMED = ErrorResponse(b"400 Bad Request", "This is not a well-formed HTTP/1.1 request", "malformed_request")
HEAD_TOO_SLOW = ErrorResponse(b"408 Request Timeout", "The request's head came too slowly", "request_timeout")
HEAD_TOO_LARGE = ErrorResponse(
    b"431 Request Header Fields Too Large", f"The request's head is larger than {MAX_HEAD} bytes", "head_too_large"
)
TRAILERS_TOO_LARGE = ErrorResponse(
    b"431 Request Header Fields Too Large",
    f"The trailers or chunk extensions are larger than {MAX_HEAD} bytes",
    "trailers_too_large",
)
