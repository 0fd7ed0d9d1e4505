"""Escapes of JSON and references of HTML, against the libraries that read them."""

from __future__ import annotations

import json
import re
from html.entities import html5

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.check import Progress
from proxy.matching.lenses import (
    HTML_REFERENCES,
    JSON_ESCAPES,
    EscapeLens,
    FoldLens,
    Lens,
    Syntax,
    html_reference,
)
from proxy.matching.rules import PassScan
from proxy.matching.views import JsonUnescapeView
from tests.matching.viewing import Keyless, chunkings

CUTS = st.lists(st.integers(0, 40), max_size=6)


class Recorder(Keyless):
    """A pass, and its scan, that only remembers what it was fed."""

    hold = 0
    verdict = None

    def __init__(self) -> None:
        self.text = ""

    def open(self) -> PassScan:
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        self.text += text
        return Progress(len(self.text))

    def save(self) -> object:
        return self.text

    def restore(self, mark: object) -> None:
        self.text = str(mark)


@given(st.text(), st.booleans(), CUTS)
@example("\U00010000\U0010ffff", True, [9])
def test_json_source_is_read_as_a_json_parser_reads_it(text: str, ascii_only: bool, cuts: list[int]) -> None:
    """Every escape that a serialiser writes, surrogate pairs too."""
    source = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
    for chunks in chunkings(source, cuts):
        recorder = Recorder()
        scan = JsonUnescapeView().open(recorder)
        for chunk in [*chunks, ""]:
            scan.feed(chunk, final=not chunk)
        assert recorder.text == text


def test_every_named_reference_is_read_as_a_browser_reads_it() -> None:
    """With its semicolon, of which no name goes without; a longer or shorter name is none."""
    names = [name for name in html5 if name.endswith(";")]
    for name in names:
        assert html_reference(f"x&{name}y", 1) == (len(name) + 2, html5[name], len(name) + 2)
        assert html_reference(f"&{name[:-1]} ", 0).text == ""
    assert html_reference("&#0;", 0).text == html_reference("&#x110000;", 0).text == "\ufffd"
    assert html_reference("&#1;", 0).text
    assert html_reference("&" + "a" * 100_000, 0).text == ""


def one_by_one(lens: Lens, chunks: list[str]) -> tuple[str, list[tuple[int, int, int]]]:
    """What a lens makes of a text, and for each character of that where its unit begins and ends, and what it took."""
    view, raw = "", 0
    units: list[tuple[int, int, int]] = []
    for chunk in [*chunks, ""]:
        part, pieces = lens.read(chunk, not chunk, len(view), raw)
        ends = [*(piece[0] for piece in pieces), len(view) + len(part)][1:]
        for (seen, at, width, late), end in zip(pieces, ends, strict=True):
            for i in range(end - seen):
                first = at if width else at + i
                units.append((first, first + (width or 1), late))
        view, raw = view + part, raw + len(chunk)
    return view, units


@given(
    st.lists(
        st.sampled_from(["\\", "\\n", "\\u0041", "\\ud83d", "\\uDE00", "u", "0", "x", "&", "&#65;", "&amp;", "a"])
    ),
    CUTS,
    st.sampled_from([JSON_ESCAPES, HTML_REFERENCES]),
)
@example(["&", "&", "&", "x"], [2], HTML_REFERENCES)
@example(["\\", "\\", "\\", "\\n"], [3], JSON_ESCAPES)
def test_what_is_frequent_is_read_as_everything_else(words: list[str], cuts: list[int], syntax: Syntax) -> None:
    """Escapes that stand by themselves, and signs that begin none: the same characters, from the same places."""
    text = "".join(words)
    slow = syntax._replace(frequent=re.compile(r"(?!)"))
    for chunks in chunkings(text, cuts):
        assert one_by_one(EscapeLens(syntax), list(chunks)) == one_by_one(EscapeLens(slow), list(chunks))
        assert one_by_one(EscapeLens(syntax), list(chunks)) == one_by_one(EscapeLens(syntax), [text])


@given(st.lists(st.sampled_from(["&", "&&", "&#65;", "&am", "p;", "é", "ﬁ", "a ", "\u0306", "и", "\u200b"])), CUTS)
def test_folds_of_ampersands_do_not_depend_on_the_cut(words: list[str], cuts: list[int]) -> None:
    """A run of ampersands is one piece of the map, and is read as they are one by one."""
    text = "".join(words)
    whole = one_by_one(FoldLens(), [text])
    for chunks in chunkings(text, cuts):
        assert one_by_one(FoldLens(), list(chunks)) == whole
