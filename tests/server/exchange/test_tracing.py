"""W3C Trace Context: what goes on, what begins, and what is no trace."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.server.exchange.tracing import trace_of, traced
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import chat_body, running, said

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-00"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def header(value: str) -> list[tuple[bytes, bytes]]:
    """A request's headers."""
    return [(b"traceparent", value.encode()), (b"tracestate", b"a=b"), (b"accept", b"x")]


def test_a_valid_one_goes_on_as_it_came() -> None:
    """With its state and its flags, also of a later version with more parts."""
    for value in (VALID, f"cc-{TRACE}-{PARENT}-01-what-the-future-brings"):
        trace = trace_of(header(value))
        assert (trace.trace_id, trace.parent_id) == (TRACE, PARENT)
        assert list(traced(header(value), trace, own_span=False)) == header(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}\n-{PARENT}-01",
    ],
)
def test_an_invalid_one_is_left(value: str) -> None:
    """A trace begins, and the state of the other one is dropped."""
    trace = trace_of(header(value))
    assert trace.parent_id == ""
    (accept, sent) = traced(header(value), trace, own_span=False)
    assert accept == (b"accept", b"x")
    assert sent == (b"traceparent", f"00-{trace.trace_id}-{trace.span_id}-01".encode())


def test_two_are_none() -> None:
    """Nobody knows which of them is meant."""
    assert trace_of([*header(VALID), *header(VALID)]).parent_id == ""


def test_our_own_span_stands_between() -> None:
    """Where we tell of a span of our own, the model server's is below it, in the same trace with the same flags."""
    trace = trace_of(header(VALID))
    sent = dict(traced(header(VALID), trace, own_span=True))
    assert sent[b"traceparent"] == f"00-{TRACE}-{trace.span_id}-00".encode()
    assert sent[b"tracestate"] == b"a=b"


@given(st.binary(max_size=80))
def test_whatever_comes_what_is_sent_is_valid(value: bytes) -> None:
    """A header of any bytes leads to a valid one."""
    headers = [(b"traceparent", value)]
    sent = dict(traced(headers, trace_of(headers), own_span=True))[b"traceparent"]
    assert FORM.fullmatch(sent.decode())


@pytest.mark.anyio
async def test_the_model_server_gets_it() -> None:
    """From the client as it came, else one that begins here and stands in the record of the exchange."""
    async with FakeUpstream(reply(sse(*said("Hello")))) as upstream, running(upstream) as proxy:
        await proxy.chat()
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(), f"traceparent: {VALID}", "tracestate: a=b")
            await wire.answer()
        first, second = upstream.requests
        begun = (await proxy.exchange(0)).trace
        assert begun is not None
        assert first.header("traceparent") == f"00-{begun.trace_id}-{begun.span_id}-01"
        assert (second.header("traceparent"), second.header("tracestate")) == (VALID, "a=b")
        went_on = (await proxy.exchange(1)).trace
        assert went_on is not None
        assert went_on.trace_id == TRACE
