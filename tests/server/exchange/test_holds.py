"""For which rules characters wait: all waits at first, then a sample of them that stands for all."""

from __future__ import annotations

from proxy.core.types import Action, Rule
from proxy.server.exchange.record import ALL_LOOKED_AT, SAMPLE, Hold

RULE = Rule("p", "r", Action.BLOCK)


def test_many_waits_are_a_sample() -> None:
    """The first waits are all looked at; of later ones each that is stands for SAMPLE."""
    hold, asked = Hold(), 0
    waits = ALL_LOOKED_AT + 10 * SAMPLE
    for _ in range(waits):
        if hold.begin():
            asked += 1
            hold.rule = RULE
        hold.wait(2)
        hold.end(0.5)
    ((rule, share),) = hold.shares()
    assert asked == ALL_LOOKED_AT + 10
    assert rule is RULE
    assert (share.waits, share.characters, share.seconds) == (waits, 2 * waits, 0.5 * waits)
