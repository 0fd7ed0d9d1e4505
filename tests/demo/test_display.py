"""Two growing texts on a terminal, and without one."""

from __future__ import annotations

import io
import re

import pytest

from proxy.demo.display import Columns, Plain, display_for, printable, summary, table, wrapped


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def screen(written: str) -> list[str]:
    """What a terminal shows: `ESC[nF` goes up n lines to their beginning, `ESC[J` clears the rest."""
    lines = [""]
    for part in re.split(r"(\033\[\d*[FJ]|\n)", written):
        if part == "\n":
            lines.append("")
        elif part.endswith("F") and part.startswith("\033"):
            up = int(part[2:-1])
            lines = [*lines[: len(lines) - 1 - up], ""]
        elif part != "\033[J":
            lines[-1] += part
    return lines


def test_two_columns_grow_in_place() -> None:
    """Each drawing replaces the one before, and the last one stays."""
    out = Terminal()
    columns = Columns(out, 43, 24)
    columns.show("one", "")
    columns.show("one two\nthree", "one")
    columns.close("one two\nthree", "one [x]")
    assert screen(out.getvalue())[2:] == ["one two              │ one [x]", "three                │", ""]


def test_a_text_longer_than_the_screen_shows_its_end_while_it_grows() -> None:
    """The cursor cannot go up past the top, so only what fits is drawn; at the end all of it stands there."""
    out = Terminal()
    columns = Columns(out, 43, 8)
    text = "\n".join("abcdefgh")
    columns.show(text, "")
    assert [line[0] for line in screen(out.getvalue())[2:-1]] == list("efgh")
    columns.close(text, text)
    assert [line[0] for line in screen(out.getvalue())[2:-1]] == list("abcdefgh")


def test_nothing_is_drawn_when_nothing_has_changed() -> None:
    """A drawing a frame would flicker."""
    out = Terminal()
    columns = Columns(out, 43, 24)
    columns.show("a", "b")
    size = len(out.getvalue())
    columns.show("a", "b")
    assert len(out.getvalue()) == size


def test_without_a_terminal_both_texts_follow_each_other() -> None:
    """Plain text, complete, without a single control character."""
    out = io.StringIO()
    plain = display_for(out)
    assert isinstance(plain, Plain)
    plain.show("never shown alone", "")
    plain.close("raw\ntext", "guarded")
    assert out.getvalue() == ("what the model says:\n    raw\n    text\n\nwhat the chat app shows:\n    guarded\n\n")


@pytest.mark.parametrize(("columns", "kind"), [("100", Columns), ("60", Plain)])
def test_a_narrow_terminal_is_no_place_for_columns(
    monkeypatch: pytest.MonkeyPatch, columns: str, kind: type[object]
) -> None:
    """Two columns are drawn only where they can be read."""
    monkeypatch.setenv("COLUMNS", columns)
    assert isinstance(display_for(Terminal()), kind)


def test_wrapping_keeps_every_character_and_every_line_end() -> None:
    """Nothing of a text is lost on the way into a column."""
    text = "  indented words that are long\n\n" + "x" * 25 + " end"
    lines = wrapped(text, 10)
    assert "".join(lines) == text.replace("\n", "")
    assert max(map(len, lines)) <= 10
    assert "" in lines


def test_text_cannot_command_the_terminal() -> None:
    """Escape sequences in a model's or a policy's words are not passed to the terminal."""
    assert printable("a\033[2Jb\r\nc\x07ü") == "a[2Jb\ncü"


def test_a_table_is_aligned() -> None:
    """Columns are as wide as their widest cell."""
    assert table(("a", "b"), [("longer", "x"), ("s", "")]) == "a       b\nlonger  x\ns\n"


@pytest.mark.parametrize(("columns", "fits"), [("40", True), ("12", False)])
def test_a_table_wider_than_the_terminal_becomes_records(
    monkeypatch: pytest.MonkeyPatch, columns: str, fits: bool
) -> None:
    """Nothing is broken at the terminal's edge; a cell that is empty has no line."""
    monkeypatch.setenv("COLUMNS", columns)
    head, rows = ("rule", "what"), (("a/b", "Zorblax and more"), ("c/d", ""))
    shown = summary(Terminal(), head, rows)
    assert shown == (table(head, rows) if fits else "rule  a/b\nwhat  Zorblax and more\n\nrule  c/d\n")
    assert summary(io.StringIO(), head, rows) == table(head, rows)
