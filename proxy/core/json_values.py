"""The values of a JSON text, each judged alone and decoded: what a program reads of it, keys and numbers too."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from json import JSONDecoder

from proxy.core.check import Check, Progress, Scan, suspects
from proxy.core.json_lexer import ESCAPES, Lexer, Token, Value
from proxy.core.json_writer import decoded
from proxy.core.types import Action, Finding

MOST_DIGITS = 400  # of a number written out; a float has no more
FEW = 8  # values that are read one by one
MOST_KNOWN = 4096  # strings in which nothing was found that one scan remembers
_DECODER = JSONDecoder()


class JsonValues:
    """Checks of values as one check of the JSON text in which they stand. It never looks beyond the end of a value."""

    hold = None  # a number and an escape wait for their end, a value as long as its checks want

    def __init__(self, checks: Iterable[Check]) -> None:
        self.checks = tuple(checks)

    def open(self) -> _ValuesScan:
        """A fresh scan."""
        return _ValuesScan(self.checks)


class _ValuesScan:
    """At work on one text. Offsets are those of the text."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self._checks = checks
        self._lexer = Lexer()
        self._at = 0  # where the next token begins
        self._value: _String | None = None  # the string that is being read
        self._scalar = ""  # the number or word that is being read, and where it began
        self._scalar_at = 0
        self._clean: set[str] = set()  # strings in which nothing is found; many come more than once
        self._run: list[Value] = []  # whole values in what the lexer reads
        self._found: list[Finding] = []
        self._mark = 0
        self._over = False  # a block was found

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        self._found = []
        if self._over:
            return Progress(self._mark)
        if self._value is not None and not final and self._lexer.is_text(text):
            return self._read_text(self._value, text)
        self._read(self._lexer.skim(text, self._run))
        if final:
            self._read(self._lexer.finish())
            self._end_string()
            self._end_scalar()
        elif self._value is not None and not self._over:
            self._note(self._value, self._value.feed())
        if not self._over:
            self._mark = self._watermark()
        self._found.sort(key=_start)
        return Progress(self._mark, tuple(self._found))

    def _read_text(self, value: _String, text: str) -> Progress:
        """All of it belongs to the string that is open: most pieces of most answers."""
        value.add(text, self._at, 0)
        self._at += len(text)
        found = value.feed()
        if found:
            self._note(value, found)
        self._mark = value.watermark
        return Progress(self._mark, tuple(found))

    def _read(self, tokens: Iterable[tuple[Token, str]]) -> None:
        for token, piece in tokens:
            self._take(token, piece)
            if self._run and not self._over:
                self._judge_run()
            if self._over:
                return
            self._at += len(piece)

    def _judge_run(self) -> None:
        """Whole values, which stand in the piece of structure that has just come."""
        suspected = self._suspects()
        for one in self._run:
            at, literal, is_scalar = one
            if is_scalar and literal[0] in "tfn":
                continue
            text = _said(one)
            if text in self._clean or self._is_clean(text, suspected):
                continue
            value = _String(self._checks, self._at + at)
            if is_scalar:
                value.add(text, self._at + at, 0 if text == literal else len(literal))
            else:
                value.add_written(literal, self._at + at)
            self._note(value, value.feed(final=True))
            if self._over:
                break
        self._run.clear()

    def _suspects(self) -> set[str] | None:
        """The values in which something may be found; None: nobody has looked."""
        if len(self._run) < FEW:
            return None
        texts = list({_said(value) for value in self._run} - self._clean)
        return {text for check in self._checks for text in suspects(check, texts)} if texts else set()

    def _is_clean(self, text: str, suspected: set[str] | None) -> bool:
        """Whether nothing is found in a value."""
        if suspected is None or text in suspected:
            for check in self._checks:
                if check.open().feed(text, True).findings:
                    return False
        if len(self._clean) < MOST_KNOWN:
            self._clean.add(text)
        return True

    def _note(self, value: _String, found: list[Finding]) -> None:
        """What was found in a value. A block ends all."""
        self._found += found
        if any(finding.rule.holds and finding.rule.action is Action.BLOCK for finding in found):
            self._over, self._mark = True, value.watermark

    def _watermark(self) -> int:
        if self._value is not None:
            return self._value.watermark
        return self._scalar_at if self._scalar else self._at

    def _take(self, token: Token, piece: str) -> None:
        value = self._value
        if token is Token.TEXT and value is not None:
            value.add(piece, self._at, 0)
        elif token is Token.WRITTEN and value is not None:
            value.add_written(piece, self._at)
        elif token is Token.ESCAPE and value is not None:
            value.add(decoded(token, piece), self._at, len(piece))
        elif token is Token.SCALAR:
            self._scalar_at = self._scalar_at if self._scalar else self._at
            self._scalar += piece
        else:
            self._end_string()
            self._end_scalar()
            if token is Token.OPEN:
                self._value = _String(self._checks, self._at + 1)

    def _end_string(self) -> None:
        value, self._value = self._value, None
        if value is None or self._over:
            return
        text = value.whole
        if text is not None and text in self._clean:
            return
        found = value.feed(final=True)
        self._note(value, found)
        if text is not None and not found and len(self._clean) < MOST_KNOWN:
            self._clean.add(text)

    def _end_scalar(self) -> None:
        literal, self._scalar = self._scalar, ""
        if literal[:1] in ("", "t", "f", "n") or self._over:
            return
        text = written_out(literal)
        if text in self._clean:
            return
        number = _String(self._checks, self._scalar_at)
        number.add(text, self._scalar_at, 0 if text == literal else len(literal))
        found = number.feed(final=True)
        self._note(number, found)
        if not found and len(self._clean) < MOST_KNOWN:
            self._clean.add(text)


class _String:
    """One value, as far as it has been read."""

    __slots__ = ("_checks", "_end", "_fresh", "_map", "_marks", "_raw_end", "_scans", "watermark")

    def __init__(self, checks: tuple[Check, ...], start: int) -> None:
        self._checks = checks
        self._scans: list[Scan] | None = None  # not before they have to read something
        self._marks: list[int] = []
        self._map: list[tuple[int, int, int]] = []  # (decoded offset, offset in the text, characters there or 0: alike)
        self._fresh: list[str] = []  # decoded, not read by the scans yet
        self._end = 0  # decoded characters so far
        self._raw_end = start
        self.watermark = start

    @property
    def whole(self) -> str | None:
        """All of the value, when the scans have read nothing yet."""
        return "".join(self._fresh) if self._scans is None else None

    def add(self, text: str, at: int, width: int) -> None:
        """More of it: decoded, where that stands, and on how many characters (0: as many as it has)."""
        goes_on = not width and self._map and not self._map[-1][2] and at == self._raw_end
        if not goes_on:
            self._map.append((self._end, at, width))
        self._fresh.append(text)
        self._end += len(text)
        self._raw_end = at + (width or len(text))

    def add_written(self, source: str, at: int) -> None:
        """More of it, as it is written: text and escapes that stand by themselves."""
        if "\\" not in source:
            if source:
                self.add(source, at, 0)
            return
        text = read(source)
        self._map += self._written(source, at)
        self._fresh.append(text)
        self._end += len(text)
        self._raw_end = at + len(source)

    def _written(self, source: str, at: int) -> Iterator[tuple[int, int, int]]:
        """What it adds to the map."""
        ahead = self._end - at  # of the decoded text, before the text as it is written
        last = self._map[-1] if self._map else None
        done = 0
        straight = last is not None and not last[2] and at == self._raw_end
        for escape in ESCAPES.finditer(source):
            first, end = escape.span()
            if first > done and not straight:
                yield ahead + at + done, at + done, 0
            yield ahead + at + first, at + first, end - first
            ahead -= end - first - 1
            done, straight = end, False
        if done < len(source):
            yield ahead + at + done, at + done, 0

    def feed(self, final: bool = False) -> list[Finding]:
        """The scans read what is new; what they find."""
        if not (self._fresh or final):
            return []
        if self._scans is None:
            self._scans = [check.open() for check in self._checks]
        text = "".join(self._fresh)
        self._fresh.clear()
        mark, found = self._end, list[Finding]()
        for scan in self._scans:
            watermark, findings, _ = scan.feed(text, final)
            mark = min(mark, watermark)
            found += findings
        self.watermark = self._raw_start(mark)
        return [self._located(finding) for finding in found]

    def _located(self, finding: Finding) -> Finding:
        return finding._replace(start=self._raw_start(finding.start), end=self._raw_stop(finding.end))

    def _raw_start(self, offset: int) -> int:
        """Where the character at an offset begins."""
        if offset >= self._end:
            return self._raw_end
        first, raw, width = self._map[bisect_right(self._map, offset, key=_first) - 1]
        return raw if width else raw + offset - first

    def _raw_stop(self, offset: int) -> int:
        """Where the character before an offset ends."""
        first, raw, width = self._map[bisect_right(self._map, offset - 1, key=_first) - 1]
        return raw + (width or offset - first)


def _said(value: Value) -> str:
    return written_out(value.text) if value.is_scalar else read(value.text)


def read(source: str) -> str:
    """What stands between the quotes of a string says."""
    if "\\" not in source:
        return source
    text: str
    text, _ = _DECODER.raw_decode(f'"{source}"')
    return text


def written_out(literal: str) -> str:
    """A number without an exponent, as a program would print it: 4.111e3 is 4111."""
    if not ("e" in literal or "E" in literal):
        return literal
    try:
        number = Decimal(literal)
    except InvalidOperation:
        return literal
    return literal if abs(number.adjusted()) > MOST_DIGITS else format(number, "f")


def _start(finding: Finding) -> int:
    return finding.start


def _first(piece: tuple[int, int, int]) -> int:
    return piece[0]
