"""Every case from the field has a test here whose name, or whose docstring, names its row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.field.rows import ROWS

HERE = Path(__file__).parent
_row = re.compile(r"(?<![a-z0-9])[a-z]\d\d(?![a-z0-9])")


def suite() -> Iterator[tuple[str, str]]:
    """The name of each test of this folder, and what it says of itself."""
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield node.name, f"{node.name.replace('_', ' ')} {ast.get_docstring(node) or ''}"


def test_every_row_has_a_test() -> None:
    """No row stands only in a comment or in the docs, and no test names a row that is none."""
    named = {row for _, text in suite() for row in _row.findall(text)}
    assert named == set(ROWS)


def test_a_row_in_a_name_or_a_docstring_is_seen() -> None:
    """The look at the tests finds what it looks for."""
    assert _row.findall("test f01 f03 a call, see r12; not af01, f012 or F01") == ["f01", "f03", "r12"]
