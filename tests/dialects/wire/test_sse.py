"""Server-sent events, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.wire.sse import MAX_EVENT, Event, Parser, events
from proxy.errors import UpstreamBroken

PARTS = (b"data: a", b"data:", b"event: e", b": c", b"\n", b"\r", b"\r\n", b"\n\n", b"\xc3\xa9", b"\xef\xbb\xbf")


def read(pieces: list[bytes]) -> list[tuple[bytes | None, bytes]]:
    """Data and name of every event of a stream that came in these pieces."""
    parser = Parser()
    found: list[Event] = [event for piece in pieces for event in parser.feed(piece)]
    return [(event.data, event.name) for event in found + parser.finish()]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=12), st.lists(st.integers(0, 60), max_size=4))
def test_events_do_not_depend_on_the_cuts(parts: list[bytes], cuts: list[int]) -> None:
    """The same events come from the whole stream, from any pieces of it, and byte by byte."""
    stream = b"".join(parts)
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    expected = [(event.data, event.name) for event in events(stream)]
    assert read([stream[a:b] for a, b in pairwise(places)]) == expected
    assert read([stream[i : i + 1] for i in range(len(stream))]) == expected


@pytest.mark.parametrize(
    ("pieces", "data"),
    [
        ([b"data: a\r\r", b"data: b"], [b"a", b"b"]),  # CR CR at the end of a read, and then no line break any more
        ([b"data: a\r", b"\rdata: b\r\r"], [b"a", b"b"]),
        ([b"data: a\r\n", b"\r\ndata: b"], [b"a", b"b"]),
        ([b"\xef\xbb\xbfdata: a"], [b"a"]),  # a byte order mark before the only line
        ([b"\xef\xbb", b"\xbfdata: a\n\n"], [b"a"]),
    ],
)
def test_what_stands_at_the_end(pieces: list[bytes], data: list[bytes]) -> None:
    """Events at the end of a stream are told apart, with and without a last blank line."""
    assert [said for said, _ in read(pieces)] == data


def test_an_event_has_a_limit() -> None:
    """A line that never ends is the model server's error, not our memory's."""
    parser = Parser()
    for _ in range(MAX_EVENT // 65536):
        assert parser.feed(b"a" * 65536) == []
    with pytest.raises(UpstreamBroken):
        parser.feed(b"a")
