"""The figures that a report quotes of the phrase rules are those that docs/detection.md has."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.audit.report import LIMITS

TEXT = (Path(__file__).parents[2] / "docs" / "detection.md").read_text("utf-8")
SAID = LIMITS[0]
ROW = re.compile(r"^\| ({}), [^|]*\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)


def rounded(set_name: str) -> tuple[str, str, str, str]:
    """Of the table's first row for a set: F1, precision and recall with two digits, and the number of rows."""
    found = re.search(ROW.pattern.format(set_name), TEXT, re.MULTILINE)
    assert found is not None
    rows, precision, recall, f1 = found[2], *(f"{float(found[i]):.2f}" for i in (3, 4, 5))
    return f1, precision, recall, rows


def test_the_report_quotes_the_tables() -> None:
    """F1, precision, recall and the number of answers of both sets, and the share of harmless answers flagged."""
    f1, precision, recall, rows = rounded("XSTest")
    assert f"F1 of {f1} (XSTest: precision {precision}, recall {recall}, {rows} answers)" in SAID
    f1, precision, recall, rows = rounded("Do-Not-Answer")
    assert f"{f1} (Do-Not-Answer: {precision} and {recall}, {rows} answers)" in SAID
    flagged = re.search(r"^\| this one \|[^|]*\|[^|]*\| ([\d.]+) \(", TEXT, re.MULTILINE)
    assert flagged is not None
    assert f"flag {flagged[1]} of 1,000 harmless answers" in SAID
