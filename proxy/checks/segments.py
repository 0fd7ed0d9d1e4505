"""Cuts a text into segments of about a sentence, while it comes: what a guard, a topic or a service judges at a time.

A segment ends behind a sentence or a line, and where none ends early enough, behind a word. The ends follow UAX #29
(sentence boundaries), with a lookahead of two characters at most, so that a stream need not wait for a whole sentence
more. The spaces behind a sentence belong to the next segment.

The laws: the segments joined are the text, and cutting the text differently on its way changes none of them.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from unicodedata import category

SHORTEST = 32
LONGEST = 600
LOOKAHEAD = 2
"""So many characters behind the end of a segment may be looked at before it is certain."""

_LINE_ENDS = "\n\v\f\x85\u2028\u2029"
_ANYWHERE = (
    "\u0589\u061d-\u061f\u06d4\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u0f0d-\u0f12"
    "\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8-\u1aab"
    "\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047-\u2049\u2e2e\u2e3c"
    "\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9"
    "\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61\U00010a56\U00010a57"
    "\U00010f55-\U00010f59\U00010f86-\U00010f89\U00011047\U00011048\U000110be-\U000110c1"
    "\U00011141-\U00011143\U000111c5\U000111c6\U000111cd\U000111de\U000111df\U00011238\U00011239"
    "\U0001123b\U0001123c\U000112a9\U0001144b\U0001144c\U000115c2\U000115c3\U000115c9-\U000115d7"
    "\U00011641\U00011642\U0001173c-\U0001173e\U00011944\U00011946\U00011a42\U00011a43"
    "\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8\U00016a6e\U00016a6f\U00016af5"
    "\U00016b37\U00016b38\U00016b44\U00016e98\U0001bc9f\U0001da88"
)
"""Sentence_Terminal of Unicode 14 (PropList.txt) without those of ASCII, the signs that end a Khmer sentence, and the
shads of Tibetan. Scripts that write these often write no space behind them."""
_MARKS = "'\"*_`"
_CLOSING = _MARKS + "".join(
    chr(code)
    for block in ((0x20, 0x100), (0x2000, 0x2100), (0x2300, 0x2E80), (0x3000, 0x3040), (0xFE10, 0xFF70))
    for code in range(*block)
    if category(chr(code)) in ("Pe", "Pf", "Pi")
)
_END = re.compile(rf"[{_LINE_ENDS}]|([.!?{_ANYWHERE}]+)[{re.escape(_CLOSING)}]*")
_JOINER = "\u200d"
_LONGEST_CLUSTER = 16
"""Longer runs of combining marks are cut: nobody writes them, and a text of marks alone must not be kept for ever."""


class Segment(NamedTuple):
    """A piece of a text.

    start: where it begins in the text, in code points
    text:  never empty; it may be nothing but spaces, which nobody need be asked about
    """

    start: int
    text: str

    @property
    def end(self) -> int:
        """The offset behind its last character."""
        return self.start + len(self.text)


class Segmenter:
    """Finds the ends of segments in one text, which may come in any pieces."""

    def __init__(self, shortest: int = SHORTEST, longest: int = LONGEST) -> None:
        """Segments of at least `shortest` (the last one aside) and at most `longest` characters, 1 <= both.

        A sentence that ends before `shortest` goes on into the next one.
        """
        if not 1 <= shortest <= longest:
            raise ValueError(f"segments of at least {shortest} and at most {longest} characters cannot be made")
        self._shortest, self._longest = shortest, longest
        self._start, self._text, self._searched = 0, "", 0

    @property
    def hold(self) -> int:
        """The most characters that wait for the end of their segment."""
        return self._longest + LOOKAHEAD

    @property
    def waiting(self) -> str:
        """The text behind the last segment."""
        return self._text

    def feed(self, text: str, final: bool = False) -> list[Segment]:
        """Read on. Gives the segments whose ends became certain; with `final` all that is left."""
        self._text += text
        segments, start = [], 0
        while (end := self._end(start, final)) is not None:
            segments.append(Segment(self._start + start, self._text[start:end]))
            start = self._searched = end
        if segments:
            self._start, self._text, self._searched = self._start + start, self._text[start:], self._searched - start
        return segments

    def save(self) -> object:
        """The whole state."""
        return self._start, self._text, self._searched

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._start, self._text, self._searched = mark

    def _end(self, start: int, final: bool) -> int | None:
        """Where the segment ends that begins at `start`; None when that cannot be told yet, or nothing is left."""
        limit = start + self._longest
        end = self._sentence_end(start, limit, final)
        if end is not None:
            return end
        if len(self._text) >= limit + LOOKAHEAD or (final and len(self._text) > limit):
            return self._cut(start, limit)
        return len(self._text) if final and len(self._text) > start else None

    def _sentence_end(self, start: int, limit: int, final: bool) -> int | None:
        """The first end of a sentence or a line that is neither too near nor too far, as far as that is known."""
        far = limit + LOOKAHEAD
        while found := _END.search(self._text, self._searched, far):
            sure = found.end() <= limit and self._is_end(found, start, final)
            if sure and found.end() >= start + self._shortest:
                return found.end()
            if sure is None or found.end() > limit:
                self._searched = found.start()
                return None
            self._searched = found.end()
        self._searched = min(len(self._text), far)
        return None

    def _is_end(self, found: re.Match[str], start: int, final: bool) -> bool | None:
        """Whether a sentence or a line ends behind this; None: it depends on what follows."""
        terminators, end = found[1], found.end()
        if terminators is None:
            return True
        after = self._text[end : end + LOOKAHEAD]
        if not after:
            return True if final else None
        if any(mark not in ".!?" for mark in terminators):
            return True
        if not after[0].isspace():
            return False
        if terminators.strip("."):
            return True
        if len(after) < LOOKAHEAD and not final:
            return None
        return not after[1:].islower() and not _is_initial(self._text[max(start, found.start() - 2) : found.start()])

    def _cut(self, start: int, limit: int) -> int:
        """Where a segment ends that has no end of a sentence: before a word in its second half, or in a word."""
        space = self._text.rfind(" ", start + max(self._shortest, self._longest // 2), limit)
        if space > start:
            return space
        for cut in range(limit, max(limit - _LONGEST_CLUSTER, start + self._shortest - 1), -1):
            if not _continues(self._text[cut - 1 : cut + 1]):
                return cut
        return limit


def _is_initial(before: str) -> bool:
    """Whether the full stop behind this stands behind a single letter, as in `J. Smith` and `e.g. this`."""
    return before[-1:].isalpha() and not before[:-1].isalnum()


def _continues(pair: str) -> bool:
    """Whether the second of two characters belongs to the first one: an accent, a joined emoji."""
    second = pair[1:]
    return bool(second) and (_JOINER in pair or category(second)[0] == "M")


def segments_of(text: str, shortest: int = SHORTEST, longest: int = LONGEST) -> list[Segment]:
    """The segments of a whole text."""
    return Segmenter(shortest, longest).feed(text, final=True)
