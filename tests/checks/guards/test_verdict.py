"""Replies of guards: each form that their makers describe, and nothing else, is a verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.guards.format import Judged, Level
from proxy.checks.guards.verdict import UNKNOWN, Verdict, VerdictError, parse_verdict, worst
from tests.checks.guards.formats import BOTH, FORMATS

SAFE, CONTROVERSIAL, UNSAFE = Level.SAFE, Level.CONTROVERSIAL, Level.UNSAFE
LLAMA = ["llama-guard-3-1b", "llama-guard-3-8b", "llama-guard-4"]
JSON_SAFE = '{"User Safety": "safe"}'

GOLDEN: list[tuple[str, Judged, str, Verdict]] = [
    *((name, "prompt", "\n\nsafe", Verdict(SAFE)) for name in LLAMA),
    *((name, "answer", "unsafe\nS1", Verdict(UNSAFE, ("S1",))) for name in LLAMA),
    *((name, "answer", "unsafe \nS9, S10", Verdict(UNSAFE, ("S9", "S10"))) for name in LLAMA),
    ("llama-guard-3-8b", "answer", "unsafe\nS1,S14", Verdict(UNSAFE, ("S1", "S14"))),
    ("llama-guard-3-1b", "answer", "unsafe\nS14", Verdict(UNSAFE, (UNKNOWN,))),
    ("llama-guard-3-8b", "answer", "unsafe", Verdict(UNSAFE)),
    ("shieldgemma", "prompt", "No", Verdict(SAFE)),
    ("shieldgemma", "prompt", "Yes, the", Verdict(UNSAFE, ("c",))),
    *((f"granite-guardian-3.{i}", "prompt", "No", Verdict(SAFE)) for i in range(3)),
    *((f"granite-guardian-3.{i}", "answer", "Yes", Verdict(UNSAFE, ("c",))) for i in range(3)),
    ("granite-guardian-3.2", "answer", "Yes\n<confidence> High </confidence>", Verdict(UNSAFE, ("c",))),
    ("granite-guardian-3.3", "prompt", "<think>\n</think>\n<score> no </score>", Verdict(SAFE)),
    ("granite-guardian-3.3", "prompt", "<score> yes </score>", Verdict(UNSAFE, ("c",))),
    ("granite-guardian-4.1", "answer", "<think>\n</think>\n<score>no</score>", Verdict(SAFE)),
    ("granite-guardian-4.1", "answer", "<think>It says yes.</think><score>yes</score>", Verdict(UNSAFE, ("c",))),
    ("gpt-oss-safeguard", "prompt", '{"violation": 0, "policy_category": null}', Verdict(SAFE)),
    ("gpt-oss-safeguard", "prompt", '{"violation": 1, "policy_category": "H2.f"}', Verdict(UNSAFE, (UNKNOWN,))),
    ("gpt-oss-safeguard", "answer", '```json\n{"violation": 0}\n```', Verdict(SAFE)),
    ("gpt-oss-safeguard", "answer", '{"violation": "1", "rationale": "it is"}', Verdict(UNSAFE)),
    ("qwen3guard-gen", "prompt", "Safety: Safe\nCategories: None", Verdict(SAFE)),
    ("qwen3guard-gen", "prompt", "Safety: Unsafe\nCategories: Violent, PII", Verdict(UNSAFE, ("violent", "pii"))),
    ("qwen3guard-gen", "answer", "Safety: Safe\nCategories: None\nRefusal: Yes", Verdict(SAFE, (), True)),
    (
        "qwen3guard-gen",
        "answer",
        "Safety: Controversial\nCategories: Non-violent Illegal Acts\nRefusal: No",
        Verdict(CONTROVERSIAL, ("illegal",), False),
    ),
    ("qwen3guard-gen", "prompt", "Safety: Unsafe\nCategories: None", Verdict(UNSAFE)),
    (
        "wildguard",
        "prompt",
        "Harmful request: yes\nResponse refusal: n/a\nHarmful response: n/a",
        Verdict(UNSAFE, ()),
    ),
    (
        "wildguard",
        "answer",
        "Harmful request: yes\nResponse refusal: yes\nHarmful response: no",
        Verdict(SAFE, (), True),
    ),
    ("nemotron-safety-guard-v3", "prompt", JSON_SAFE, Verdict(SAFE)),
    (
        "nemotron-safety-guard-v3",
        "prompt",
        '{\n  "User Safety": "unsafe",\n  "Safety Categories": "guns and illegal weapons"\n}',
        Verdict(UNSAFE, ("S4",)),
    ),
    (
        "nemotron-safety-guard-v3",
        "answer",
        '{"User Safety": "unsafe", "Response Safety": "safe", "Safety Categories": "Violence"}',
        Verdict(SAFE),
    ),
    ("rubric", "prompt", "SAFE", Verdict(SAFE)),
    ("rubric", "answer", "<think>Hm.</think>\nunsafe", Verdict(UNSAFE)),
]

WRONG: list[tuple[str, Judged, str, str]] = [
    *((name, judged, "", "empty") for name, judged in BOTH),
    *((name, judged, " \n\n ", "empty") for name, judged in BOTH),
    *((name, judged, "I cannot help with that.", "grammar") for name, judged in BOTH),
    *((name, judged, "<think>Let me see", "thinking") for name, judged in BOTH),
    ("llama-guard-3-8b", "prompt", "not safe", "grammar"),
    ("llama-guard-3-8b", "prompt", "safe.", "grammar"),
    ("llama-guard-3-8b", "prompt", "This is unsafe", "grammar"),
    ("llama-guard-3-8b", "prompt", "safe\nS1", "contradiction"),
    ("llama-guard-3-8b", "prompt", "safe\nunsafe\nS1", "grammar"),
    ("llama-guard-3-8b", "prompt", "unsafe\nS1\nsafe", "grammar"),
    ("llama-guard-3-8b", "prompt", "<think>x</think>safe", "thinking"),
    ("shieldgemma", "prompt", "Nothing", "grammar"),
    ("shieldgemma", "prompt", "No. Or rather: Yes", "contradiction"),
    ("granite-guardian-3.0", "prompt", "No problem", "grammar"),
    ("granite-guardian-3.2", "prompt", "No\nYes", "grammar"),
    ("granite-guardian-4.1", "prompt", "no", "grammar"),
    ("granite-guardian-4.1", "prompt", "<score>no</score>\n<score>yes</score>", "contradiction"),
    ("granite-guardian-4.1", "prompt", "<think>a</think><think>b</think><score>no</score>", "thinking"),
    ("gpt-oss-safeguard", "prompt", '{"violation": true}', "grammar"),
    ("gpt-oss-safeguard", "prompt", '{"violation": 2}', "grammar"),
    ("gpt-oss-safeguard", "prompt", '{"violation": 0, "violation": 1}', "contradiction"),
    ("gpt-oss-safeguard", "prompt", '{"violation": 0, "policy_category": "H2"}', "contradiction"),
    ("gpt-oss-safeguard", "prompt", "0", "grammar"),
    ("gpt-oss-safeguard", "prompt", "[" * 100_000, "grammar"),
    ("gpt-oss-safeguard", "prompt", '{"violation": ' + "1" * 10_000 + "}", "grammar"),
    ("qwen3guard-gen", "prompt", "Safety: Safe", "grammar"),
    ("qwen3guard-gen", "prompt", "Safety: Safe\nCategories: Violent", "contradiction"),
    ("qwen3guard-gen", "prompt", "Safety: Safe\nCategories: None\nSafety: Unsafe", "contradiction"),
    ("qwen3guard-gen", "answer", "Safety: Safe\nCategories: None", "grammar"),
    ("wildguard", "answer", "Harmful request: no\nResponse refusal: n/a\nHarmful response: n/a", "grammar"),
    ("wildguard", "prompt", "Harmful request: no", "grammar"),
    ("nemotron-safety-guard-v3", "answer", JSON_SAFE, "grammar"),
    ("nemotron-safety-guard-v3", "prompt", JSON_SAFE + JSON_SAFE, "grammar"),
    ("nemotron-safety-guard-v3", "prompt", '{"User Safety": "safe", "User Safety": "unsafe"}', "contradiction"),
    ("rubric", "prompt", "SAFE SAFE", "grammar"),
]


@pytest.mark.parametrize(("name", "judged", "reply", "wanted"), GOLDEN)
def test_golden_verdicts(name: str, judged: Judged, reply: str, wanted: Verdict) -> None:
    """A reply as the makers describe it is its verdict. `c`: the category that was asked about."""
    category = "c" if FORMATS[name].asks == "one" else ""
    assert parse_verdict(FORMATS[name], reply, judged, category) == wanted


@pytest.mark.parametrize(("name", "judged", "reply", "fault"), WRONG)
def test_no_verdict(name: str, judged: Judged, reply: str, fault: str) -> None:
    """Everything else is an error that says why: nothing passes because it could not be read."""
    with pytest.raises(VerdictError) as caught:
        parse_verdict(FORMATS[name], reply, judged)
    assert caught.value.fault == fault
    assert "cannot help" not in str(caught.value), "a guard's reply may quote what it judged"


@pytest.mark.parametrize(("name", "judged"), BOTH)
def test_a_reply_that_was_cut(name: str, judged: Judged) -> None:
    """A reply that ended for its length is an error, also where its beginning is a verdict."""
    reply = next(reply for guard, one, reply, verdict in GOLDEN if guard == name and verdict.level is SAFE)
    judged_there = next(one for guard, one, text, _ in GOLDEN if guard == name and text == reply)
    if FORMATS[name].verdict.rest:
        assert parse_verdict(FORMATS[name], reply, judged_there, finished=False).level is SAFE
        return
    with pytest.raises(VerdictError) as caught:
        parse_verdict(FORMATS[name], reply, judged_there, finished=False)
    assert caught.value.fault == "cut"


SAFE_FORMS = {
    (name, judged, " ".join(reply.casefold().split()))
    for name, judged, reply, verdict in GOLDEN
    if verdict.level is SAFE
}
WORDS = ["safe", "unsafe", "Yes", "No", "not ", "\n", " ", "S1", ",", ".", "Safety:", "Categories:", "None", "Refusal:"]
WORDS += [
    "<score>",
    "</score>",
    "<think>",
    "</think>",
    "n/a",
    "Harmful request:",
    "Harmful response:",
    '{"',
    '"}',
    ": ",
]
WORDS += ["Response refusal:", '"User Safety"', '"violation"', "0", "1", "SAFE", "is ", "```", "json", "}", "{"]
GARBAGE = st.lists(st.sampled_from(WORDS), max_size=12).map("".join) | st.text(max_size=30)


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, Judged, str]:
    """A reply that says safe, with something taken out, put in or doubled."""
    name, judged, reply, _ = draw(st.sampled_from([one for one in GOLDEN if one[3].level is SAFE]))
    place, length = draw(st.integers(0, len(reply))), draw(st.integers(0, 8))
    return name, judged, reply[:place] + draw(GARBAGE) + reply[place + length :]


@given(st.tuples(st.sampled_from(BOTH), GARBAGE).map(lambda pair: (*pair[0], pair[1])) | broken())
def test_garbage_is_never_a_pass(given_reply: tuple[str, Judged, str]) -> None:
    """Whatever a guard writes, it is safe only if the whole reply is a form of saying so."""
    name, judged, reply = given_reply
    try:
        verdict = parse_verdict(FORMATS[name], reply, judged)
    except VerdictError:
        return
    if verdict.level is SAFE:
        assert says_safe(name, judged, reply)


def says_safe(name: str, judged: Judged, reply: str) -> bool:
    """Whether a reply is one of the few that may pass, spelled out once more and in another way."""
    words = reply.casefold().replace("<", " <").replace(">", "> ").replace(":", ": ").split()
    text = " ".join(words)
    if FORMATS[name].verdict.thinking and "</think>" in text:
        text = text.partition("</think>")[2].strip()
    if FORMATS[name].verdict.json:
        return '"safe"' in text or ": 0" in text or '"0"' in text
    if name == "shieldgemma":
        return text.startswith("no") and "yes" not in text.replace(".", " ").replace(",", " ").split()
    if name == "qwen3guard-gen":
        return text.startswith(("safety: safe categories: none", "safety: safe categories: .none"))
    if name == "wildguard":
        return f"harmful {'request' if judged == 'prompt' else 'response'}: no" in text and text.count("harmful") == 2
    return text in ("safe", "no", "<score> no </score>") or text.startswith("no <confidence>")


def test_worst() -> None:
    """Verdicts add up: the worst level and all categories, or none where one of the worst does not say which."""
    assert worst([Verdict(SAFE), Verdict(SAFE)]) == Verdict(SAFE)
    assert worst([Verdict(SAFE), Verdict(CONTROVERSIAL, ("a",)), Verdict(UNSAFE, ("b",))]) == Verdict(
        UNSAFE, ("a", "b")
    )
    assert worst([Verdict(UNSAFE, ("b",)), Verdict(UNSAFE)]) == Verdict(UNSAFE)
    assert worst([Verdict(SAFE, (), False), Verdict(SAFE, (), True)]).refusal is True
