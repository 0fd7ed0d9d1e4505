"""The registry of kinds: what it takes, what it refuses and in which words."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any, Literal

import pytest
from msgspec import Struct

from proxy.checks.built_in import KINDS
from proxy.checks.kinds import CheckKind, DetectorKind
from proxy.checks.registry import ASKING, BUILT_IN, BUILT_IN_ONLY, Plugin, Registry, RegistryError, make_registry
from proxy.testing import made, spans
from tests.checks.plugin_checks import Word

KIND = CheckKind("bomb", "a word", lambda rule, _: Word(rule))
BADGE = DetectorKind(
    "badge",
    "badge numbers",
    r"\bHR-[0-9]{3}\b",
    ("HR-123 left",),
    ("HR-124",),
    lambda text: text.endswith("3"),
)


def registry(*kinds: Any) -> Registry:
    """A registry with plug-ins."""
    return make_registry([Plugin(kind, "a test", "1.0") for kind in kinds])


def test_built_in_kinds_stand_in_it_like_others() -> None:
    """Each under its name, with its options; a plug-in is one more entry."""
    assert [*BUILT_IN_ONLY.entries] == [*(kind.name for kind in (*KINDS, *ASKING)), "judge"]
    assert {entry.origin for entry in BUILT_IN_ONLY.entries.values()} == {BUILT_IN}
    taken = registry(KIND, BADGE)
    assert [(entry.kind.name, entry.what, entry.origin, entry.version) for entry in taken.plugins] == [
        ("bomb", "check", "a test", "1.0"),
        ("badge", "detector", "a test", "1.0"),
    ]
    assert {"bomb", "words"} <= set(taken.names("check"))
    assert "length" not in taken.names("check")
    assert {"badge", "email", "chat_markers"} <= set(taken.names("detector"))


def test_a_detector_of_a_plug_in_finds_what_its_validator_lets_count() -> None:
    """In a stream like one of the proxy's own; with `fold` look-alikes too."""
    assert spans(made(BADGE), "HR-123, HR-124, HR-993.") == ["HR-123", "HR-993"]


class Odd(Struct):
    """Options with a type that no policy can give."""

    when: set[str]


class Fine(Struct):
    """Options of every type that one can."""

    class Colour(Enum):
        """Of a word."""

        RED = "red"

    text: str
    number: int = 1
    share: float = 0.5
    on: bool = False
    word: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    several: tuple[str, ...] = ()
    named: dict[str, int] = {}


def test_options_may_have_many_types() -> None:
    """Whatever a policy file can say."""
    assert registry(replace(KIND, options=Fine)).get("bomb")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (replace(KIND, name="Bomb!"), "'Bomb!' cannot be a kind's name: write small letters"),
        (replace(KIND, name="words"), "the name `words` is taken (built in); rename the kind"),
        (replace(KIND, name="email"), "the name `email` is taken (built in); rename the kind"),
        (replace(KIND, name="matcher"), "the name `matcher` is taken (built in)"),
        (replace(KIND, name="turn_markers"), "the name `turn_markers` is taken (built in)"),
        (replace(KIND, about="two\nlines"), "`bomb` needs an `about`: one line"),
        (replace(KIND, options=dict), "the options of `bomb` are no msgspec Struct: write a class"),  # type: ignore[arg-type]
        (replace(KIND, options=Odd), "the option `when` of `bomb` has a type that no policy can give; take str, int"),
        (replace(KIND, make=None), "`make` of `bomb` cannot be called"),  # type: ignore[arg-type]
        (replace(BADGE, pattern="("), "the pattern of the detector `badge` cannot be used: column "),
        (replace(BADGE, pattern="HR-[0-9]+"), "the pattern of the detector `badge` cannot be used: a detector's"),
        (replace(BADGE, hits=("HR-124",)), "the detector `badge` finds nothing in its own example 'HR-124'"),
        (replace(BADGE, misses=("HR-123",)), "the detector `badge` finds something in its own example 'HR-123'"),
        (replace(BADGE, hits=()), "the detector `badge` needs examples"),
        (
            replace(BADGE, validate=lambda _: bool(1 / 0)),
            "the detector `badge` raises ZeroDivisionError at its own example",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_what_cannot_be_registered_is_told(kind: Any, says: str) -> None:
    """A sentence with the reason and the fix."""
    with pytest.raises(RegistryError) as caught:
        registry(kind)
    assert str(caught.value).startswith(says)


def test_two_plug_ins_cannot_have_one_name() -> None:
    """The sentence says who has it."""
    with pytest.raises(RegistryError) as caught:
        registry(KIND, replace(BADGE, name="bomb"))
    assert str(caught.value) == "the name `bomb` is taken (a test); rename the kind, or remove one of the two"
