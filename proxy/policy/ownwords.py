"""What stands in the place of a match comes back in the next request: no rule may act on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from proxy.checks.passes import OwnPass
from proxy.core.types import Action, Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.matcher import Matcher
from proxy.matching.pauses import Pause
from proxy.policy.examples import matcher_of, see
from proxy.policy.policyset import NOTICE

Searching = CompiledRule | OwnPass


class OwnWords:
    """Looks for own words that rules which act would find.

    clean: those in which none of them finds anything
    """

    def __init__(self, acting: Sequence[Searching], new: Sequence[Searching], known: frozenset[str], pause: Pause):
        """`known`: own words in which rules find nothing, except perhaps the `new` ones."""
        self._acting = acting
        self._new = new
        self._known = known
        self._pause = pause
        self.clean: set[str] = set()

    def found(self, text: str) -> bool:
        """Whether one of the rules finds something in an own text."""
        if text in self.clean:
            return False
        check = self._newcomers if text in self._known else self._everybody
        if check is not None and see(check, text, 1, self._pause).spans:
            return True
        self.clean.add(text)
        return False

    @cached_property
    def _everybody(self) -> Matcher:
        return matcher_of(self._acting)

    @cached_property
    def _newcomers(self) -> Matcher | None:
        return matcher_of(self._new) if self._new else None


def own_words(rule: Rule) -> Iterable[tuple[str, str]]:
    """What a user may read because of a rule, and the key that says so."""
    if rule.action is Action.BLOCK:
        yield "message", rule.message or NOTICE.format(policy=rule.policy)
    elif rule.replacement.mask:
        yield from (("replacement", rule.replacement.mask * n) for n in (1, 4, 16))
    elif rule.replacement.hash_key:
        yield from (("replacement", f"[{rule.replacement.text}:{tag}]") for tag in ("5f0c9a21", "12345678", "abcdefab"))
    elif rule.replacement.text:
        yield "replacement", rule.replacement.text
