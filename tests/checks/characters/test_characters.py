"""Rules of characters: scripts, categories and ranges that a text may have, exact in a stream."""

from __future__ import annotations

import unicodedata
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.characters.kind import CHARACTERS, CharactersOptions
from proxy.checks.characters.scripts import RANGES
from proxy.checks.characters.sets import CATEGORIES, named, refusal_of
from proxy.checks.kinds import Remark
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.errors import PolicyError
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.testing import check_laws
from tests import laws
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import chunk, running, said

TEXTS = ("Hello, wörld! 12 €", "Привет, мир", "aЖb", "e\u0301 ok", "مرحبا", "a\u202eb", "\U0001f600", "漢字かな", "")
NAMES = ("Latin", "Cyrillic", "Arabic", "Han", "L", "Nd", "Cf", "Zs", "U+0041-U+005A", "U+1F600")


def matcher(action: Action = Action.REWRITE, **options: Any) -> Matcher:
    """A rule of characters alone."""
    made = CHARACTERS.make(Rule("p", "r", action), CharactersOptions(**options))
    assert isinstance(made, MatchRule)
    return Matcher([compile_rule(made)])


def found(text: str, **options: Any) -> list[str]:
    """What the rule finds."""
    gate = Gate([matcher(**options)])
    gate.feed(text, final=True)
    return [text[finding.start : finding.end] for finding in gate.findings]


@pytest.mark.parametrize("options", [{"allow": ("Latin",)}, {"refuse": ("Cyrillic", "Cf")}])
def test_the_laws_hold_where_it_rewrites(options: dict[str, Any]) -> None:
    """What is let out of a stream is what the whole text says, at any cut."""
    check_laws(matcher(**options), TEXTS)


@given(st.text(st.sampled_from("ab é12Жж\u0301\u202e漢")), st.integers(0, 1 << 20), st.sampled_from(Action))
def test_the_laws_hold_whatever_it_does(text: str, places: int, action: Action) -> None:
    """A rule of characters keeps to the contract of checks at any cut, with each action."""
    laws.check_laws(matcher(action, allow=("Latin",)), text, places)


@given(
    st.text(st.sampled_from("aZé1 €Жж\u0301\u202e漢\U0001f600م\ue000")),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(NAMES)),
    st.booleans(),
)
def test_each_character_is_judged_by_itself(text: str, allow: set[str], refuse: set[str], shared: bool) -> None:
    """Found is what is refused, and what is not allowed where something is allowed; nothing else."""
    if not allow and not refuse:
        return

    def is_found(char: str) -> bool:
        passes = [*allow, *(("Common", "Inherited") if shared else ())]
        not_allowed = bool(allow) and not any(char in named(name) for name in passes)
        return not_allowed or any(char in named(name) for name in refuse)

    expected = "".join(char if is_found(char) else " " for char in text).split()
    spans = found(text, allow=tuple(allow), refuse=tuple(refuse), shared=shared)
    assert "".join(spans) == "".join(char for char in text if is_found(char))
    if not any(is_found(char) for char in text if char == " "):
        assert spans == expected


def test_what_scripts_share_passes_with_the_letters() -> None:
    """`allow: [Latin]` lets digits, signs, emoji and accents pass; with `shared: false` they have to be named."""
    text = "Größe: 12 €, e\u0301 \U0001f600"
    assert found(text, allow=("Latin",)) == []
    assert found(text, allow=("Latin", "Zs", "Po"), shared=False) == ["12", "€", "\u0301", "\U0001f600"]


def test_what_is_refused_is_found_whatever_is_allowed() -> None:
    """A mark that turns text around belongs to no script, and can be refused by its category."""
    assert found("a\u202eb", allow=("Latin",)) == []
    assert found("a\u202eb", allow=("Latin",), refuse=("Cf",)) == ["\u202e"]


def test_a_run_is_one_find() -> None:
    """A word in a script that is not allowed is replaced once, not letter by letter."""
    gate = Gate([matcher(allow=("Latin",))])
    assert gate.feed("say привет now", final=True) == "say [removed] now"


@pytest.mark.parametrize("name", ["latin", "LATIN", "Old Italic", "old_italic", "Old-Italic"])
def test_scripts_are_known_in_any_spelling(name: str) -> None:
    """Case, spaces and hyphens do not matter in the name of a script."""
    assert named(name)


def test_each_character_has_one_script_at_most() -> None:
    """The table has no character twice, and each letter that this Python knows."""
    seen: set[int] = set()
    for name in RANGES:
        own = {code for first, last in named(name).ranges for code in range(first, last + 1)}
        assert not own & seen, name
        seen |= own
    missing = [code for code in range(0x110000) if unicodedata.category(chr(code))[0] == "L" and code not in seen]
    assert not missing


def test_categories_are_those_of_unicode() -> None:
    """Each category that a character has can be named, and has that character."""
    for char in map(chr, range(0x3000)):
        category = unicodedata.category(char)
        assert category in CATEGORIES
        assert char in named(category)
        assert char in named(category[0])


def remarks(**options: Any) -> list[Remark]:
    """What is wrong with options."""
    assert CHARACTERS.remarks is not None
    given_options = CharactersOptions(**options)
    return [remark for remark in CHARACTERS.remarks(given_options) if remark is not None]


@pytest.mark.parametrize(
    ("options", "path", "message", "hint"),
    [
        ({"allow": ("Latn",)}, ("allow", 0), "no script and no general category `Latn`", "did you mean `Latin`?"),
        ({"refuse": ("Cf", "Xx")}, ("refuse", 1), "general category `Xx`", "such as Nd, or U+0400-U+04FF"),
        ({"refuse": ("U+05-U+04",)}, ("refuse", 0), "ends before it begins", "the smaller number first"),
        ({"refuse": ("U+110000",)}, ("refuse", 0), "behind the last character", "U+10FFFF"),
        ({}, (), "it is not said which characters", "write `allow` or `refuse`"),
        ({"allow": ("U+0-U+10FFFF",)}, ("allow",), "every character is allowed", "leave something out"),
    ],
)
def test_names_that_mean_nothing(options: dict[str, object], path: tuple[object, ...], message: str, hint: str) -> None:
    """A wrong name is told with its place and what may be meant."""
    (remark,) = remarks(**options)
    assert remark.path == path
    assert message in remark.message
    assert hint in remark.hint


def test_a_wrong_name_has_line_and_column() -> None:
    """The policy is rejected, and the error says where."""
    rule = "  - {id: r, action: block, check: characters, options: {allow: [Latin, Cyrilic]}}"
    source = Source("p.yaml", f"version: 1\npolicy: p\nrules:\n{rule}\n".encode())
    with pytest.raises(PolicyError, match=r"p\.yaml:4:\d+: .*`Cyrilic`: did you mean `Cyrillic`\?"):
        compile_policies([source], hash_key=b"k")


def test_a_character_is_named_without_being_shown() -> None:
    """By its number and its name; one without a name by its number alone."""
    assert refusal_of("Ж") == "U+0416 (CYRILLIC CAPITAL LETTER ZHE) is not allowed here."
    assert refusal_of("\ue000") == "U+E000 is not allowed here."


POLICY = b"""version: 1
policy: latin
rules: [{id: latin, action: block, check: characters, options: {allow: [Latin]}}]
"""
SENTENCE = "U+0416 (CYRILLIC CAPITAL LETTER ZHE) is not allowed here."


@pytest.mark.anyio
async def test_a_refused_prompt_names_the_character() -> None:
    """The 400 says which character it was, and the model is not asked."""
    policies = cast(Any, compile_policies([Source("p.yaml", POLICY)], hash_key=b"k"))
    async with FakeUpstream(reply(sse(*said("ok")))) as upstream, running(upstream, policies) as proxy:
        answer = await proxy.chat(messages=[{"role": "user", "content": "Hello, Жук"}])
        assert answer.status == 400
        assert SENTENCE in answer.json()["error"]["message"]
        assert "Жук" not in answer.body.decode()
        assert upstream.requests == []


@pytest.mark.anyio
@pytest.mark.parametrize("cuts", [("Hello, Жук",), ("Hello, ", "Ж", "ук"), ("Hello", ", Ж")])
async def test_a_stopped_answer_names_the_character(cuts: tuple[str, ...]) -> None:
    """The notice says it, whatever the chunks; the character itself is not sent."""
    policies = cast(Any, compile_policies([Source("p.yaml", POLICY)], hash_key=b"k"))
    async with FakeUpstream(reply(sse(*said(*cuts)))) as upstream, running(upstream, policies) as proxy:
        answer = await proxy.chat(stream=True)
        assert SENTENCE in answer.body.decode()
        assert "Ж" not in answer.body.decode()


@pytest.mark.anyio
async def test_an_escape_of_json_is_not_taken_for_the_character() -> None:
    """In a call's arguments the character may be written as an escape: the call is stopped, and no backslash blamed."""
    policies = cast(Any, compile_policies([Source("p.yaml", POLICY)], hash_key=b"k"))
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "say", "arguments": '{"a": "\\u0416"}'}}
    events = sse(chunk(delta={"tool_calls": [call]}), chunk(finish="tool_calls"), "[DONE]")
    async with FakeUpstream(reply(events)) as upstream, running(upstream, policies) as proxy:
        answer = await proxy.chat(stream=True)
        assert (await proxy.exchange()).outcome == "blocked"
        assert "U+" not in answer.body.decode()
        assert "u0416" not in answer.body.decode()
