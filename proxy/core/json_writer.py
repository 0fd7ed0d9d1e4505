"""What goes out of a JSON text of which parts are hidden: still JSON, whatever was hidden.

Structure always goes out. Where text of a string is hidden, the label stands in the string, encoded. A number or a
word (true, false, null) of which a part is hidden becomes a string. A hidden span that goes over several values has its
label in the first, and the rest of its text is left out. An escape of which a span has only a part stays, unless the
span has nothing else: then it is hidden whole. What is no JSON after all goes out as plain text.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from proxy.core.json_lexer import Lexer, Place, Token

_STRUCTURE = (Token.STRUCTURE, Token.OPEN, Token.CLOSE)
_SHOWN, _HIDDEN = (False,), (True,)  # marks
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def decoded(token: Token, piece: str) -> str:
    """What a token says to a reader of the value."""
    if token is not Token.ESCAPE:
        return piece
    if piece[1] != "u":
        return _SHORT[piece[1]]
    code = int(piece[2:6], 16)
    if len(piece) == 6:
        return chr(code)
    return chr(0x10000 + ((code - 0xD800) << 10) + int(piece[8:12], 16) - 0xDC00)


def encoded(text: str) -> str:
    """A text as the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


class JsonWriter:
    """Shown and hidden text in, in the order of the text; what may go out, out.

    Text that the client has already (`sent`) counts for where the text stands, and does not go out again.
    """

    def __init__(self) -> None:
        self._lexer = Lexer()
        self._out: deque[str | _Slot] = deque()  # what waits for a text that is not known
        self._scalar: _Scalar | None = None
        self._half = _Half()
        self._label: _Slot | None = None  # of the span that is being hidden
        self._torn: _Slot | None = None  # the escape in whose middle that span begins
        self._begin = self._lexer.place()  # where the span begins whose structure stands first in what waits
        self._end: Place | None = None  # of a text that was cut
        self._written = False  # the client has something of the text that is no blank

    @property
    def waiting(self) -> int:
        """Characters that wait for the end of a number or of an escape."""
        held = [item.size for item in self._out if isinstance(item, _Scalar)]
        return len(self._lexer.pending) + sum(held)

    @property
    def closing(self) -> str:
        """What makes whole what the client has; "" where it has nothing, and where it is no JSON."""
        return self._place().closing() if self._written else ""

    def shown(self, text: str, sent: int = 0) -> str:
        """Text that may be shown; the client has the first `sent` characters of it."""
        if sent or self._half.marks:
            for piece in self._pieces(text, sent, hidden=False):
                self._show(piece)
        elif not self._out and self._lexer.is_text(text):
            self._written = True
            return text
        else:
            self._show_all(text)
        out = self._flush()
        return text if out == text else out

    def _show_all(self, text: str) -> None:
        """Text that begins with a token of its own, as most does."""
        for token, piece in self._lexer.skim(text, []):
            if token is Token.SCALAR:
                self._begun_scalar().add(piece, 0)
                continue
            if self._scalar is not None:
                self._end_scalar(quoted=token is not Token.PLAIN)
            self._out.append(piece)
        self._half = _Half().longer(len(self._lexer.pending), hidden=False, known=False)

    def hidden(self, text: str, sent: int = 0) -> str:
        """Text of a span that is hidden; what a reader of the value would have read in it."""
        taken: list[str] = []
        if not self._out:
            self._begin = self._lexer.place()
        for piece in self._pieces(text, sent, hidden=True):
            if piece.token in _STRUCTURE or not piece.marks[-1]:
                self._show(piece)
            elif not all(piece.marks):
                self._tear(piece)
            else:
                self._hide(piece)
                taken.append(decoded(piece.token, piece.text))
        return "".join(taken)

    def label(self, text: str) -> str:
        """The span ends here; its label."""
        if self._label is not None:
            self._label.put(text)
        elif self._torn is not None:
            self._torn.put(text)
        elif any(self._half.marks):
            self._half = self._half._replace(label=text)
        self._label = self._torn = None
        return self._flush()

    @property
    def torn(self) -> str:
        """What a span that ends here has for text, decoded, when that is an escape of which it has only a part."""
        return self._torn.unit if self._label is None and self._torn is not None else ""

    def inserted(self, text: str, insert: str) -> str:
        """Text that is shown, with `insert` behind its first character."""
        for piece in self._pieces(text, 0, hidden=False):
            if not insert or piece.token in _STRUCTURE:
                self._show(piece)
                continue
            size = len(piece.text) if piece.token is Token.ESCAPE else 1
            for part, then in ((piece.text[:size], insert), (piece.text[size:], "")):
                self._show(piece._replace(text=part, marks=_SHOWN))
                self._insert(piece.token, then)
            insert = ""
        return self._flush()

    def finish(self) -> str:
        """Nothing follows."""
        for token, text in self._lexer.finish():
            self._show(self._half.completed(token, text, hidden=False, known=False))
        self._half = _Half()
        self._end_scalar()
        return self._flush()

    def cut(self) -> str:
        """The text ends here, in the middle of whatever it is. What waits does not go out, but for a whole number."""
        scalar, out = self._scalar, ""
        if scalar is not None and scalar is self._out[0] and not scalar.changed and self._lexer.ends_scalar:
            self._end_scalar()
            out, self._end = self._flush(), self._lexer.place_after_scalar()
        self._end = self._place()
        self._out.clear()
        self._lexer.pending = ""
        return out

    def _place(self) -> Place:
        """Where what has gone out ends."""
        if self._end is not None:
            return self._end
        if not self._out:
            return self._lexer.place()
        return self._out[0].place if isinstance(self._out[0], _Slot) else self._begin

    # -- pieces

    def _pieces(self, text: str, sent: int, hidden: bool) -> Iterator[_Piece]:
        """The tokens that end in the text; the first may have begun before it."""
        parts = ((text[:sent], True), (text[sent:], False)) if sent else ((text, False),)
        for part, known in parts:
            self._written = self._written or (known and bool(part.strip()))
            half, self._half = self._half, _Half()
            marks = _HIDDEN if hidden else _SHOWN
            for token, piece in self._lexer.feed(part):
                if half.marks:
                    yield half.completed(token, piece, hidden, known)
                    half = half.after(len(piece))
                else:
                    yield _Piece(token, piece, marks, len(piece) if known else 0)
            self._half = half.longer(len(self._lexer.pending), hidden, known)

    def _show(self, piece: _Piece) -> None:
        if piece.token is Token.SCALAR:
            self._begun_scalar().add(piece.text, piece.known)
            return
        self._end_scalar(quoted=piece.token is not Token.PLAIN)
        text = piece.visible()
        if text:
            self._out.append(text)

    def _tear(self, piece: _Piece) -> None:
        """A span begins in the middle of an escape, which stays if the span has text beside it."""
        if piece.token is Token.PLAIN or piece.label is not None:
            self._show(piece)
        else:
            self._torn = _Slot(self._lexer.place(), plain=False)
            self._torn.unit, self._torn.kept = decoded(piece.token, piece.text), piece.visible()
            self._out.append(self._torn)
        if piece.token is Token.PLAIN:  # no escape after all: what of it is hidden is text like any other
            self._hide(_Piece(Token.PLAIN, "", _HIDDEN))

    def _hide(self, piece: _Piece) -> None:
        """Text of the span: the label stands where it begins."""
        if self._torn is not None:
            self._torn.text, self._torn = self._torn.kept, None
        if piece.token is Token.SCALAR:
            self._begun_scalar().changed = True
        else:
            self._end_scalar(quoted=piece.token is not Token.PLAIN)
            if piece.label is not None:
                self._out.append(piece.visible())
        if self._label is None:
            self._label = _Slot(self._lexer.place(), plain=piece.token is Token.PLAIN)
            (self._out if self._scalar is None else self._scalar.parts).append(self._label)

    def _insert(self, token: Token, text: str) -> None:
        if not text:
            return
        if token is Token.SCALAR:
            scalar = self._begun_scalar()
            scalar.changed = True
            scalar.parts.append(encoded(text))
        else:
            self._out.append(text if token is Token.PLAIN else encoded(text))

    def _begun_scalar(self) -> _Scalar:
        if self._scalar is None:
            self._scalar = _Scalar(self._lexer.place_before_scalar(), plain=False)
            self._out.append(self._scalar)
        return self._scalar

    def _end_scalar(self, quoted: bool = True) -> None:
        """`quoted`: False where it turns out to be no scalar but plain text."""
        if self._scalar is not None:
            self._scalar.ended = True
            self._scalar.changed = self._scalar.changed and quoted
            self._scalar = None

    def _flush(self) -> str:
        """What can go out: all before the first place whose text is not known."""
        parts: list[str] = []
        while self._out:
            item = self._out[0]
            text = item if isinstance(item, str) else item.known()
            if text is None:
                break
            parts.append(text)
            self._out.popleft()
        done = "".join(parts)
        if not self._written:
            self._written = bool(done.strip())
        return done


class _Piece(NamedTuple):
    """A token, or a part of one.

    marks: of each character whether it is hidden, or one for all
    known: how many of its characters the client has
    label: of a span that had nothing but a part of this escape
    """

    token: Token
    text: str
    marks: Sequence[bool]
    known: int = 0
    label: str | None = None

    def visible(self) -> str:
        """What goes out of it when no span that is still open has a part of it.

        An escape stays whole if any of it is shown; of plain text what is shown.
        """
        if self.token in _STRUCTURE:
            return self.text[self.known :]
        label = "" if self.label is None else self.label
        if self.token is not Token.ESCAPE and all(self.marks):
            return label
        if self.token is Token.ESCAPE:
            return encoded(label) if self.label is not None or all(self.marks) else self.text[self.known :]
        if not any(self.marks):
            return self.text[self.known :]
        shown = [char for char, hidden in zip(self.text, self.marks, strict=True) if not hidden]
        return "".join((label, *shown[self.known :]))


class _Half(NamedTuple):
    """Half an escape: of each of its characters whether it is hidden, and the rest as in a piece."""

    marks: tuple[bool, ...] = ()
    known: int = 0
    label: str | None = None

    def longer(self, size: int, hidden: bool, known: bool) -> _Half:
        """With as many characters more as make it so long."""
        more = max(0, size - len(self.marks))
        return self._replace(marks=(*self.marks, *(hidden,) * more), known=self.known + (more if known else 0))

    def after(self, size: int) -> _Half:
        """Without its first characters, which have become a token."""
        return _Half(self.marks[size:], max(0, self.known - size))

    def completed(self, token: Token, text: str, hidden: bool, known: bool) -> _Piece:
        """The token that its first characters have become."""
        whole = self.longer(len(text), hidden, known)
        return _Piece(token, text, whole.marks[: len(text)], min(whole.known, len(text)), whole.label)


class _Slot:
    """A place in the output whose text is not known yet. place: where the text stands in front of it.

    unit, kept: of an escape of which a span has only a part: what it says, and how it goes out if it stays
    """

    __slots__ = ("kept", "place", "plain", "text", "unit")

    def __init__(self, place: Place, plain: bool) -> None:
        self.place, self.plain = place, plain
        self.text: str | None = None
        self.unit = self.kept = ""

    def put(self, label: str) -> None:
        """Now it is known."""
        self.text = label if self.plain else encoded(label)

    def known(self) -> str | None:
        """The text, if it is known."""
        return self.text


class _Scalar(_Slot):
    """A number or a word. It waits for its end, since it may have to become a string.

    sent: how much of it the client has already; then it can no longer become one
    """

    __slots__ = ("changed", "ended", "parts", "sent")

    def __init__(self, place: Place, plain: bool) -> None:
        super().__init__(place, plain)
        self.parts: list[str | _Slot] = []
        self.changed = self.ended = False
        self.sent = 0

    @property
    def size(self) -> int:
        """Characters that wait."""
        return sum([len(part) for part in self.parts if isinstance(part, str)])

    def add(self, text: str, known: int) -> None:
        """A piece of it that is shown, of which the client has the first `known` characters."""
        self.parts.append(text)
        self.sent += known

    def known(self) -> str | None:
        """How it goes out, once it has ended and its labels are known."""
        parts = [part if isinstance(part, str) else part.text for part in self.parts]
        if not self.ended or None in parts:
            return None
        text = "".join([part for part in parts if part is not None])
        if not self.changed:
            return text[self.sent :]
        return "" if self.sent else f'"{text}"'
