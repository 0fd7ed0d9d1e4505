"""Two growing texts, side by side on a terminal, or one after the other if there is no room or no terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Protocol, TextIO

LEFT, RIGHT = "what the model says", "what the chat app shows"
NARROW = 76  # columns of a terminal below which two texts do not fit beside each other
GAP = " │ "


class Display(Protocol):
    """Shows a raw and a guarded text while they grow."""

    def show(self, raw: str, guarded: str) -> None:
        """Show both texts as far as they have come."""

    def close(self, raw: str, guarded: str) -> None:
        """Show both texts, which are complete now."""


def display_for(out: TextIO) -> Display:
    """The display that fits `out`."""
    columns, rows = shutil.get_terminal_size()
    if out.isatty() and columns >= NARROW:
        return Columns(out, min(columns, 140), rows)
    return Plain(out)


class Columns:
    """Both texts in two columns, while they grow."""

    def __init__(self, out: TextIO, columns: int, rows: int) -> None:
        self._out = out
        self._width = (columns - len(GAP)) // 2
        self._rows = max(rows - 4, 4)
        self._drawn_lines = 0  # lines that the next drawing replaces
        self._latest = ("", "")
        out.write(f"{LEFT:<{self._width}}{GAP}{RIGHT}\n{'─' * self._width}─┼─{'─' * self._width}\n")

    def show(self, raw: str, guarded: str) -> None:
        """Draw both texts if they have changed; of long texts the end."""
        if (raw, guarded) != self._latest:
            self._latest = (raw, guarded)
            self._draw(self._lines(raw, guarded)[-self._rows :])

    def close(self, raw: str, guarded: str) -> None:
        """Draw both texts whole and leave them there."""
        self._draw(self._lines(raw, guarded))
        self._drawn_lines = 0

    def _lines(self, raw: str, guarded: str) -> list[str]:
        pairs = zip_longest(wrapped(raw, self._width), wrapped(guarded, self._width), fillvalue="")
        return [f"{left:<{self._width}}{GAP}{right}".rstrip() for left, right in pairs]

    def _draw(self, lines: Sequence[str]) -> None:
        back = f"\033[{self._drawn_lines}F\033[J" if self._drawn_lines else ""  # up to the first line, clear from there
        self._out.write(back + "".join(f"{line}\n" for line in lines))
        self._out.flush()
        self._drawn_lines = len(lines)


class Plain:
    """Both texts one after the other, once they are complete."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, raw: str, guarded: str) -> None:
        """Nothing: a growing text cannot be shown without a terminal."""

    def close(self, raw: str, guarded: str) -> None:
        """Write both texts."""
        for title, text in ((LEFT, raw), (RIGHT, guarded)):
            self._out.write(f"{title}:\n{textwrap.indent(printable(text), '    ')}\n\n")
        self._out.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns below a head."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def records(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table for a narrow terminal: a line for each cell, a blank line between rows."""
    width = max(map(len, head))
    blocks = (
        "".join(f"{name:<{width}}  {cell}\n" for name, cell in zip(head, row, strict=True) if cell) for row in rows
    )
    return "\n".join(blocks)


def summary(out: TextIO, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table, or the records if the table does not fit into the terminal."""
    whole = table(head, rows)
    if out.isatty() and max(map(len, whole.splitlines())) > shutil.get_terminal_size().columns:
        return records(head, rows)
    return whole


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` characters. Its own line ends stay."""
    return [
        part
        for line in printable(text).split("\n")
        for part in (textwrap.wrap(line, width, drop_whitespace=False, replace_whitespace=False) or [""])
    ]


def printable(text: str) -> str:
    """The text without characters that control a terminal."""
    return "".join(char for char in text if char.isprintable() or char == "\n")
