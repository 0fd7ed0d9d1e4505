"""The small parts of Python's `re` syntax: flags, escapes and character classes.

Reference: https://docs.python.org/3/library/re.html#regular-expression-syntax
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace

from proxy.matching.charsets import CharSet, any_case, category
from proxy.matching.errors import PatternError

_FLAG_NAMES = {"i": "ignore_case", "s": "dot_all", "m": "multi_line", "x": "verbose", "a": "ascii"}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_OCTAL = "01234567"


@dataclass(frozen=True, slots=True)
class Flags:
    """(?i), (?s), (?m), (?x) and (?a)."""

    ignore_case: bool = False
    dot_all: bool = False
    multi_line: bool = False
    verbose: bool = False
    ascii: bool = False


@dataclass(slots=True)
class Reader:
    """A place in a pattern, and the flags that hold there."""

    pattern: str
    flags: Flags
    at: int = 0

    def peek(self, length: int = 1) -> str:
        return self.pattern[self.at : self.at + length]

    def take(self, text: str) -> bool:
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def next(self, missing: str) -> str:
        if self.at >= len(self.pattern):
            raise self.error(missing, self.at)
        self.at += 1
        return self.pattern[self.at - 1]

    def run_of(self, allowed: str, limit: int) -> str:
        start = self.at
        while self.at < len(self.pattern) and self.at - start < limit and self.pattern[self.at] in allowed:
            self.at += 1
        return self.pattern[start : self.at]

    def until(self, end: str, missing: str) -> str:
        start = self.at
        stop = self.pattern.find(end, start)
        if stop < 0:
            raise self.error(missing, start)
        self.at = stop + len(end)
        return self.pattern[start:stop]

    def error(self, message: str, at: int, hint: str = "") -> PatternError:
        return PatternError(message, at + 1, hint)

    def with_flags(self, on: str, off: str, start: int) -> Flags:
        if "L" in on + off:
            raise self.error("(?L) only applies to bytes", start)
        if ("a" in on and "u" in on) or set(off) & set("au") or set(on) & set(off):
            raise self.error("bad flags", start, "at most one of a and u, and neither after the minus")
        changed = {_FLAG_NAMES[f]: True for f in on if f != "u"} | {_FLAG_NAMES[f]: False for f in off}
        if "u" in on:
            changed["ascii"] = False
        return replace(self.flags, **changed)

    def cased(self, chars: CharSet) -> CharSet:
        return any_case(chars, self.flags.ascii) if self.flags.ignore_case else chars

    def octal_escape(self) -> bool:
        digits = self.pattern[self.at - 1 : self.at + 2]
        return len(digits) == 3 and all(d in _OCTAL for d in digits)

    def character(self, char: str, start: int) -> str:
        """The character that an escape stands for; `char` is what follows the backslash."""
        if char in _CONTROL:
            return _CONTROL[char]
        if char in _HEX_DIGITS:
            return self.hexadecimal(char, start)
        if char == "N":
            return self.named(start)
        if char in _OCTAL:
            return self.octal(char, start)
        if char.isascii() and char.isalnum():
            raise self.error(f"bad escape \\{char}", start)
        return char

    def hexadecimal(self, kind: str, start: int) -> str:
        wanted = _HEX_DIGITS[kind]
        digits = self.run_of("0123456789abcdefABCDEF", wanted)
        if len(digits) < wanted or int(digits, 16) > 0x10FFFF:
            raise self.error(f"incomplete or bad escape \\{kind}{digits}", start, f"{wanted} hexadecimal digits")
        return chr(int(digits, 16))

    def named(self, start: int) -> str:
        if not self.take("{"):
            raise self.error("missing {", self.at, "write \\N{NAME}")
        name = self.until("}", "missing }, unterminated name")
        try:
            return unicodedata.lookup(name)
        except KeyError:
            raise self.error(f"undefined character name {name!r}", start) from None

    def octal(self, first: str, start: int) -> str:
        code = int(first + self.run_of(_OCTAL, 2), 8)
        if code > 0o377:
            raise self.error("octal escape value outside of range 0-0o377", start)
        return chr(code)

    def char_class(self, start: int) -> CharSet:
        negated = self.take("^")
        out = CharSet.of([])
        first = True
        while first or self.peek() != "]":
            out |= self.class_item(start)
            first = False
        self.at += 1
        return (~out).inside() if negated else out

    def class_item(self, start: int) -> CharSet:
        """One category, one character in any case, or one range in any case."""
        at = self.at
        low = self.class_member(start)
        if self.peek() != "-" or self.peek(2) == "-]":
            return low if isinstance(low, CharSet) else self.cased(CharSet.chars(low))
        self.at += 1
        high = self.class_member(start)
        if isinstance(low, CharSet) or isinstance(high, CharSet) or low > high:
            raise self.error("bad character range", at, "write the first and the last character, in this order")
        return self.cased(CharSet.of([(ord(low), ord(high))]))

    def class_member(self, start: int) -> str | CharSet:
        """A character, or a category."""
        at = self.at
        char = self.next_of_class(start)
        if char != "\\":
            return char
        char = self.next_of_class(start)
        if char in "dDsSwW":
            return category(char, self.flags.ascii)
        return "\b" if char == "b" else self.character(char, at)

    def next_of_class(self, start: int) -> str:
        if self.at >= len(self.pattern):
            raise self.error("unterminated character set", start)
        return self.next("")
