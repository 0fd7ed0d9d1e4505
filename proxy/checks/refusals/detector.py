"""Whether an answer is a refusal, from its first HEAD characters.

`classify` reads a beginning once; `RefusalReader` reads a stream and decides as soon as it is sure. Beyond the first
200 characters a longer look mostly finds what is no refusal. Both keep the beginning alone; neither holds text.

What is looked at is the text of the answer. What a model thinks is not, and a quotation is somebody else's word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Final, NamedTuple

from proxy.checks.refusals.cues import LANGUAGES, languages_of
from proxy.checks.refusals.language import Language, RefusalKind

HEAD: Final = 200
"""Characters of an answer that are read."""
STEP: Final = 8
"""The reader looks whenever so many characters more have come, however they came."""
SURE: Final = 24
"""Characters behind a phrase that have to be known before it is one: "I can't help" may go on with "but smile"."""

_PLAIN = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u0060\u00b4"), "'"),
    **dict.fromkeys(map(ord, "*_#>\u200b\u00a0\u202f"), " "),
    **dict(zip(map(ord, "\uff0c\uff01\uff1f\uff1a\uff1b"), ",!?:;", strict=True)),
}
"""Other apostrophes, marks of Markdown and spaces, and the punctuation of Chinese and Japanese."""
_SPACES = re.compile(r"\s+")
_THINKING = re.compile(r"\A\s*<(think|thinking|thought)>.*?(?:</\1>|\Z)", re.S)
_SENTENCE = re.compile(r"[.!?](?=\s|\Z)|[。！？।؟\n]")


class Refusal(NamedTuple):
    """What an answer is: a refusal of a kind, in a language (ISO 639-1; "" where a field says so and no words do)."""

    kind: RefusalKind
    language: str = ""


class _Match(NamedTuple):
    start: int
    end: int
    kind: RefusalKind
    language: Language


@lru_cache(maxsize=len(LANGUAGES))
def language(code: str) -> Language:
    """The phrases of a language, loaded when they are first asked for."""
    found = import_module(f"proxy.checks.refusals.languages.{code}").LANGUAGE
    assert isinstance(found, Language)
    return found


def normalised(text: str) -> str:
    """A text in the form in which phrases are written: small letters, one apostrophe, one space, no emphasis.

    Thinking that a model server has left in the answer is not the answer.
    """
    return _SPACES.sub(" ", _THINKING.sub("", text).translate(_PLAIN).lower()).strip(" ")


def classify(text: str) -> Refusal | None:
    """What the beginning of a whole answer says; None: no refusal."""
    head = normalised(text[:HEAD])
    match = _first(head)
    return None if match is None else Refusal(_kind_of(match, head), match.language.code)


class RefusalReader:
    """One answer on its way.

    refusal: what it is; None: no refusal, or not known yet
    decided: nothing that follows changes that
    read:    characters that it took to decide
    """

    __slots__ = ("_head", "decided", "read", "refusal")

    def __init__(self) -> None:
        self._head = ""
        self.refusal: Refusal | None = None
        self.decided = False
        self.read = 0

    def feed(self, text: str, final: bool = False) -> None:
        """Read on. `final`: nothing follows."""
        if self.decided:
            return
        before = len(self._head)
        self._head += text[: HEAD - before]
        for end in range(before - before % STEP + STEP, min(len(self._head), HEAD - 1) + 1, STEP):
            self.refusal = _sure(self._head[:end])
            if self.refusal is not None:
                self._decide(end)
                return
        if final or len(self._head) == HEAD:
            self.refusal = classify(self._head)
            self._decide(len(self._head))

    def save(self) -> tuple[str, Refusal | None, bool, int]:
        """The whole state."""
        return self._head, self.refusal, self.decided, self.read

    def restore(self, mark: tuple[str, Refusal | None, bool, int]) -> None:
        """Go back to a saved state."""
        self._head, self.refusal, self.decided, self.read = mark

    def _decide(self, read: int) -> None:
        self.decided, self.read = True, read
        self._head = ""


def _sure(text: str) -> Refusal | None:
    """What the beginning of an answer that goes on says for certain; None: that is not known yet."""
    head = normalised(text)
    match = _earliest(head, _languages(head), weak=False)
    if match is None or match.end + SURE > len(head):
        return None
    sentence = _SENTENCE.search(head, match.end)
    known = match.kind is RefusalKind.PARTIAL or _turns(match, head)
    if known or (sentence is not None and sentence.end() + SURE <= len(head)):
        return Refusal(_kind_of(match, head), match.language.code)
    return None


def _first(head: str) -> _Match | None:
    """The phrase that comes first; a weak one where there is no other."""
    known = _languages(head)
    return _earliest(head, known, weak=False) or _earliest(head, known, weak=True)


def _languages(head: str) -> list[Language]:
    """Those of which the text has a word."""
    return [language(code) for code in languages_of(head)]


def _earliest(head: str, known: Iterable[Language], weak: bool) -> _Match | None:
    """The phrase that comes first, of all these languages."""
    patterns = [(one, one.weak_refusals if weak else one.refusals) for one in known]
    found = [match for one, pattern in patterns if pattern is not None for match in _in(one, pattern, head)]
    return min(found, key=lambda match: match.start, default=None)


def _in(known: Language, phrases: re.Pattern[str], head: str) -> Iterator[_Match]:
    """The first phrase of a language, if there is any."""
    for match in phrases.finditer(head):
        if match.lastgroup != "never" and not _quoted(head, match.end()):
            assert match.lastgroup is not None
            yield _Match(match.start(), match.end(), RefusalKind(match.lastgroup), known)
            return


def _quoted(head: str, at: int) -> bool:
    """Whether a place is inside of a quotation."""
    before = head[:at]
    return before.count('"') % 2 == 1 or any(
        before.rfind(opening) > before.rfind(closing) for opening, closing in ("“”", "«»", "„“", "「」", "『』")
    )


def _kind_of(match: _Match, head: str) -> RefusalKind:
    return RefusalKind.PARTIAL if _turns(match, head) else match.kind


def _turns(match: _Match, head: str) -> bool:
    """Whether help follows, in the sentence of the refusal or at the beginning of the next one."""
    turn = match.language.turn
    if turn is None:
        return False
    sentence = _SENTENCE.search(head, match.end)
    if turn.search(head, match.end, sentence.end() if sentence else len(head)):
        return True
    return sentence is not None and turn.match(head, sentence.end() + head.startswith(" ", sentence.end())) is not None
