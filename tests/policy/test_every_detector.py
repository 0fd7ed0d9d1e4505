"""What holds for every detector that a policy can name, whatever it is made of: a new one cannot leave it out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.checks.detectors import DETECTORS
from proxy.checks.markers import MARKER_DETECTORS
from proxy.checks.registry import DETECTOR_NAMES
from proxy.checks.system_prompt import SYSTEM_PROMPT_LEAK, SYSTEM_TEXT
from proxy.core.types import Direction, Kind
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.explain import Sample, View, plan_for, views
from proxy.policy.policyset import PolicySet
from tests.laws import check_laws

DOCS = Path(__file__).parent.parent.parent / "docs"
ALL_COUNT = ("prompt_injection", "jailbreak", "url", "outbound_links", "chat_markers")
"""Without options every candidate of these counts."""


@cache
def described(name: str) -> Any:
    """The detector."""
    every: dict[str, Any] = {SYSTEM_PROMPT_LEAK.name: SYSTEM_PROMPT_LEAK}
    return every.get(name) or MARKER_DETECTORS.get(name) or DETECTORS[name]


@cache
def policies(name: str, action: str = "flag") -> PolicySet:
    """A policy with one rule."""
    text = f"version: 1\npolicy: p\nrules: [{{id: r, detector: {name}, action: {action}}}]\n"
    return compile_policies([Source("p.yaml", text.encode())], hash_key=b"k")


def sample(text: str) -> Sample:
    """An answer to a request with a system text."""
    return Sample(text, Direction.OUTPUT, Kind.CONTENT, system=SYSTEM_TEXT)


def explained(name: str, text: str) -> View:
    """What `explain` says of the rule."""
    (view,) = views(policies(name), sample(text))
    return view


@pytest.mark.parametrize("name", DETECTOR_NAMES)
def test_it_has_hits_and_misses_and_explain_names_it(name: str) -> None:
    """It finds something in each hit and nothing in a miss, and `explain` says which detector that was."""
    detector = described(name)
    assert detector.name == name
    assert detector.hits
    assert detector.misses
    for text in detector.hits:
        assert (explained(name, text).detector, bool(explained(name, text).spans)) == (name, True)
    for text in detector.misses:
        assert (explained(name, text).detector, explained(name, text).spans) == (name, ())


@pytest.mark.parametrize("name", DETECTOR_NAMES)
def test_explain_says_why_a_candidate_was_dropped(name: str) -> None:
    """Each has a reason, and one of the misses has a candidate."""
    dropped = [one for text in described(name).misses for one in explained(name, text).dropped]
    assert all(one.text and one.reason for one in dropped)
    assert bool(dropped) is (name not in ALL_COUNT)


@pytest.mark.parametrize("name", DETECTOR_NAMES)
def test_it_has_its_rows_in_the_docs(name: str) -> None:
    """What it finds stands in docs/policies.md, what counts and what does not in docs/detection.md."""
    assert f"\n| `{name}` | {described(name).about} |" in (DOCS / "policies.md").read_text("utf-8")
    assert f"\n| {name} | " in (DOCS / "detection.md").read_text("utf-8").partition("## How a candidate is judged")[2]


@pytest.mark.parametrize("action", ["flag", "rewrite", "block"])
@pytest.mark.parametrize("name", DETECTOR_NAMES)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_it_obeys_the_laws_as_a_policy_uses_it(name: str, action: str, data: st.DataObject) -> None:
    """Its hits and misses one after the other, cut anywhere."""
    (check,) = plan_for(policies(name, action), sample("")).checks(Kind.CONTENT)
    examples = st.sampled_from([*described(name).hits, *described(name).misses, " ", ". "])
    text = "".join(data.draw(st.lists(examples, max_size=3)))[:2000]
    check_laws(check, text, data.draw(st.integers(0, 2 ** len(text) - 1)))
