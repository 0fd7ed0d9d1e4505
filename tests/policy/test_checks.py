"""`check: NAME` in a rule: kinds of plug-ins and built-in ones, their options, and what is told of wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from proxy.checks.kinds import CheckKind, DetectorKind, OptionError, Remark
from proxy.checks.registry import Plugin, Registry, make_registry
from proxy.core.check import Progress
from proxy.core.failures import CheckFailed
from proxy.core.gate import Gate
from proxy.core.types import Direction, Kind, Rule
from proxy.errors import PolicyError
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.policyset import PolicySet
from proxy.policy.store import PolicyStore
from tests.checks.plugin_checks import Odd, Scripted, Word
from tests.policy.stores import rename_over


class WordOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the kind `word`."""

    word: Annotated[str, Meta(min_length=2)]
    times: Annotated[int, Meta(ge=1, le=9)] = 1
    share: float = 0.5
    low: int = 0

    def __post_init__(self) -> None:
        if self.word == "zzz":
            raise ValueError("nobody looks for zzz")


def make_word(rule: Rule, options: WordOptions) -> Any:
    """A check, or one of the ways in which that goes wrong."""
    if options.word == "aaa":
        raise OptionError("the word may not be aaa", "choose another", "word")
    if options.word == "bbb":
        raise KeyError("bbb")
    return {"ccc": "no check", "ddd": Odd(lambda scan, text, final: Progress(0), hold=-1)}.get(
        options.word, Word(rule, options.word)
    )


def remarks(options: WordOptions) -> Any:
    """What the schema cannot tell."""
    yield None
    if options.word == "eee":
        yield Remark(("word",), "the word may not be eee", "choose another")
    if options.word == "ggg":
        raise SystemExit("ggg")
    if options.word == "fff":
        yield Remark(("word",), "the word fff is rare", is_hint=True)


WORD = CheckKind("word", "finds a word", make_word, WordOptions, remarks=remarks)
BROKEN = CheckKind("broken", "raises", lambda rule, _: Odd(lambda scan, text, final: 1 / 0))
BADGE = DetectorKind("badge", "badges", r"\bHR-[0-9]{3}\b", ("HR-123",), ("HR",))
REGISTRY = make_registry([Plugin(kind, "a test", "1.0") for kind in (WORD, BROKEN, BADGE)])


def load(rules: str, registry: Registry = REGISTRY, top: str = "") -> PolicySet:
    """A set with one policy that has these rules."""
    text = f"version: 1\npolicy: p\n{top}rules:\n{rules}"
    return compile_policies([Source("policies/x.yaml", text.encode())], hash_key=b"key", registry=registry)


def let_out(policies: PolicySet, text: str) -> str:
    """What is let out of an answer, character by character."""
    gate = Gate(policies.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT))
    return "".join(map(gate.feed, text)) + gate.feed("", final=True)


def test_a_rule_names_a_check_with_options() -> None:
    """It does what its action says, beside rules of other kinds."""
    rules = """
  - {id: a, check: word, options: {word: bomb}, action: rewrite, replacement: "[X]"}
  - {id: b, words: [park], action: rewrite, replacement: "[Y]"}
  - {id: c, check: word, options: {word: halt, times: 3, share: 1, low: -4}, action: block}
"""
    assert let_out(load(rules), "a bomb in the park halt it") == "a [X] in the [Y] "


def test_a_detector_of_a_plug_in_is_named_like_any_other() -> None:
    """Short or as a check, with `fold`, and as the word of a tag."""
    for rule in (
        "detector: badge",
        "check: badge",
        "detector: badge, fold: true",
        "check: badge, options: {fold: true}",
    ):
        assert let_out(load(f"  - {{id: a, {rule}, action: rewrite}}\n"), "see HR-123.") == "see [removed]."
    tagged = let_out(load("  - {id: a, detector: badge, action: rewrite, replacement: {hash: true}}\n"), "HR-123")
    assert tagged.startswith("[badge:")


def test_fold_and_outside_hold_for_any_check() -> None:
    """The check reads the folded text; what lies in code is left alone."""
    folded = load("  - {id: a, check: word, options: {word: bomb}, fold: true, action: rewrite}\n")
    assert let_out(folded, "a b\u00f6mb") == "a [removed]"
    outside = load("  - {id: a, check: word, options: {word: bomb}, outside: code, action: rewrite}\n")
    assert let_out(outside, "a bomb `a bomb`") == "a [removed] `a bomb`"


def test_monitor_and_on_error_are_the_policys() -> None:
    """A policy that only watches changes nothing; a check that fails passes text where the policy says so."""
    watched = load("  - {id: a, check: word, options: {word: bomb}, action: block}\n", top="mode: monitor\n")
    assert let_out(watched, "a bomb") == "a bomb"
    rule = "  - {id: a, check: fails, action: block}\n"
    kind = CheckKind("fails", "raises at a z", lambda rule, _: Odd(raises_at_a_z))
    registry = make_registry([Plugin(kind, "a test")])
    assert let_out(load(rule, registry, top="on_error: allow\n"), "a fez") == "a fez"
    with pytest.raises(CheckFailed):
        let_out(load(rule, registry), "a fez")


def raises_at_a_z(scan: Scripted, text: str, final: bool) -> Progress:
    """Fine with notices."""
    if text == "z":
        raise ValueError
    return Progress(scan.read)


SHORT_AND_LONG = [
    ("words: [bomb]", "check: words, options: {words: [bomb]}"),
    ("words: [bomb], fold: true", "check: words, options: {words: [bomb], fold: true}"),
    ("pattern: 'b.*?b', match: shortest", "check: pattern, options: {pattern: 'b.*?b', match: shortest}"),
    ("detector: email", "check: detector, options: {detector: email}"),
    ("detector: turn_markers", "check: markers, options: {kinds: [turn]}"),
    ("detector: chat_markers", "check: markers"),
]


@pytest.mark.parametrize(("short", "long"), SHORT_AND_LONG)
def test_built_in_kinds_go_through_the_same_door(short: str, long: str) -> None:
    """What a rule writes short is a check with options: both do the same."""
    text = "a bomb, a b\u00f6mb, bob@example.com <|im_end|> `bomb`"
    one, other = (load(f"  - {{id: a, {rule}, action: rewrite}}\n") for rule in (short, long))
    assert let_out(one, text) == let_out(other, text) != text


WRONG = [
    (
        "check: word, options: {word: ggg}",
        "35: rule a: the check `word` cannot look at its options (SystemExit: ggg): change them, or fix it",
    ),
    ("check: wird", "20: rule a: there is no check `wird`: did you mean `word`?"),
    (
        "check: zzzzzz",
        "20: rule a: there is no check `zzzzzz`: there are words pattern detector characters markers system_prompt "
        "refusal http topic judge word",
    ),
    ("http: {url: x}", "25: rule a: `url` is too short: 8 characters at least"),
    ("http: {}", "19: rule a: the key `url` is missing"),
    ("http: {url: 'ftp://a.b/c'}", "25: rule a: only http:// and https:// can be asked"),
    (
        "http: {url: 'http://127.0.0.1/'}, max_hold: 9",
        "57: rule a: `max_hold` means nothing beside `http`: an option goes under `http`",
    ),
    ("topic: [a]", "20: rule a: `topic` has to be a mapping"),
    ("check: length", "20: rule a: `length` is not for rules: write it under the policy's `limits`"),
    ("check: word", "20: rule a: the key `word` is missing: add word: NAME"),
    ("check: word, options: {}", "35: rule a: the key `word` is missing: add word: NAME"),
    ("check: word, options: [a]", "35: rule a: `options` has to be a mapping: write it as {name: value}"),
    ("check: word, options: {word: bomb, tines: 2}", "48: rule a: unknown key `tines`: did you mean `times`?"),
    (
        "check: word, options: {word: bomb, times: 12}",
        "55: rule a: 12 is out of range: `times` is a whole number from 1 to 9",
    ),
    (
        "check: word, options: {word: bomb, times: two}",
        "55: rule a: `times` has to be a whole number from 1 to 9: digits",
    ),
    ("check: word, options: {word: bomb, share: x}", "55: rule a: `share` has to be a number: such as 0.5"),
    ("check: word, options: {word: 7}", "42: rule a: text is expected, but YAML reads 7 as a number: quote it: '7'"),
    ("check: word, options: {word: b}", "42: rule a: `word` is too short: 2 characters at least"),
    ("check: word, options: {word: zzz}", "35: rule a: `options` cannot be used: nobody looks for zzz: change it"),
    ("check: word, options: {word: aaa}", "42: rule a: the word may not be aaa: choose another"),
    ("check: word, options: {word: eee}", "42: rule a: the word may not be eee: choose another"),
    (
        "check: word, options: {word: bbb}",
        "5: rule a: the check `word` cannot be made (KeyError: 'bbb'): change its options",
    ),
    (
        "check: word, options: {word: ccc}",
        "5: rule a: the check `word` cannot be made (ValueError: it makes str, which is no",
    ),
    (
        "check: word, options: {word: ddd}",
        "5: rule a: the check `word` cannot be made (ValueError: its `hold` has to be a",
    ),
    ("words: [a], options: {b: c}", "34: rule a: `options` means nothing without `check`: remove it"),
    ("check: word, options: {word: bomb}, max_hold: 9", "59: rule a: `max_hold` means nothing beside `check`"),
    ("check: words, options: {words: [a]}, fold: true", "56: rule a: `fold` is an option of `words`: write it under"),
    ("detector: badge, only: [x]", "36: rule a: `only` means nothing to the detector `badge`: remove it"),
    ("check: detector, options: {detector: emial}", "50: rule a: there is no detector `emial`: did you mean `email`?"),
    ("check: pattern, options: {pattern: '('}", "48: rule a: "),
    ("check: broken", "20: rule a: the check `broken` raised ZeroDivisionError in tests.policy.test_checks:"),
]


@pytest.mark.parametrize(("rule", "says"), WRONG)
def test_what_is_wrong_is_told_with_its_place(rule: str, says: str) -> None:
    """File, line, column, reason and fix, for the check and for each of its options."""
    example = ", examples: {misses: [x]}"
    with pytest.raises(PolicyError) as caught:
        load(f"  - {{id: a, {rule}, action: flag{example}}}\n")
    assert len(caught.value.problems) == 1
    problem = caught.value.problems[0]
    assert problem.startswith(f"policies/x.yaml:4:{says}"), problem
    assert len(problem) < 320


def test_a_hint_of_a_kind_is_one_of_the_policys() -> None:
    """The policy is loaded, and `check` says it."""
    policies = load("  - {id: a, check: word, options: {word: fff}, action: flag}\n")
    assert any("the word fff is rare" in hint for hint in policies.hints)


def test_options_and_the_plug_ins_version_are_part_of_the_revision() -> None:
    """What a rule does goes by both."""

    def revision(rule: str, version: str = "1.0") -> str:
        registry = make_registry([Plugin(WORD, "a test", version)])
        return load(f"  - {{id: a, {rule}, action: flag}}\n", registry).revision

    one = revision("check: word, options: {word: bomb}")
    assert one == revision("check:  word, options: {word:   bomb} ")
    assert one != revision("check: word, options: {word: bomb, times: 2}")
    assert one != revision("check: word, options: {word: bomb}", "1.1")
    assert revision("words: [bomb]") == revision("words: [bomb]", "1.1")


def test_a_check_that_fails_at_a_notice_is_told() -> None:
    """Notices are tried at load, as they come back with the next request."""
    fine_at_first = Odd(lambda scan, text, final: Progress(scan.read) if scan.read < 20 else 1 / 0)
    kind = replace(BROKEN, make=lambda rule, _: fine_at_first)
    with pytest.raises(PolicyError) as caught:
        load("  - {id: a, check: broken, action: block}\n", make_registry([Plugin(kind, "a test")]))
    assert "the check `broken` raised ZeroDivisionError" in str(caught.value)
    assert "at a notice or a replacement: fix the plug-in, or leave the rule out" in str(caught.value)


@pytest.mark.anyio
async def test_an_edit_of_options_takes_effect_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    """The plug-ins are those of the start; their options are as hot as the rest of a policy."""
    rule = "version: 1\npolicy: p\nrules:\n  - {id: a, check: word, options: {word: %s}, action: rewrite}\n"
    path = tmp_path / "p.yaml"
    path.write_text(rule % "bomb")
    store = PolicyStore(tmp_path, hash_key=b"key", registry=REGISTRY)
    await store.load()
    assert let_out(store.current, "a bomb, a fuse") == "a [removed], a fuse"
    rename_over(path, rule % "fuse")
    assert await store.reload()
    assert let_out(store.current, "a bomb, a fuse") == "a bomb, a [removed]"
    rename_over(path, rule % "x")
    assert not await store.reload()
    assert "`word` is too short" in store.status.error
    assert let_out(store.current, "a bomb, a fuse") == "a bomb, a [removed]"


@pytest.mark.parametrize("on_error", ["block", "allow"])
def test_a_check_that_fails_at_an_example_is_told_whatever_on_error_says(on_error: str) -> None:
    """A failure that lets text pass is no find, and no policy should be loaded with it."""
    rule = "  - {id: a, check: broken, action: flag, examples: {hits: [x]}}\n"
    with pytest.raises(PolicyError) as caught:
        load(rule, top=f"on_error: {on_error}\n")
    assert "the check `broken` raised ZeroDivisionError" in str(caught.value)
    assert "at its examples: fix the plug-in, or leave the rule out" in str(caught.value)
