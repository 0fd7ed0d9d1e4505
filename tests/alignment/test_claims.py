"""How evidence becomes a status."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.alignment.claims import MAX_EVIDENCE, NOT_LISTED, WORST_FIRST, Claim, Evidence, Signal, claim

STATUSES = [*WORST_FIRST, None]
EVIDENCE = st.builds(Evidence, st.sampled_from(Signal), st.sampled_from(STATUSES), st.sampled_from(["a", "b", "c"]))


def said(*statuses: str | None) -> list[Evidence]:
    """One piece of evidence for each status, the later the weaker."""
    return [Evidence(signal, status, f"r{signal}") for signal, status in zip(Signal, statuses, strict=False)]  # type: ignore[arg-type]


@given(st.lists(EVIDENCE, max_size=MAX_EVIDENCE))
def test_the_worst_wins(evidence: list[Evidence]) -> None:
    """Whatever the order: unaligned before base before instruct; what says nothing does not vote."""
    spoken = [one.says for one in evidence if one.says is not None]
    worst = min(spoken, key=WORST_FIRST.index, default="unknown")
    found = claim(evidence)
    assert found.status == worst == claim(reversed(evidence)).status
    assert found.disagree == (len(set(spoken)) > 1)


def test_which_is_worse() -> None:
    """A model without refusals is worse than one that was never taught any."""
    assert claim(said("base", "unaligned", "instruct")).status == "unaligned"
    assert claim(said("instruct", "base")).status == "base"
    assert claim(said(None, "instruct")).status == "instruct"


@given(st.lists(EVIDENCE))
def test_the_strongest_stands_first(evidence: list[Evidence]) -> None:
    """Each piece once, in the order of the signals, and never more than can be read."""
    found = claim(evidence).evidence
    assert [one.signal for one in found] == sorted(one.signal for one in found)
    assert len(set(found)) == len(found) <= MAX_EVIDENCE
    assert set(found) <= set(evidence)


def test_a_disagreement_is_shown() -> None:
    """The line tells what decided, and what speaks against it."""
    found = claim(said(None, "instruct", None, None, "base"))
    assert found.status == "base"
    assert found.why == "name: r4 (but metadata, for instruct: r1)"


def test_where_nothing_votes_it_is_unknown() -> None:
    """And the line tells what is known all the same."""
    assert claim(said(None, None, None)).why == "models.yaml: r0; metadata: r1"
    assert Claim().why == "nothing says what it is"
    assert NOT_LISTED.status == "unknown"
    assert NOT_LISTED.why == "list: the model server does not list it"


def test_evidence_as_json() -> None:
    """For programs: the signal's word, the status or null, and the reason."""
    one = Evidence(Signal.CAPABILITIES, "instruct", "r")
    assert one.as_json() == {"signal": "capabilities", "says": "instruct", "reason": "r"}
    assert Signal.REVIEW.word == "models.yaml"
