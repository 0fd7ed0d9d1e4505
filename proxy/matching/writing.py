"""A text as the quick look searches it: simpler characters, as bytes, because a library searches those fastest."""

from __future__ import annotations

import re
from collections.abc import Callable

CACHE_LIMIT = 1 << 16
_FOREIGN = re.compile("([^\x00-\x7f]+)")


class Images:
    """A way of writing: each character as one, those of ASCII as ones of ASCII."""

    def __init__(self, image: Callable[[str], str]) -> None:
        self._ascii = bytes(ord(image(chr(code))) if code < 128 else code for code in range(256))
        self._runs = _Runs(image)

    def of(self, text: str) -> str:
        """The text in these characters."""
        return "".join(map(self._runs.image, text))

    def written(self, pieces: list[str]) -> bytes:
        """A text in pieces, of which every second one is without ASCII."""
        if len(pieces) > 1:
            pieces = pieces.copy()
            pieces[1::2] = [self._runs[piece] for piece in pieces[1::2]]
        return encoded("".join(pieces)).translate(self._ascii)


class _Runs(dict[str, str]):
    """Runs of characters without ASCII, as they are written."""

    def __init__(self, image: Callable[[str], str]) -> None:
        super().__init__()
        self.image = image

    def __missing__(self, run: str) -> str:
        if len(self) >= CACHE_LIMIT:
            self.clear()
        written = self[run] = "".join(map(self.image, run))
        return written


class Writing:
    """One text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces = ascii_and_others(text)
        self._written: dict[Images, bytes] = {}

    def by(self, images: Images) -> bytes:
        """The text as written in this way."""
        written = self._written.get(images)
        if written is None:
            written = self._written[images] = images.written(self._pieces)
        return written

    def offset(self, written: bytes, at: int) -> int:
        """Where a byte's character stands in the text."""
        return at if len(written) == len(self.text) else len(written[:at].decode("utf-8", "surrogatepass"))


def ascii_and_others(text: str) -> list[str]:
    """A text in pieces: ASCII, other characters, ASCII, and so on; the first and the last may be empty.

    Most lines are ASCII, and one call tells that of a line.
    """
    if text.isascii():
        return [text]
    pieces: list[str] = []
    plain: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.isascii():
            plain.append(line)
            continue
        first, *others = _FOREIGN.split(line)
        plain.append(first)
        if others:
            pieces += ["".join(plain), *others[:-1]]
            plain = [others[-1]]
    return [*pieces, "".join(plain)]


def encoded(text: str) -> bytes:
    """As bytes; any character, also half a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")
