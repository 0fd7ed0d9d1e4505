"""A model server that only keeps the pace: raw asyncio on uvloop, one write for each event.

    python -m bench.upstream [--port 9100]

It prints its port. bench/wire.py says how a model's name sets the pace. The events look like llama.cpp's. Without
`stream` the answer is one JSON body. It stops when its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import sys
import time
from functools import cache
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.wire import Pace, big_text, tokens

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
CREATED = 1_795_416_664
SPREAD = 997  # phases into which streams that begin together are spread; prime, so that they do not gather
APART = 811  # tokens between the beginnings of two answers


def _event(model: bytes, choices: bytes, created: bytes = b"%d" % CREATED, more: bytes = b"") -> bytes:
    """A chunk with llama.cpp's keys in its order."""
    return (
        b'data: {"choices":[%b],"created":%b,"id":"chatcmpl-76thLho5ONSlorFqqNqShFouyUn8yxJo","model":"%b",'
        b'"system_fingerprint":"b6904-3d7a4f2c1","object":"chat.completion.chunk"%b}\n\n'
    ) % (choices, created, model, more)


def _choice(delta: bytes, finish: bytes = b"null") -> bytes:
    return b'{"finish_reason":%b,"index":0,"delta":{%b}}' % (finish, delta)


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Script:
    """The bytes of an answer."""

    def __init__(self, pace: Pace, model: str, usage: bool) -> None:
        name = orjson.dumps(model)[1:-1]
        created = b"%d" if pace.stamp else b"%d" % CREATED
        before, after = _event(name, _choice(b'"content":"%b"'), created).split(b"%b")
        self.pace = pace
        self._stamped = pace.stamp
        self._before, self._after = before, after
        self._texts = encoded()
        self.first = HEAD + _chunked(_event(name, _choice(b'"role":"assistant","content":null')))
        if pace.big:
            text = orjson.dumps(big_text(pace))[1:-1]
            self.first += _chunked(_event(name, _choice(b'"content":"%b"' % text)))
        end = _event(name, _choice(b"", b'"stop"'))
        counts = b'{"completion_tokens":%d,"prompt_tokens":12,"total_tokens":%d}' % (pace.n, pace.n + 12)
        if usage:
            end += _event(name, b"", more=b',"usage":%b' % counts)
        self.last = _chunked(end + b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def write(self, at: int, count: int) -> bytes:
        """`count` events with the text from this token on, stamped now, as a server writes them: a chunk each."""
        before, after, texts = self._before, self._after, self._texts
        out = []
        for number in range(at, at + count):
            event = b"%b%b%b" % (before, texts[number % len(texts)], after)
            if self._stamped:
                event = event % time.monotonic_ns()
            out.append(_chunked(event))
        return b"".join(out)


@cache
def encoded() -> list[bytes]:
    """The tokens as they stand in JSON."""
    return [orjson.dumps(token)[1:-1] for token in tokens()]


def whole(pace: Pace, model: str) -> bytes:
    """An answer that is not streamed."""
    begin = big_text(pace) if pace.big else ""
    text = begin + "".join(itertools.islice(itertools.cycle(tokens()), pace.n))
    message = {"role": "assistant", "content": text}
    usage = {"completion_tokens": pace.n, "prompt_tokens": 12, "total_tokens": pace.n + 12}
    choice = {"finish_reason": "stop", "index": 0, "message": message}
    body = {"choices": [choice], "created": CREATED, "id": "chatcmpl-76thLho5", "model": model, "usage": usage}
    data = orjson.dumps(body | {"object": "chat.completion"})
    return WHOLE % (len(data), data)


class Upstream(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    _scripts: dict[tuple[str, bool], Script] = {}  # noqa: RUF012  (shared on purpose)
    _phases = itertools.count()
    _answers = itertools.count()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing to do until a request comes."""
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._script: Script | None = None
        self._at = 0
        self._begins = 0  # the first token: no two answers say the same
        self._due = 0.0
        self._paused = False

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy has closed it: nobody is there to write for."""
        self._script = None

    def on_body(self, data: bytes) -> None:
        """Called by httptools."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Called by httptools: answer."""
        request: dict[str, Any] = orjson.loads(b"".join(self._body) or b"{}")
        self._body.clear()
        model = str(request.get("model", ""))
        if not request.get("stream"):
            self._transport.write(whole(Pace.of(model), model))
            return
        self._script = script = self._script_of(model, bool(request.get("stream_options")))
        self._at = 0
        self._begins = next(self._answers) * APART
        self._transport.write(script.first)
        wait = script.pace.wait / 1000
        if not script.pace.rate:
            self._loop.call_later(wait, self._pour) if wait else self._pour()
            return
        phase = next(self._phases) * 7 % SPREAD / SPREAD if wait else 0.0
        self._due = self._loop.time() + wait + phase / script.pace.rate
        self._tick() if not wait else self._loop.call_at(self._due, self._tick)

    def _script_of(self, model: str, usage: bool) -> Script:
        script = self._scripts.get((model, usage))
        if script is None:
            script = self._scripts[model, usage] = Script(Pace.of(model), model, usage)
        return script

    def _tick(self) -> None:
        """One write, and the next one when it is due: late ones are made up for."""
        script = self._script
        if script is None:
            return
        self._write(script)
        if self._script is not None:
            self._due += 1 / script.pace.rate
            self._loop.call_at(self._due, self._tick)

    def _write(self, script: Script) -> None:
        pace = script.pace
        count = min(pace.batch, pace.n - self._at)
        data = script.write(self._begins + self._at, count)
        self._at += count
        if self._at >= pace.n:
            data += script.last
            self._script = None
        self._transport.write(data)

    # A flood stops where the proxy does not read.

    def pause_writing(self) -> None:
        """The proxy is behind."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        if self._script is not None and not self._script.pace.rate:
            self._pour()

    def _pour(self) -> None:
        """A write, and then the others have their turn."""
        if self._script is not None and not self._paused:
            self._write(self._script)
            self._loop.call_soon(self._pour)


async def serve(port: int) -> None:
    """Print the port; end with the standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.disable()
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
