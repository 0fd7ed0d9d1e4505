"""docs/clients.md's tables, from what the clients told. tools/clients_table.py writes them; a test compares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.sdk import npm
from tests.sdk.asking import CASES, LABEL, NOTICE, Told, Way
from tests.sdk.ways import WAYS

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "clients.md"
BEGIN: Final = "<!-- {name}: written by tools/clients_table.py -->\n"
END: Final = "<!-- end -->"
ANSWERS: Final = ("clean", "tool", "rewrite", "blocked", "blocked-tool")
ERRORS: Final = ("blocked-prompt", "dies-midway", "dies-first")
TABLES: Final[Mapping[str, Sequence[str]]] = {"answers": ANSWERS, "errors": ERRORS}

Results = Mapping[tuple[str, str], Told]


def package(way: Way) -> str:
    """The package with its version and where it comes from."""
    found = npm.versions()[way.client] if way.node else version(way.client)
    return f"{way.client} {found} ({'Node' if way.node else 'Python'})"


def head(cases: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    titles = [case.title for name in cases for case in CASES if case.name == name]
    return [f"| package | call | {' | '.join(titles)} |", "|---|---|" + "---|" * len(titles)]


def rows(results: Results, cases: Sequence[str]) -> Iterator[str]:
    """One line for each way that has told something."""
    for way in WAYS:
        told = [results.get((way.name, case)) for case in cases]
        if any(told):
            cells = ["-" if one is None else cell(one) for one in told]
            yield f"| {package(way)} | `{way.how}` | {' | '.join(cells)} |"


def cell(told: Told) -> str:
    """What the user sees, in a few words."""
    seen = _shown(told) + [f"`{told.reason}`"] * bool(told.reason and not told.error)
    if told.error:
        seen.append(" ".join(_failure(told)))
    if told.asked > 1:
        seen.append(f"asked {told.asked} times")
    return ", ".join(seen)


def _shown(told: Told) -> list[str]:
    before, notice, _ = told.text.partition(NOTICE)
    text = f"text with `{LABEL}`" if LABEL in before else "text"
    return [text] * bool(before) + ["notice"] * bool(notice) + ["call"] * bool(told.calls)


def _failure(told: Told) -> list[str]:
    """The exception with the code or the status that it carries, and whether its text has the notice."""
    about = told.code or told.status
    return [f"`{told.error}`"] + [f"`{about}`"] * bool(about) + ["with the notice"] * (NOTICE in told.message)


def written(name: str) -> list[str]:
    """The lines of one table as they stand in the document."""
    return _parts(DOCUMENT.read_text("utf-8"), name)[1].splitlines()


def write(results: Results) -> None:
    """Put the tables into the document; all else in it stays."""
    text = DOCUMENT.read_text("utf-8")
    for name, cases in TABLES.items():
        before, _, after = _parts(text, name)
        text = before + "".join(f"{line}\n" for line in [*head(cases), *rows(results, cases)]) + after
    DOCUMENT.write_text(text, encoding="utf-8")


def _parts(text: str, name: str) -> tuple[str, str, str]:
    """The document up to a table, the table, and the rest."""
    begin = BEGIN.format(name=name)
    assert begin in text, f"{DOCUMENT} has no place for the table {name}: {begin}"
    before, _, rest = text.partition(begin)
    table, end, after = rest.partition(END)
    return before + begin, table, end + after
