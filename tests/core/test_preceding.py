"""What stands before a channel's text: the same as a look at all channels in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.gate import Gate
from proxy.core.preceding import MAX_PRECEDING, Preceding, shown_as
from proxy.core.types import Channel, Kind
from tests.phrases import rewrite

CHANNELS = [
    Channel(choice, kind, name)
    for choice in (0, 1)
    for kind, names in ((Kind.CONTENT, ("0", "1", "2.0")), (Kind.REASONING, ("0", "3")), (Kind.REFUSAL, ("refusal",)))
    for name in names
]
CHECKS = [rewrite("ab", ""), rewrite("c", "")]
said = st.tuples(st.sampled_from(CHANNELS), st.sampled_from(["", "a", "b", "c", "x", "ab", "y" * 700]), st.booleans())


def looked_up(opened: list[tuple[Channel, Gate]], channel: Channel, begun: str) -> str:
    """By a look at all gates in the order in which they were opened."""
    shown = [gate.released for other, gate in opened if shown_as(other) == shown_as(channel)]
    before = "".join(shown)
    return (before if len(before) >= MAX_PRECEDING else begun + before)[-MAX_PRECEDING:]


@given(st.lists(said, max_size=40), st.sampled_from(["", "begun "]))
def test_what_stands_before_a_text(texts: list[tuple[Channel, str, bool]], begun: str) -> None:
    """The text of the channels that apps show as one with it, from its beginning on and in order."""
    preceding, opened, gates = Preceding(), list[tuple[Channel, Gate]](), dict[Channel, Gate]()
    for channel, text, anew in texts:
        assert preceding.text(channel, begun) == looked_up(opened, channel, begun)
        assert preceding.goes_on(channel) is any(shown_as(other) == shown_as(channel) for other, _ in opened)
        assert preceding.gate_before(channel) is next((g for other, g in reversed(opened) if other == channel), None)
        if anew or channel not in gates:
            gates[channel] = Gate(CHECKS)
            opened.append((channel, gates[channel]))
            preceding.open(channel, gates[channel])
        preceding.feed(gates[channel])
        gates[channel].feed(text)
