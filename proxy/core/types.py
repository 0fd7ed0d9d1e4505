"""The types that every layer shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Action(IntEnum):
    """What a rule does with a match. Ordered, so that `max()` over findings is the verdict."""

    FLAG = 1
    REWRITE = 2
    BLOCK = 3


class Direction(StrEnum):
    """Whose text it is: the client's (input) or the model's (output)."""

    INPUT = "input"
    OUTPUT = "output"


class Kind(StrEnum):
    """What a text is to its reader; the words that a policy's `channels` uses."""

    CONTENT = "content"
    REASONING = "reasoning"
    TOOL_ARGUMENTS = "tool_arguments"
    REFUSAL = "refusal"


class Ending(StrEnum):
    """How an answer that a rule has ended looks to its client.

    FILTERED: with a notice and the dialect's word for a content filter
    STOP:     as if the model had stopped by itself (it began to write the other side of the dialogue)
    LENGTH:   as if it had reached its longest answer (a limit, a model stuck in a loop)
    """

    FILTERED = "filtered"
    STOP = "stop"
    LENGTH = "length"


class Channel(NamedTuple):
    """One run of text that a client puts together from deltas: a field of a choice.

    `name` tells fields of one kind apart (`reasoning` and `reasoning_content`, tool call 0 and 1, content block 2).
    """

    choice: int
    kind: Kind
    name: str = ""


class Replacement(NamedTuple):
    """What stands in the place of a rewritten span: a fixed text, or a mask, or a keyed tag of the value.

    text:     the fixed text, or with `hash_key` the word in front of the tag: `[email:5f0c9a21]`
    mask:     one character, repeated for every hidden code point
    hash_key: secret under which equal values get equal tags (keyed BLAKE2b, RFC 7693)
    insert:   nothing is hidden; this is put behind the first character of the match, so that it is no longer what it
              was to a tokenizer and looks the same to a person. For prompts only
    """

    text: str = "[removed]"
    mask: str = ""
    hash_key: bytes = b""
    insert: str = ""


REMOVED = Replacement()


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule of a policy, as far as the core has to know it. Compared by identity.

    order:    place over all loaded policies in file order; of rules whose matches merge, the least gives the label
    message:  for a BLOCK rule: the notice where an answer ends; "" for the default
    prompt_message: the same where a prompt is refused
    ending:   for a BLOCK rule: how the answer ends
    names_character: for a BLOCK rule: the notice says by its number with which character the match begins
    enforced: False in monitor and shadow mode: findings are reported and change nothing, and nothing waits for them
    """

    policy: str
    id: str
    action: Action
    order: int = 0
    replacement: Replacement = REMOVED
    message: str = ""
    prompt_message: str = ""
    enforced: bool = True
    ending: Ending = Ending.FILTERED
    names_character: bool = False

    @property
    def holds(self) -> bool:
        """True when text has to wait for this rule, because a match would change it."""
        return self.enforced and self.action is not Action.FLAG

    @property
    def name(self) -> str:
        """The rule's full name: `policy/id`."""
        return f"{self.policy}/{self.id}"


class Finding(NamedTuple):
    """A rule's match: code points [start, end) of the channel's original text.

    extends: goes with this rule's finding before it and gets no label and no count of its own: one more character of
             a match that grows (then the two overlap), or a combining mark after a hidden letter (then they touch).
    first:   of a finding that has ended a text, if its rule names characters: the one with which the match begins
    """

    start: int
    end: int
    rule: Rule
    extends: bool = False
    first: str = ""

    def named(self, text: str, at: int) -> Finding:
        """The same, with the character at which its match begins, if its rule names characters. A backslash may begin
        an escape of JSON's, and is not named."""
        first = text[at : at + 1] if at >= 0 and self.rule.names_character else ""
        return self if first in ("", "\\") else self._replace(first=first)
