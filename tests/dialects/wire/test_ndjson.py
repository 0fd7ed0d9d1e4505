"""Lines of JSON, cut anywhere."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.wire.ndjson import MAX_LINE, Parser
from proxy.errors import UpstreamBroken


def lines_of(pieces: list[bytes]) -> list[bytes]:
    """All lines of a stream that came in these pieces."""
    parser = Parser()
    return [line for piece in pieces for line in parser.feed(piece)] + parser.finish()


@given(st.lists(st.sampled_from([b"{}", b'{"a":"\xc3\xa9"}', b"", b"  ", b"x\r", b"\x00"])), st.data())
def test_lines_do_not_depend_on_the_cuts(lines: list[bytes], data: st.DataObject) -> None:
    """Whatever the cuts, each line that is not blank comes once, with its line break, a last one without one too."""
    stream = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    expected = [line + b"\n" for line in lines if line.strip()]
    assert lines_of(pieces) == expected
    assert lines_of([stream[i : i + 1] for i in range(len(stream))]) == expected


def test_only_a_line_feed_ends_a_line() -> None:
    """Other separators of Unicode stand in ordinary text."""
    text = '{"a":"\u2028\u0085\u000b"}'.encode()
    assert lines_of([text + b"\n"]) == [text + b"\n"]


def test_a_line_has_a_limit() -> None:
    """A line that never ends is an error before it fills the memory."""
    parser = Parser()
    for _ in range(MAX_LINE // 65536):
        parser.feed(b"x" * 65536)
    with pytest.raises(UpstreamBroken):
        parser.feed(b"x")


def test_a_long_line_in_small_pieces_costs_little() -> None:
    """A line of 4 MB that comes in pieces of 400 bytes is read in linear time."""

    def work(pieces: int) -> float:
        parser = Parser()
        began = process_time()
        for _ in range(pieces):
            assert parser.feed(b"x" * 400) == []
        assert len(parser.feed(b"\n")[0]) == pieces * 400 + 1
        return process_time() - began

    work(100)
    assert work(10_000) < 40 * max(work(1_000), 0.001)  # 10 when it is linear, 100 when it is quadratic
