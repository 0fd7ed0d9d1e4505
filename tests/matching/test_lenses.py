"""Escapes of JSON and references of HTML, against the libraries that read them."""

from __future__ import annotations

import json
from html.entities import html5

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.check import Progress
from proxy.matching.lenses import html_reference
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
