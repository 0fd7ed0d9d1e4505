"""uvicorn's HTTP/1.1 protocol with what it leaves out: a time limit for heads, and one request at a time.

uvicorn 0.54 on httptools has no limit for a request's head. It answers 400 into the middle of a running answer when
rubbish follows a request, and it stops reading while a pipelined request waits, so that it never sees the client go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import httptools
import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEAD = 64 * 1024  # bytes of a request's line and headers


class Refusal(NamedTuple):
    """An answer to what never became a request."""

    status: bytes
    message: str
    code: str

    def encoded(self) -> bytes:
        """The whole answer; the connection ends after it."""
        error = {"message": self.message, "type": "invalid_request_error", "param": None, "code": self.code}
        body = orjson.dumps({"error": error})
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        return head % (self.status, len(body)) + body


MALFORMED = Refusal(b"400 Bad Request", "This is not a well-formed HTTP/1.1 request", "malformed_request")
TOO_SLOW = Refusal(b"408 Request Timeout", "The request's head came too slowly", "request_timeout")
TOO_LARGE = Refusal(
    b"431 Request Header Fields Too Large", f"The request's head is larger than {MAX_HEAD} bytes", "head_too_large"
)


TRAILERS_TOO_LARGE = Refusal(
    b"431 Request Header Fields Too Large",
    f"The trailers or chunk extensions are larger than {MAX_HEAD} bytes",
    "trailers_too_large",
)

LINGER = 1.0  # seconds without a byte of the request after which a client has read the answer that came before its end
MOST_LINGERING = 10.0  # seconds for a client that goes on sending
UNREAD = 75.0  # seconds in which a client takes nothing of an answer that has been sent


class JoinedHead:
    """An answer's transport: the head waits for the first bytes of the body, which our app sends at once after it.

    uvicorn writes the head by itself, and uvloop makes a system call of every write: one more packet, and a tenth of
    a short request's time.
    """

    __slots__ = ("_close", "_head", "_transport", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self._head = b""
        self.write: Callable[[bytes], None] = self._keep

    def _keep(self, head: bytes) -> None:
        self._head = head
        self.write = self._join

    def _join(self, data: bytes) -> None:
        self.write = self._transport.write
        self._transport.write(self._head + data)
        self._head = b""

    def flush(self) -> None:
        """There is no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Close the connection."""
        self.flush()
        self._close()

    def is_closing(self) -> bool:
        """Whether it is."""
        return self._transport.is_closing()


class GuardedProtocol(HttpToolsProtocol):
    """One client's connection.

    In a request's state, `abort` ends it without waiting for what is unsent, and `write` sends a chunk of the answer
    without a task: together with `Http1Response.pump` that saves a fifth of an event's CPU.
    """

    def __init__(self, config: Config, server_state: ServerState, header_timeout: float) -> None:
        super().__init__(config, server_state, {"abort": self._abort, "write": self._write}, asyncio.get_running_loop())
        self._header_timeout = header_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_size = 0  # of what has arrived of a head, perhaps with the beginning of the body
        self._arrived = 0
        self._beside_body = 0  # bytes since the last of the body
        self._pipelined = False
        self._answer: JoinedHead | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._unread = 0
        self._reading: asyncio.TimerHandle | None = None  # whether the client does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The clock for the first head starts."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_clock()
        self._unset_keepalive_if_required()
        for timer in (self._lingering, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request. What comes while an answer is under way is dropped, and the connection ends after it
        (RFC 9112, section 9.3.2, lets a client that pipelines expect that)."""
        if self._lingering is not None:
            self._arrived += len(data)
            return
        if self._answering():
            self.cycle.keep_alive = False
            return
        self._parse(data)
        if self._in_head and self._head_timer is None and not self._over():
            self._start_clock()

    def on_message_begin(self) -> None:
        """A head begins."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._pipelined = True
            raise ValueError("a request before the answer to the one before it")
        self._unset_keepalive_if_required()  # empty lines before a request do not keep a connection open
        self._in_head = True
        self._head_size = self._arrived
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field. Trailers are read over: they must not become header fields (RFC 9110, section 6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = False
        self._beside_body = 0
        self._stop_clock()
        if self._head_size > MAX_HEAD and len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > MAX_HEAD:
            raise ValueError("a head that is too large")
        if not self._asks_for_upgrade():
            super().on_headers_complete()
            if not self.expect_100_continue:
                self._answer = JoinedHead(self.transport, self._close)
                self.cycle.transport = cast(asyncio.Transport, self._answer)

    def on_body(self, body: bytes) -> None:
        """Bytes of the body."""
        self._beside_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if not self._asks_for_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer has been sent. If the request has not been read to its end, nothing more of it will be; but a
        close at once would make the client lose the answer (RFC 9112, section 9.6)."""
        if self._answer is not None:
            self._answer.flush()
        self._watch_reading()
        if self.cycle.more_body and not self.transport.is_closing():
            self._linger()
            return
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What came is no request."""
        if self._pipelined:
            self.cycle.keep_alive = False
            return
        self._refuse(TOO_LARGE if self._head_size > MAX_HEAD else MALFORMED)

    def _parse(self, data: bytes) -> None:
        self._arrived = len(data)
        if self._in_head:
            self._head_size += len(data)
        else:
            self._beside_body += len(data)
        try:
            self.parser.feed_data(data)
            if self._in_head and self._head_size > MAX_HEAD:
                self._refuse(TOO_LARGE)
            elif self._beside_body > MAX_HEAD and not self._in_head:
                self._refuse(TRAILERS_TOO_LARGE)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _asks_for_upgrade(self) -> bool:
        """llhttp takes what follows such a head for another protocol, where it is the body: see below."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Java's client offers HTTP/2 with every request. No other protocol is spoken here, so the offer is taken out
        and the request read once more (RFC 9110, section 7.8: a server may ignore it); websockets leave a mark."""
        lines = [b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [b"%b: %b" % pair for pair in self.headers if pair[0] not in (b"upgrade", b"connection")]
        lines += [b"x-upgrade: %b" % value for name, value in self.headers if name == b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(b"\r\n".join((*lines, b"connection: close", b"", rest)))

    def _answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _refuse(self, refusal: Refusal) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # its body broke off: nobody must answer it
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self.transport.write(refusal.encoded())
        self._linger()

    def _close(self) -> None:
        """After an answer, or in the middle of one that failed."""
        if self.cycle.response_complete and self.cycle.more_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Send no more, and drop what still comes: a close would make the client's system forget the answer."""
        if self._lingering is None and not self.transport.is_closing():
            self._stop_clock()
            self.flow.resume_reading()
            self.transport.write_eof()
            self._arrived = 0
            self._lingering = self.loop.call_later(LINGER, self._lingered, self.loop.time() + MOST_LINGERING)

    def _lingered(self, until: float) -> None:
        if self._arrived and self.loop.time() < until:
            self._arrived = 0
            self._lingering = self.loop.call_later(LINGER, self._lingered, until)
        else:
            self.transport.abort()

    def _watch_reading(self) -> None:
        """See whether the client takes what it has not yet, also while the connection closes: else it would stay."""
        self._unread = self.transport.get_write_buffer_size()
        if self._unread and self._reading is None:
            self._reading = self.loop.call_later(UNREAD, self._look_at_reading)

    def _look_at_reading(self) -> None:
        self._reading = None
        unread = self._unread
        if self.transport.get_write_buffer_size() < unread:
            self._watch_reading()
        elif unread:
            self.transport.abort()

    def _over(self) -> bool:
        """No request is read any more."""
        return self.transport.is_closing() or self._lingering is not None

    def _start_clock(self) -> None:
        self._head_timer = self.loop.call_later(self._header_timeout, self._too_slow)

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self._over():
            self._refuse(TOO_SLOW)

    def _write(self, body: bytes) -> bool:
        """A chunk of the answer that is under way; False when the client does not read as fast."""
        if not self.cycle.disconnected:
            self.cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return not self.flow.write_paused

    def _abort(self) -> None:
        self.transport.abort()


def uvicorn_config(app: Any, keep_alive: float) -> Config:
    """uvicorn without its logging, websockets and Server header."""
    config = Config(
        app,
        ws="none",
        lifespan="off",
        http=GuardedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(keep_alive),
    )
    config.load()
    return config
