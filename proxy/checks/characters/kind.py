"""`check: characters`: finds what is written in characters that a policy does not allow.

It becomes a pattern of the matcher, so it is as exact in a stream as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from msgspec import Meta, Struct

from proxy.checks.characters.sets import SHARED, named, union
from proxy.checks.kinds import CheckKind, Remark
from proxy.core.types import Action, Rule
from proxy.matching.charsets import CharSet
from proxy.matching.rules import MatchRule

LONGEST = 64
"""Characters that are found, and replaced, as one. A text waits as long for the end of such a run."""

Name = Annotated[str, Meta(min_length=1, max_length=64)]


class CharactersOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `characters`. Names are scripts (`Latin`), general categories (`Nd`) and ranges (`U+0400-U+04FF`)."""

    allow: Annotated[tuple[Name, ...], Meta(description="all others are found")] = ()
    refuse: Annotated[tuple[Name, ...], Meta(description="these are found, whatever is allowed")] = ()
    shared: Annotated[
        bool, Meta(description="with allow: what many scripts share (digits, signs, emoji, accents) passes as well")
    ] = True


def _found(options: CharactersOptions) -> CharSet:
    found = union(options.refuse)
    if options.allow:
        allowed = union((*options.allow, *(SHARED if options.shared else ())))
        found |= (~allowed).inside()
    return found


def _characters(rule: Rule, options: CharactersOptions) -> MatchRule:
    """A block ends the text at the first character; otherwise a run of them is one find."""
    ranges = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _found(options).ranges)
    many = "" if rule.action is Action.BLOCK else f"{{1,{LONGEST}}}"
    return MatchRule(replace(rule, names_character=True), f"[{ranges}]{many}")


def _remarks(options: CharactersOptions) -> Iterator[Remark | None]:
    wrong = False
    for key, names in (("allow", options.allow), ("refuse", options.refuse)):
        for i, name in enumerate(names):
            try:
                named(name)
            except ValueError as error:
                wrong = True
                message, hint = error.args
                yield Remark((key, i), message, hint)
            yield None
    if not (options.allow or options.refuse):
        yield Remark((), "it is not said which characters", "write `allow` or `refuse`")
    elif not wrong and not _found(options):
        yield Remark(("allow",), "every character is allowed", "leave something out, or leave the rule out")


CHARACTERS = CheckKind(
    "characters",
    "characters of scripts, categories or ranges that are not allowed",
    _characters,
    CharactersOptions,
    remarks=_remarks,
)
