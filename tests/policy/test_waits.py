"""For which rule text waits: asked of the checks of whole policies, whatever kind of rule it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.core.guard import Guard
from proxy.core.types import Channel, Direction, Kind
from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory

RULES = """version: 1
policy: p
rules:
- {id: prose, words: [xenonite], action: rewrite, outside: code}
- {id: words, words: [zorblaxium], action: block}
- {id: longer, words: [blaxium zero], action: block}
- {id: folded, words: [quuxite], fold: true, action: rewrite}
- {id: pattern, pattern: "k[0-9]{8}", action: rewrite}
- {id: late, pattern: "w[0-9]{100,}v", action: block, max_hold: 20, on_overflow: block}
- {id: detector, detector: email, action: rewrite}
- {id: markers, detector: turn_markers, action: rewrite}
- {id: flag, words: [yonder], action: flag}
"""
CONTENT = Channel(0, Kind.CONTENT, "content")


@pytest.fixture(name="guard", params=["block", "allow"])
def fixture_guard(tmp_path: Path, request: pytest.FixtureRequest) -> Guard:
    """A fresh guard; a policy that fails open has the same waits as one that does not."""
    (tmp_path / "p.yaml").write_text(RULES.replace("rules:", f"on_error: {request.param}\nrules:"), "utf-8")
    policies = compile_policies(read_directory(tmp_path), hash_key=b"key")
    return Guard(policies.plan(Direction.OUTPUT, model="m"))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (" zorb", "words"),
        (" blaxium", "longer"),
        (" quu\u200bx", "folded"),
        (" k1234", "pattern"),
        (" w1234", "late"),
        (" bob.miller@exam", "detector"),
        (" xeno", "prose"),
        (" <|im_st", "markers"),
    ],
)
@pytest.mark.parametrize("prime", [False, True])
def test_the_rule_is_named(guard: Guard, text: str, rule: str, prime: bool) -> None:
    """Also behind text that came before, where checks read a text twice, and where it comes in pieces from a cache."""
    if prime:
        guard = Guard(guard._plan, prefills={Kind.CONTENT: "Well, "})
    for piece in ("Hello,", *text):
        guard.release_delta(CONTENT, piece)
    found = guard.waits_for
    assert guard.held
    assert found is not None
    assert found.id == rule


@pytest.mark.parametrize("text", ["Hello. ", "Over yonder "])
def test_nothing_waits(guard: Guard, text: str) -> None:
    """For text that is decided, and for a rule that only flags."""
    guard.release_delta(CONTENT, text)
    assert (guard.held, guard.waits_for) == (0, None)


def test_a_call_waits_for_no_rule(guard: Guard) -> None:
    """The arguments of a tool call wait for their end, whatever is in them."""
    guard.release_delta(Channel(0, Kind.TOOL_ARGUMENTS, "0.arguments"), '{"a": "zorb')
    assert guard.held
    assert guard.waits_for is None
