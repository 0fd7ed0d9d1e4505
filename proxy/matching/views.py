"""Views: a rule reads the text as a reader does, and what it finds is told in offsets of the raw text.

A view turns units of raw text (one character, or one escape) into view characters, each on its own and in order. So
cutting the text cannot change the view, a finding always covers whole units, and units that are not seen (accents,
zero-width characters) go with the hidden text they follow: no mark is left to dangle on a label.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from proxy.core.check import Progress
from proxy.core.types import Action, Finding, Rule
from proxy.matching.escapes import HTML_LONGEST, JSON_LONGEST, Escape, html_reference, json_escape
from proxy.matching.folding import FOLDS
from proxy.matching.rules import Pass, PassScan, Verdict

UNSEEN_LIMIT = 512
"""The most characters in a row that a folded view leaves out. More are seen as what they are, so that a flood of them
cannot make a few view characters stand for an unbounded raw text."""

HISTORY = 8
"""How many irregular pieces back from its end a finding that only flags is located to the character."""

Piece = tuple[int, int, int, int]
"""Part of the map from the view to the raw text: (seen, raw, width, late).

width 0: from view offset `seen` to the next piece, view characters are raw characters, from raw offset `raw` on
width n: the view characters up to the next piece are one unit of n raw characters, and to know that, `late` more raw
         characters had to be read
"""

_START: tuple[Piece, ...] = ((0, 0, 0, 0),)


class FoldView:
    """What is read on a screen: HTML character references resolved, then every character folded (folding.py)."""

    def hold(self, inner: int | None) -> int | None:
        """The most raw characters that wait when the rules keep at most `inner` view characters waiting."""
        return None if inner is None else inner * (1 + UNSEEN_LIMIT) * HTML_LONGEST + HTML_LONGEST

    def open(self, inner: Pass, waits: bool = True) -> PassScan:
        """`waits`: False when no rule of the pass can hide anything; then half a reference is not held back."""
        return _Scan(_Scan(inner.open(), _Fold(), waits), _Escapes("&", html_reference), waits)


class JsonUnescapeView:
    """What JSON source says: escapes resolved, all else as it is. Invalid escapes mean what they say."""

    def hold(self, inner: int | None) -> int | None:
        """The most raw characters that wait when the rules keep at most `inner` view characters waiting."""
        return None if inner is None else (inner + 1) * JSON_LONGEST

    def open(self, inner: Pass, waits: bool = True) -> PassScan:
        """`waits`: False when no rule of the pass can hide anything; then half an escape is not held back."""
        return _Scan(inner.open(), _Escapes("\\", json_escape), waits)


class _AnyView(Protocol):
    def hold(self, inner: int | None) -> int | None: ...
    def open(self, inner: Pass, waits: bool = True) -> PassScan: ...


class _Through(NamedTuple):
    """A pass seen through a view is a pass over what the view reads."""

    view: _AnyView
    inner: Pass
    waits: bool

    @property
    def hold(self) -> int | None:
        return self.view.hold(self.inner.hold)

    def open(self) -> PassScan:
        return self.view.open(self.inner, self.waits)


class Composition(NamedTuple):
    """A view of a view: `outer` reads the raw text, `inner` what `outer` makes of it."""

    outer: _AnyView
    inner: _AnyView

    def hold(self, inner: int | None) -> int | None:
        """The most raw characters that wait when the rules keep at most `inner` view characters waiting."""
        return self.outer.hold(self.inner.hold(inner))

    def open(self, inner: Pass, waits: bool = True) -> PassScan:
        """`waits`: False when no rule of the pass can hide anything."""
        return self.outer.open(_Through(self.inner, inner, waits), waits)


class _Lens(Protocol):
    """Reads raw text as view text. Its state is one value, so that it can be saved and restored."""

    state: Any

    @property
    def pending(self) -> int:
        """How many raw characters at the end are not seen yet."""

    def plain(self, text: str) -> str | None:
        """The view of a text whose view characters are its characters one by one, where that is quickly seen."""

    def read(self, text: str, final: bool, seen: int, raw: int) -> tuple[str, list[Piece]]:
        """The view of any text and its map, from the view offset `seen` and the raw offset `raw` of `text` on."""


class _Fold:
    """The fold, unit by unit. The state: how many characters in a row were left out."""

    __slots__ = ("state",)
    pending = 0

    def __init__(self) -> None:
        self.state = 0

    def plain(self, text: str) -> str | None:
        if not text.isascii():
            return None
        if text:
            self.state = 0
        return text.lower()

    def read(self, text: str, final: bool, seen: int, raw: int) -> tuple[str, list[Piece]]:
        parts = [FOLDS[ord(char)] for char in text]
        if set(map(len, parts)) == {1}:
            self.state = 0
            return "".join(parts), [(seen, raw, 0, 0)]
        pieces: list[Piece] = []
        straight = False
        unseen = self.state
        for i, part in enumerate(parts):
            unseen = 0 if part else unseen + 1
            if unseen > UNSEEN_LIMIT:
                part = parts[i] = text[i]
            if len(part) != 1:
                straight = False
                if part:
                    pieces.append((seen, raw + i, 1, 0))
            elif not straight:
                pieces.append((seen, raw + i, 0, 0))
                straight = True
            seen += len(part)
        self.state = unseen
        return "".join(parts), pieces


class _Escapes:
    """Escapes resolved. The state: what may be the beginning of one, at the end of what was read."""

    __slots__ = ("_escape", "_sign", "state")

    def __init__(self, sign: str, escape: Callable[[str, int], Escape]) -> None:
        self._sign, self._escape = sign, escape
        self.state = ""

    @property
    def pending(self) -> int:
        return len(self.state)

    def plain(self, text: str) -> str | None:
        return None if self.state or self._sign in text else text

    def read(self, text: str, final: bool, seen: int, raw: int) -> tuple[str, list[Piece]]:
        raw -= len(self.state)
        text = self.state + text
        parts: list[str] = []
        pieces: list[Piece] = []
        done = 0
        while (at := text.find(self._sign, done)) >= 0:
            escape = self._escape(text, at)
            if escape.read > len(text) and not final:
                break
            if at > done:
                parts.append(text[done:at])
                pieces.append((seen, raw + done, 0, 0))
                seen += at - done
            part, more = _unit(text, at, escape, seen, raw)
            parts.append(part)
            pieces.extend(more)
            seen, done = seen + len(part), escape.end
        end = len(text) if at < 0 else at
        if end > done:
            parts.append(text[done:end])
            pieces.append((seen, raw + done, 0, 0))
        self.state = text[end:]
        return "".join(parts), pieces


def _unit(text: str, at: int, escape: Escape, seen: int, raw: int) -> tuple[str, list[Piece]]:
    """An escape as one unit; what turned out to be none, character by character."""
    if escape.text:
        return escape.text, [(seen, raw + at, escape.end - at, escape.read - escape.end)]
    pieces = [(seen + i - at, raw + i, 1, escape.read - i - 1) for i in range(at, escape.end)]
    return text[at : escape.end], pieces


class _Scan:
    """A pass scan over the view, in offsets of the raw text."""

    __slots__ = (
        "_delta", "_fed", "_inner", "_last", "_lens", "_map", "_mark", "_seen", "_tail", "_waits", "verdict",
    )  # fmt: skip

    def __init__(self, inner: PassScan, lens: _Lens, waits: bool) -> None:
        self._inner, self._lens, self._waits = inner, lens, waits
        self._fed = self._seen = 0  # raw and view characters so far
        self._mark = 0  # the pass's watermark, a view offset
        self._map = _START
        self._last = 0  # view offset of the last piece
        self._delta: int | None = 0  # raw minus view offset in the last piece, when the next character continues it
        self._tail: tuple[Rule, ...] = ()  # rules that hide the last view character, and unseen ones that follow it
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        view = self._lens.plain(text)
        if view is None or self._delta is None:
            return self._feed_irregular(text, view, final)
        progress = self._inner.feed(view, final)
        self._fed += len(text)
        self._seen += len(view)
        self._mark, findings = progress
        if text:
            self._tail = ()
        if findings or self._mark < self._last:
            return self._located(findings, [])
        return Progress(self._mark + self._delta) if self._delta else progress

    def save(self) -> object:
        return (
            self._inner.save(), self._lens.state, self._fed, self._seen, self._mark,
            self._map, self._last, self._delta, self._tail,
        )  # fmt: skip

    def restore(self, mark: object) -> None:
        assert isinstance(mark, tuple)
        inner, self._lens.state, self._fed, self._seen, self._mark, self._map, self._last, self._delta, self._tail = (
            mark
        )
        self._inner.restore(inner)
        self.verdict = None

    def _feed_irregular(self, text: str, view: str | None, final: bool) -> Progress:
        start, raw = self._seen, self._fed - self._lens.pending
        if view is None:
            view, pieces = self._lens.read(text, final, start, self._fed)
        else:
            pieces = [(start, raw, 0, 0)] if view else []
        self._fed += len(text)
        self._seen += len(view)
        self._extend_map(pieces)
        after = self._go_with_tail(start, raw)
        if not view and not final:
            return Progress(self._raw_mark(), tuple(after))
        self._mark, findings = self._inner.feed(view, final)
        return self._located(findings, after)

    def _extend_map(self, pieces: list[Piece]) -> None:
        """Add to the map; a straight piece that continues the last one is part of it."""
        if pieces:
            seen, raw, width, _ = pieces[0]
            if self._delta == raw - seen and width == 0:
                del pieces[0]
            self._map += tuple(pieces)
        seen, raw, width, _ = self._map[-1]
        end = self._fed - self._lens.pending
        self._last = seen
        self._delta = raw - seen if width == 0 and raw + self._seen - seen == end else None

    def _go_with_tail(self, start: int, raw: int) -> list[Finding]:
        """Unseen characters from `raw` on that follow a hidden one of the feed before."""
        end = self._raw_start(start)
        found = [Finding(raw, end, rule, extends=True) for rule in self._tail if end > raw]
        if self._seen > start:
            self._tail = ()
        return found

    def _located(self, findings: Sequence[Finding], found: list[Finding]) -> Progress:
        """The answer to a feed, in raw offsets."""
        for finding in findings:
            found.extend(self._locate(finding))
        if findings and self._inner.verdict is not None:
            self.verdict = self._raw_verdict(self._inner.verdict)
        mark = self._raw_mark()
        self._trim_map()
        if len(found) > 1:
            found.sort(key=_start)
        return Progress(mark, tuple(found))

    def _locate(self, finding: Finding) -> Iterator[Finding]:
        start, end, rule, extends = finding
        first, last = self._piece(start), self._piece(end - 1)
        if rule.holds:
            begin = self._raw_start(start)
        else:
            begin = self._map[last - HISTORY][1] if first < last - HISTORY else self._raw_start(start)
        seen, raw, width, _ = self._map[last]
        if width:  # to the end of the unit, though the match may end inside
            stop = raw + width
            end = self._map[last + 1][0] if last + 1 < len(self._map) else self._seen
        else:
            stop = raw + end - seen
        yield Finding(begin, stop, rule, extends)
        if rule.action is Action.REWRITE and rule.holds:
            after = self._raw_start(end)
            if after > stop:
                yield Finding(stop, after, rule, extends=True)
            if end == self._seen and rule not in self._tail:
                self._tail += (rule,)

    def _raw_verdict(self, verdict: Verdict) -> Verdict:
        read, end = verdict
        _, raw, width, _ = self._map[piece := self._piece(end - 1)]
        stop = raw + width if width else raw + end - self._map[piece][0]
        if read > self._seen:
            return Verdict(self._fed + 1, stop)
        seen, raw, width, late = self._map[self._piece(read - 1)]
        return Verdict(raw + width + late if width else raw + read - seen, stop)

    def _raw_mark(self) -> int:
        return self._raw_start(self._mark) if self._waits else self._fed

    def _raw_start(self, seen: int) -> int:
        """Where the unit of a view character starts; at the end of the view, where the next one will."""
        if seen >= self._seen:
            return self._fed - self._lens.pending
        first, raw, width, _ = self._map[max(0, self._piece(seen))]
        return raw if width else raw + max(0, seen - first)

    def _piece(self, seen: int) -> int:
        return bisect_right(self._map, seen, key=_start) - 1

    def _trim_map(self) -> None:
        """Forget what lies before the watermark, but for what flag-only findings need."""
        if len(self._map) > HISTORY + 1:
            kept = min(self._piece(self._mark), len(self._map) - HISTORY - 1)
            if kept > 0:
                self._map = self._map[kept:]


def _start(item: Piece | Finding) -> int:
    return item[0]
