"""JSON text in pieces, told apart: what is structure, and what is text that a reader of its values sees (RFC 8259)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

LONGEST_SCALAR = 4400  # characters; Python's own reader takes integers of at most 4300 digits

_SPACE = re.compile(r"[ \t\r\n]*")
_CONTENT = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_ONE_ESCAPE = r'\\(?:["\\/bfnrt]|u(?![dD][89abAB])[0-9a-fA-F]{4})'
"""One that stands for a character by itself, whatever follows."""
ESCAPES = re.compile(_ONE_ESCAPE)
_SOURCE = rf'(?:[^"\\\x00-\x1f]++|{_ONE_ESCAPE})*+'
_WRITTEN = re.compile(_SOURCE)
_HIGH = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_LOW = re.compile(r"\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_LOW_BEGUN = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?")


class Token(Enum):
    """What a piece of the text is.

    STRUCTURE: brackets, commas, colons and blanks; OPEN and CLOSE: the quotes around a string
    TEXT:      characters of a string; ESCAPE: one escape in a string, both halves of a pair together
    WRITTEN:   characters of a string and escapes (`skim` only)
    SCALAR:    a piece of a number or of true, false, null
    PLAIN:     from here on it is no JSON
    """

    STRUCTURE = auto()
    OPEN = auto()
    CLOSE = auto()
    TEXT = auto()
    ESCAPE = auto()
    WRITTEN = auto()
    SCALAR = auto()
    PLAIN = auto()


class State(Enum):
    """What may come next. FIRST_ITEM and FIRST_KEY: or the end of the array or object that has just begun."""

    VALUE = auto()
    FIRST_ITEM = auto()
    FIRST_KEY = auto()
    KEY = auto()
    COLON = auto()
    AFTER = auto()  # a value
    STRING = auto()
    SCALAR = auto()
    PLAIN = auto()


class Value(NamedTuple):
    """A value or a key in a run of whole ones.

    at:        where its text begins, counted from the beginning of the run
    text:      as it is written
    is_scalar: a number or a word; else a string
    """

    at: int
    text: str
    is_scalar: bool


_WANT_VALUE = (State.VALUE, State.FIRST_ITEM)
_WANT_KEY = (State.FIRST_KEY, State.KEY)

_BETWEEN = frozenset(State) - {State.STRING, State.SCALAR, State.PLAIN}

# -- whole values at one look: most of them have no escape and do not go on in the next piece

SHORTEST_RUN = 16  # characters; in fewer there are hardly any whole values
_LONGEST_PLAIN = 400  # characters of a number
_WS = r"[ \t\r\n]*"
_TEXT = f'"({_SOURCE})"'
_WORD = (
    rf"(-?(?:0|[1-9][0-9]{{0,{_LONGEST_PLAIN}}})(?:\.[0-9]{{1,{_LONGEST_PLAIN}}})?"
    rf"(?:[eE][+-]?[0-9]{{1,{_LONGEST_PLAIN}}})?|true|false|null)"
)
_MEMBER = re.compile(rf"{_WS}{_TEXT}{_WS}:{_WS}(?:(?:{_TEXT}|{_WORD}){_WS}([,}}])|([{{\[]))").match
_ITEM = re.compile(rf"{_WS}(?:{_TEXT}|{_WORD}){_WS}([,\]])").match
_BRACKET = re.compile(rf"{_WS}([{{}}\[\],])").match

_MISSING = {State.VALUE: "null", State.KEY: '"":null', State.COLON: ":null"}

# -- numbers and words, character by character: the state after each, and whether it may be the end

_DIGITS = "0123456789"
_NUMBER: dict[str, dict[str, str]] = {
    "": {"-": "-", "0": "0", **dict.fromkeys(_DIGITS[1:], "1")},
    "-": {"0": "0", **dict.fromkeys(_DIGITS[1:], "1")},
    "0": {".": ".", "e": "e", "E": "e"},
    "1": {**dict.fromkeys(_DIGITS, "1"), ".": ".", "e": "e", "E": "e"},
    ".": dict.fromkeys(_DIGITS, ".1"),
    ".1": {**dict.fromkeys(_DIGITS, ".1"), "e": "e", "E": "e"},
    "e": {"+": "e+", "-": "e+", **dict.fromkeys(_DIGITS, "e1")},
    "e+": dict.fromkeys(_DIGITS, "e1"),
    "e1": dict.fromkeys(_DIGITS, "e1"),
}
_WORDS = {word[:i]: {word[i : i + 1]: word[: i + 1]} for word in ("true", "false", "null") for i in range(1, len(word))}
_NEXT: dict[str, dict[str, str]] = {**_NUMBER, **_WORDS}
_NEXT[""] = {**_NUMBER[""], "t": "t", "f": "f", "n": "n"}
_ENDS = frozenset(("0", "1", ".1", "e1", "true", "false", "null"))


Nesting: TypeAlias = "tuple[str, Nesting] | None"
"""The innermost bracket that is open, and those around it. A place may keep it: nobody changes it, or copies it."""


class Place(NamedTuple):
    """Where a JSON text stands: the open brackets, what may come next, and whether an open string is a key."""

    stack: Nesting
    state: State
    is_key: bool

    def closing(self) -> str:
        """The least that makes the text whole."""
        brackets = "".join(["}" if bracket == "{" else "]" for bracket in _outwards(self.stack)])
        if self.state is State.STRING:
            return f'":null{brackets}' if self.is_key else f'"{brackets}'
        if self.state is State.PLAIN or (self.state is State.VALUE and self.stack is None):
            return ""
        return _MISSING.get(self.state, "") + brackets


def _outwards(nesting: Nesting) -> Iterator[str]:
    while nesting is not None:
        bracket, nesting = nesting
        yield bracket


class Lexer:
    """Pieces of a JSON text in, tokens out: joined they are what was read, but for `pending`.

    stack:   the brackets that are open
    pending: half an escape at the end of what was read
    is_key:  the string that was read last is a key
    """

    __slots__ = ("_before_scalar", "_scalar", "_scalar_size", "is_key", "pending", "stack", "state")

    def __init__(self) -> None:
        self.stack: Nesting = None
        self.state = State.VALUE
        self.pending = ""
        self.is_key = False
        self._scalar = ""
        self._scalar_size = 0
        self._before_scalar = State.VALUE

    def is_text(self, text: str) -> bool:
        """Whether all of what comes next is text of the string that is open. Then it need not be fed."""
        return self.state is State.STRING and not self.pending and _CONTENT.fullmatch(text) is not None

    def feed(self, text: str) -> Iterator[tuple[Token, str]]:
        """Read on. At each token the lexer stands right after it."""
        return self._feed(text, None)

    def skim(self, text: str, values: list[Value]) -> Iterator[tuple[Token, str]]:
        """The same, but runs of whole values come as one piece of structure. Its values are added to `values` first."""
        return self._feed(text, values)

    def _feed(self, text: str, values: list[Value] | None) -> Iterator[tuple[Token, str]]:
        text, self.pending = self.pending + text, ""
        at, end = 0, len(text)
        while at < end:
            if values is not None and self.state in _BETWEEN and end - at >= SHORTEST_RUN:
                after = self._run(text, at, values)
                if after > at:
                    yield Token.STRUCTURE, text[at:after]
                    at = after
                    continue
            if values is not None and self.state is State.STRING:
                token, after = self._in_written(text, at)
            else:
                token, after = self._next(text, at)
            if after > at:
                yield token, text[at:after]
            elif self.pending:
                return
            at = after

    def _next(self, text: str, at: int) -> tuple[Token, int]:
        if self.state is State.STRING:
            return self._in_string(text, at)
        if self.state is State.SCALAR:
            return self._in_scalar(text, at)
        if self.state is State.PLAIN:
            return Token.PLAIN, len(text)
        return self._between(text, at)

    # -- a run of whole values

    def _run(self, text: str, start: int, values: list[Value]) -> int:
        """Read on as long as whole values come; where that ends. What is left is read token by token."""
        at = start
        while True:
            if self.state in _WANT_KEY:
                found = _MEMBER(text, at)
                if found is not None:
                    self._member(found, start, values)
                    at = found.end()
                    continue
            elif self.state in _WANT_VALUE and self._is_in("["):
                found = _ITEM(text, at)
                if found is not None:
                    values.append(_value(found, 1, start))
                    self.is_key = self.is_key and found[1] is None
                    self._after_value(found[3])
                    at = found.end()
                    continue
            found = _BRACKET(text, at)
            if found is None or not self._takes(found[1]):
                return at
            at = found.end()

    def _member(self, found: re.Match[str], start: int, values: list[Value]) -> None:
        """A key and its value, or a key and the bracket that begins its value."""
        values.append(Value(found.start(1) - start, found[1], is_scalar=False))
        self.is_key = True
        opened = found[5]
        if opened is not None:
            self.stack = (opened, self.stack)
            self.state = State.FIRST_KEY if opened == "{" else State.FIRST_ITEM
            return
        values.append(_value(found, 2, start))
        self.is_key = found[2] is None
        self._after_value(found[4])

    def _after_value(self, char: str) -> None:
        """Behind a value stands a comma, or the bracket that closes what it stands in."""
        if char == ",":
            self.state = State.KEY if self._is_in("{") else State.VALUE
        else:
            self._leave()

    def _is_in(self, bracket: str) -> bool:
        """Whether the innermost open bracket is this one."""
        return self.stack is not None and self.stack[0] == bracket

    def _leave(self) -> None:
        """The innermost bracket is closed."""
        assert self.stack is not None
        self.stack = self.stack[1]
        self.state = State.AFTER

    @property
    def ends_scalar(self) -> bool:
        """Whether what was read ends in a number or a word that is whole, if nothing follows."""
        return self.state is State.SCALAR and self._scalar in _ENDS

    def finish(self) -> Iterator[tuple[Token, str]]:
        """Nothing follows: half a pair is an escape all the same, and half an escape is none."""
        rest, self.pending = self.pending, ""
        if rest:
            yield (Token.ESCAPE if _ESCAPE.fullmatch(rest) else Token.PLAIN), rest

    def place(self) -> Place:
        """Where it stands. A scalar that has begun counts as not there yet."""
        return self.place_before_scalar() if self.state is State.SCALAR else self._place(self.state)

    def place_before_scalar(self) -> Place:
        """Where it stood before the scalar of the last token."""
        return self._place(self._before_scalar)

    def place_after_scalar(self) -> Place:
        """Where it stands if the scalar that it is in ends here."""
        return self._place(State.AFTER)

    def _place(self, state: State) -> Place:
        return Place(self.stack, state, self.is_key)

    # -- one token each: which, and where it ends

    def _in_string(self, text: str, at: int) -> tuple[Token, int]:
        found = _CONTENT.match(text, at)
        assert found is not None
        if found.end() > at:
            return Token.TEXT, found.end()
        if text[at] == '"':
            self.state = State.COLON if self.is_key else State.AFTER
            return Token.CLOSE, at + 1
        if text[at] != "\\":
            return self._no_json(text)
        return self._escape(text, at)

    def _in_written(self, text: str, at: int) -> tuple[Token, int]:
        found = _WRITTEN.match(text, at)
        if found is None or found.end() == at:
            return self._in_string(text, at)
        return Token.TEXT if text.find("\\", at, found.end()) < 0 else Token.WRITTEN, found.end()

    def _escape(self, text: str, at: int) -> tuple[Token, int]:
        found = _ESCAPE.match(text, at)
        if found is None:
            begun = _ESCAPE_BEGUN.fullmatch(text, at)
            return self._wait(text, at) if begun else self._no_json(text)
        if _HIGH.fullmatch(found[0]):
            low = _LOW.match(text, found.end())
            if low is not None:
                return Token.ESCAPE, low.end()
            if _LOW_BEGUN.fullmatch(text, found.end()):
                return self._wait(text, at)
        return Token.ESCAPE, found.end()

    def _wait(self, text: str, at: int) -> tuple[Token, int]:
        self.pending = text[at:]
        return Token.ESCAPE, at

    def _in_scalar(self, text: str, at: int) -> tuple[Token, int]:
        start = at
        while at < len(text):
            following = _NEXT.get(self._scalar, {}).get(text[at])
            if following is None:
                break
            self._scalar = following
            at += 1
        self._scalar_size += at - start
        too_long = self._scalar_size > LONGEST_SCALAR
        if at == len(text) and not too_long:
            return Token.SCALAR, at
        ended = not too_long and self._scalar in _ENDS  # what may follow it, `_between` knows
        self.state = State.AFTER if ended else State.PLAIN
        if at > start:
            return Token.SCALAR, at
        return self._between(text, at) if ended else self._no_json(text)

    def _between(self, text: str, at: int) -> tuple[Token, int]:
        """Structure up to the next value or key, or that begins."""
        start = at
        while True:
            found = _SPACE.match(text, at)
            assert found is not None
            at = found.end()
            if at == len(text):
                return Token.STRUCTURE, at
            char = text[at]
            if self._takes(char):
                at += 1
                continue
            if at > start:
                return Token.STRUCTURE, at
            return self._begin(text, at, char)

    def _begin(self, text: str, at: int, char: str) -> tuple[Token, int]:
        """A string or a scalar, or what is no JSON."""
        wants_value, wants_key = self.state in _WANT_VALUE, self.state in _WANT_KEY
        if char == '"' and (wants_value or wants_key):
            self.is_key = wants_key
            self.state = State.STRING
            return Token.OPEN, at + 1
        if wants_value and char in _NEXT[""]:
            self._before_scalar, self.state = self.state, State.SCALAR
            self._scalar, self._scalar_size = "", 0
            return self._in_scalar(text, at)
        return self._no_json(text)

    def _takes(self, char: str) -> bool:
        """Go on past a bracket, a comma or a colon, if it may stand here."""
        state = self.state
        if char in "{[" and state in _WANT_VALUE:
            self.stack = (char, self.stack)
            self.state = State.FIRST_KEY if char == "{" else State.FIRST_ITEM
        elif char == ":" and state is State.COLON:
            self.state = State.VALUE
        elif char == "," and state is State.AFTER and self.stack is not None:
            self.state = State.KEY if self._is_in("{") else State.VALUE
        elif char in "}]" and self._may_close(char):
            self._leave()
        else:
            return False
        return True

    def _may_close(self, char: str) -> bool:
        if not self._is_in("{" if char == "}" else "["):
            return False
        return self.state in (State.AFTER, State.FIRST_KEY if char == "}" else State.FIRST_ITEM)

    # -- what is no JSON

    def _no_json(self, text: str) -> tuple[Token, int]:
        self.state = State.PLAIN
        return Token.PLAIN, len(text)


def _value(found: re.Match[str], group: int, start: int) -> Value:
    """The text in this group, or the number or word in the next one."""
    text = found[group]
    if text is not None:
        return Value(found.start(group) - start, text, is_scalar=False)
    return Value(found.start(group + 1) - start, found[group + 1], is_scalar=True)
