"""Texts that the proxy inserts: notices, replacements. They come back in the next request, so no rule may find them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from proxy.core.types import Action, Direction, Rule
from proxy.matching.matcher import Matcher
from proxy.matching.pauses import Pause
from proxy.policy.examples import matcher_of, run_check
from proxy.policy.plan import SearchRule
from proxy.policy.policyset import NOTICES


class InsertedTexts:
    """Checks whether rules that act (rewrite, block) would find an inserted text.

    clean: the texts in which none of them finds anything
    """

    def __init__(
        self, acting: Sequence[SearchRule], changed: Sequence[SearchRule], clean_before: frozenset[str], pause: Pause
    ):
        """`clean_before`: texts in which no rule finds anything, except perhaps the `changed` ones."""
        self._acting = acting
        self._changed = changed
        self._clean_before = clean_before
        self._pause = pause
        self.clean: set[str] = set()

    def found(self, text: str) -> bool:
        """Whether one of the rules finds something in the text."""
        if text in self.clean:
            return False
        check = self._changed_rules if text in self._clean_before else self._all_rules
        if check is not None and run_check(check, text, 1, self._pause).spans:
            return True
        self.clean.add(text)
        return False

    @cached_property
    def _all_rules(self) -> Matcher:
        return matcher_of(self._acting)

    @cached_property
    def _changed_rules(self) -> Matcher | None:
        return matcher_of(self._changed) if self._changed else None


def inserted_texts(rule: Rule) -> Iterable[tuple[str, str]]:
    """What a user may read because of a rule, each with the key of the rule that sets it."""
    if rule.action is Action.BLOCK:
        for direction, own in ((Direction.OUTPUT, rule.message), (Direction.INPUT, rule.prompt_message)):
            yield "message", own or NOTICES[direction].format(policy=rule.policy)
    elif rule.replacement.mask:
        yield from (("replacement", rule.replacement.mask * n) for n in (1, 4, 16))
    elif rule.replacement.hash_key:
        yield from (("replacement", f"[{rule.replacement.text}:{tag}]") for tag in ("5f0c9a21", "12345678", "abcdefab"))
    elif rule.replacement.text:
        yield "replacement", rule.replacement.text
