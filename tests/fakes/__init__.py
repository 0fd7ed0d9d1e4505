"""A scripted model server on the loopback: it does what a healthy server will not.

A test gives it one answer, a list of answers, or a function from request to answer. An answer is a list of steps on
the bare socket: bytes (one write each, and the next waits until the peer has read it), `Wait`, `Stall`, `Close`,
`Reset`. What the client did is there to assert on: requests, the number of connections, when the client closed.

    async with FakeUpstream(reply(sse({"choices": []}, "[DONE]"))) as upstream:
        await client.post(upstream.base_url + "/chat/completions", json={})
        assert (await upstream.exchange()).request.path == "/v1/chat/completions"
"""

from __future__ import annotations

from tests.fakes.answers import (
    Answer,
    Close,
    Framing,
    Reset,
    Stall,
    Step,
    Wait,
    byte_by_byte,
    chunk,
    every,
    head,
    ndjson,
    reply,
    reply_json,
    several_per_write,
    split_at,
    sse,
)
from tests.fakes.connection import Exchange, FakeUpstreamError, Request
from tests.fakes.server import Answers, FakeUpstream
from tests.fakes.thread import FakeUpstreamThread

__all__ = [
    "Answer",
    "Answers",
    "Close",
    "Exchange",
    "FakeUpstream",
    "FakeUpstreamError",
    "FakeUpstreamThread",
    "Framing",
    "Request",
    "Reset",
    "Stall",
    "Step",
    "Wait",
    "byte_by_byte",
    "chunk",
    "every",
    "head",
    "ndjson",
    "reply",
    "reply_json",
    "several_per_write",
    "split_at",
    "sse",
]
