"""The prompts in which a guard is asked about a text.

A text that is too long for the guard's context is asked about in overlapping pieces; none of it is left out. The
conversation before it is context only: its oldest turns are left out where there is no room for them, and of the turn
next to the text the end is kept.

Nobody here can count a guard's tokens, so they are estimated from above; a server that counts more refuses the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.checks.guards.format import PLACEHOLDER, TEXTS, Category, Format, Judged
from proxy.checks.guards.neutral import neutral
from proxy.core.check import Said

OVERLAP = 200
"""Characters that a piece has in common with the one before it, if it is long enough."""
LEAST_ROOM = 64
"""Tokens that have to be left for a text, or a context is too small."""
_BLANK = re.compile(r"\s")
_ROLES = ("user", "assistant")


class Wanted(NamedTuple):
    """What a policy wants to know from a guard, the same in every call.

    categories: which are asked about
    rubric:     the policy's own words, for a format that needs them
    context:    tokens that a prompt and its reply have to fit into; 0: as the format says
    """

    categories: tuple[Category, ...] = ()
    rubric: str = ""
    context: int = 0


class ChatMessage(NamedTuple):
    """A message for a chat endpoint."""

    role: str
    content: str


class Prompt(NamedTuple):
    """One question to a guard.

    raw:        what is sent as it is; "" where `messages` go to a chat endpoint
    category:   the code of the one that is asked about; "" for all
    start, end: the piece of the judged text that it is about
    """

    raw: str
    messages: tuple[ChatMessage, ...]
    category: str
    start: int
    end: int


class NoRoom(ValueError):
    """The context is too small for the guard's own prompt."""


def estimated_tokens(text: str) -> int:
    """At least as many as ordinary text has: a token for two bytes of UTF-8."""
    return (len(text.encode("utf-8", "surrogatepass")) + 1) // 2


def render(guard: Format, judged: Judged, text: str, turns: Sequence[Said], wanted: Wanted) -> list[Prompt]:
    """The prompts that ask about a text, each piece for all categories or once for each.

    turns: the conversation before it. Raises NoRoom, and ValueError for something that the guard cannot judge.
    """
    if not guard.template(judged):
        raise ValueError(f"{guard.format} cannot judge this: {judged}")
    asked = tuple(category for category in wanted.categories if judged in category.judges)
    rounds = [(one,) for one in asked] if guard.asks == "one" else [asked]
    merged = list(_merged(guard, turns))
    questions = [_Question(guard, judged, wanted, categories) for categories in rounds]
    return [question.about(piece, text, merged) for question in questions for piece in question.pieces(text, merged)]


class _Piece(NamedTuple):
    """start, end: of the judged text; room: tokens that are left for what came before it."""

    start: int
    end: int
    room: int


@dataclass(frozen=True)
class _Question:
    """What is asked about each piece of a text."""

    guard: Format
    judged: Judged
    wanted: Wanted
    categories: tuple[Category, ...]

    def pieces(self, text: str, turns: Sequence[Said]) -> Iterator[_Piece]:
        """The text in pieces that have room. Each but the first repeats the end of the one before it."""
        room = self._room()
        nearest = self._size(turns[-1].text[-room:]) if turns else 0  # no more of it is needed
        most = room - min(nearest, room // 4)
        start = 0
        while True:
            end = self._reach(text, start, most)
            yield _Piece(start, end, room - self._size(text[start:end]))
            if end >= len(text):
                return
            start = _back(text, start, end)

    def about(self, piece: _Piece, text: str, turns: Sequence[Said]) -> Prompt:
        """The prompt for a piece of the text."""
        said = neutral(self.guard, self._stripped(text[piece.start : piece.end]))
        last = Said("user" if self.judged == "prompt" else "assistant", said)
        conversation = _joined(self._fitting(turns, piece.room), last)
        texts = {
            "conversation": self._written(conversation),
            "user": next((turn.text for turn in reversed(conversation) if turn.role == "user"), ""),
            "answer": last.text if last.role == "assistant" else "",
        }
        template = self.guard.template(self.judged)
        category = self.categories[0].code if self.guard.asks == "one" else ""
        messages = tuple(self._messages(conversation, texts))
        return Prompt(self._filled(template.raw, texts), messages, category, piece.start, piece.end)

    def _room(self) -> int:
        """The tokens that are left for texts."""
        own = sum(estimated_tokens(self._filled(text, {})) + 8 for text in self.guard.template(self.judged).texts)
        own += self.guard.reply.tokens + 2 * self._markup()
        context = self.wanted.context or self.guard.context
        if context - own < LEAST_ROOM:
            raise NoRoom(f"a context of {context} tokens has no room for a text: the prompt itself takes about {own}")
        return context - own

    def _size(self, text: str) -> int:
        return estimated_tokens(neutral(self.guard, text))

    def _markup(self) -> int:
        """The tokens around a turn."""
        turns = self.guard.turns
        return estimated_tokens(max(turns.user, turns.answer, key=len) + turns.between) + 4

    def _reach(self, text: str, start: int, most: int) -> int:
        """How far a piece can go: as far as it has room, and not into a word if that can be helped."""
        high = min(len(text), start + most * 2)
        if high == len(text) and self._size(text[start:]) <= most:
            return high
        low = start + 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._size(text[start:middle]) <= most:
                low = middle
            else:
                high = middle - 1
        blanks = _BLANK.finditer(text, start + (low - start) * 3 // 4, low)
        return max((found.end() for found in blanks), default=low)

    def _fitting(self, turns: Sequence[Said], room: int) -> list[Said]:
        """The last turns that have room, neutral; of the very last one at least its end. The first is the user's."""
        kept: list[Said] = []
        for turn in reversed(turns):
            room -= self._markup()
            text = neutral(self.guard, turn.text if kept else self._tail(turn.text, room))
            room -= estimated_tokens(text)
            if room < 0 or not text:
                break
            kept.insert(0, Said(turn.role, text))
        return kept[1:] if kept and kept[0].role == "assistant" else kept

    def _tail(self, text: str, room: int) -> str:
        """The end of a text, as much as has room."""
        length = min(len(text), max(room, 0) * 2)
        while length and self._size(text[-length:]) > room:
            length = length * 3 // 4
        return text[-length:] if length else ""

    def _stripped(self, text: str) -> str:
        return text.strip() if self.guard.strip else text

    def _written(self, conversation: Sequence[Said]) -> str:
        """The conversation as the prompt has it."""
        known = {"user": self.guard.turns.user, "assistant": self.guard.turns.answer}
        return self.guard.turns.between.join(known[turn.role].replace("{text}", turn.text) for turn in conversation)

    def _messages(self, conversation: Sequence[Said], texts: dict[str, str]) -> Iterator[ChatMessage]:
        for message in self.guard.template(self.judged).messages:
            if message.role == "conversation":
                yield from (ChatMessage(*turn) for turn in conversation if turn.text)
            else:
                yield ChatMessage(message.role, self._filled(message.content, texts))

    def _filled(self, template: str, texts: dict[str, str]) -> str:
        """A template with its placeholders filled, all at once; texts that are not known yet are empty."""
        own = {
            "categories": "\n".join(map(self._category_line, self.categories)),
            "criterion": self.categories[0].says(self.judged) if self.categories else "",
            "rubric": self.wanted.rubric.strip(),
        }
        known = dict.fromkeys(TEXTS, "") | texts | own
        return PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), template)

    def _category_line(self, category: Category) -> str:
        known = {"code": category.code, "name": category.name, "text": category.says(self.judged)}
        return PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), self.guard.category)


def _back(text: str, start: int, end: int) -> int:
    """Where the next piece begins, at a word if that can be helped; always behind the start of this one."""
    back = max(start + 1, end - min(OVERLAP, (end - start) // 4))
    found = _BLANK.search(text, back, end)
    return found.end() if found is not None and found.end() < end else back


def _merged(guard: Format, turns: Sequence[Said]) -> Iterator[Said]:
    """The turns in the two roles that guards know, one role after the other, beginning with the user's."""
    role, texts = "", list[str]()
    for turn in turns:
        own = "user" if turn.role == "system" and guard.system == "user" else turn.role
        is_first_answer = own == "assistant" and not role
        if own not in _ROLES or is_first_answer or not turn.text.strip():
            continue
        if own != role and texts:
            yield Said(role, "\n\n".join(texts))
            texts = []
        role = own
        texts.append(turn.text.strip() if guard.strip else turn.text)
    if texts:
        yield Said(role, "\n\n".join(texts))


def _joined(before: list[Said], last: Said) -> list[Said]:
    """The conversation with what is judged at its end. Two turns of one role in a row are one."""
    if before and before[-1].role == last.role:
        return [*before[:-1], Said(last.role, f"{before[-1].text}\n\n{last.text}")]
    if not before and last.role == "assistant":
        return [Said("user", ""), last]
    return [*before, last]
