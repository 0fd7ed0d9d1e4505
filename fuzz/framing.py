"""The two framings: server-sent events and lines of JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from fuzz.mutations import ODD_BYTES, Mutation, cuts, mutate, mutations, split
from proxy.dialects.wire import ndjson, sse

LINE = re.compile(rb"\r\n|\n|\r")
FRAGMENTS = (
    *ODD_BYTES,
    b"data: x",
    b"data:",
    b"data:  y",
    b"event: e",
    b": c",
    b"id: 1",
    b"\xc3\xa9",
    b" ",
    b"\xef\xbb",
)
fragments = st.lists(st.sampled_from(FRAGMENTS), max_size=16)


def reference(data: bytes) -> list[tuple[bytes | None, bytes]]:
    """Data and name of each event, read from the whole stream line by line, after the WHATWG description.

    An event at the end without its blank line counts: some servers end so.
    """
    events: list[tuple[bytes | None, bytes]] = []
    said: list[bytes] = []
    name = b""
    for line in [*LINE.split(data.removeprefix(sse.BOM)), b""]:
        if line:
            key, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            said += [value] if key == b"data" else []
            name = value if key == b"event" else name
        else:
            if said or name:
                events.append((b"\n".join(said) if said else None, name))
            said, name = [], b""
    return events


@given(fragments, mutations, cuts)
def check_sse(parts: Sequence[bytes], applied: Sequence[Mutation], at: Sequence[int]) -> None:
    """However the stream is cut, the same events come, those that the reference reads, and no byte twice."""
    data = mutate(parts, FRAGMENTS, applied)
    whole = list(sse.events(data))
    parser = sse.Parser()
    got = [event for piece in split(data, at) for event in parser.feed(piece)] + parser.finish()
    assert [(e.data, e.name) for e in got] == [(e.data, e.name) for e in whole]
    assert [(e.data, e.name) for e in whole if e.data is not None or e.name] == reference(data)
    assert len(b"".join(event.raw for event in got)) <= len(data)


@given(fragments, mutations, cuts)
def check_ndjson(parts: Sequence[bytes], applied: Sequence[Mutation], at: Sequence[int]) -> None:
    """However the stream is cut, the lines are those of the whole, without blank ones."""
    data = mutate(parts, FRAGMENTS, applied)
    parser = ndjson.Parser()
    got = [line for piece in split(data, at) for line in parser.feed(piece)] + parser.finish()
    assert got == [line + b"\n" for line in data.split(b"\n") if line.strip()]


CHECKS: dict[str, Callable[[], None]] = {"framing: sse": check_sse, "framing: ndjson": check_ndjson}
