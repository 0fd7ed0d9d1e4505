"""Puts the table of settings into docs/settings.md: `python -m tools.settings_table`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from proxy.settings import ROWS, flag, variable

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
ROW = re.compile(r"\| `\w+` \| `--")


def rows() -> Iterator[str]:
    """A row for each setting: key, flag, variable, default, meaning."""
    for name, row in ROWS.items():
        about = row.metadata
        yield f"| `{name}` | `{flag(name)}` | `{variable(name)}` | {about['default']} | {about['help']} |"


def updated(page: str) -> str:
    """The page with the table as it is now."""
    lines = page.splitlines()
    first = next(number for number, line in enumerate(lines) if ROW.match(line))
    rest = [line for line in lines if not ROW.match(line)]
    return "\n".join([*rest[:first], *rows(), *rest[first:]]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
