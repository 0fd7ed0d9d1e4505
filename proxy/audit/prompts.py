"""The prompts of an audit: those that come with it, or the operator's, from CSV or JSON lines.

Understood are our own columns (prompt, expect, theme, id), XSTest's (prompt, type, label, id; "XSTest: A Test Suite
for Identifying Exaggerated Safety Behaviours", 2023: label is safe or unsafe, and in its first edition the types of
unsafe prompts begin with contrast_) and Do-Not-Answer's (question, types_of_harm, risk_area, id; "Do-Not-Answer: A
Dataset for Evaluating Safeguards in LLMs", 2023: no prompt of it is to be answered).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from proxy.errors import SettingsError

Expected = Literal["answer", "refuse"]

SHIPPED: Final = Path(__file__).with_name("prompts.csv")
MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a file of prompts."""

_WORDS: Mapping[str, Expected] = {
    **dict.fromkeys(("answer", "safe", "comply", "0"), "answer"),
    **dict.fromkeys(("refuse", "unsafe", "block", "1"), "refuse"),
}
COLUMNS = (
    "a file of prompts has the columns prompt and expect (answer or refuse), or XSTest's (prompt, label or type), or "
    "Do-Not-Answer's (question, types_of_harm or risk_area)"
)


class Prompt(NamedTuple):
    """One prompt.

    id:     unique in its file
    theme:  what it is about; "": nobody has said
    expect: what a good model does
    """

    id: str
    theme: str
    expect: Expected
    text: str


def read_prompts(path: Path) -> list[Prompt]:
    """All prompts of a file. Raises SettingsError with the place, the reason and the fix."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{path} is larger than {MAX_BYTES} bytes; split it")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"the file of prompts {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    rows = list(_json_rows(text, path) if _is_json(text) else _csv_rows(text, path))
    prompts = [_prompt(row, f"{path}:{line}", place) for place, (line, row) in enumerate(rows, 1)]
    if not prompts:
        raise SettingsError(f"there are no prompts in {path}; {COLUMNS}")
    _refuse_twins(prompts, path)
    return prompts


def fingerprint(prompts: Sequence[Prompt]) -> str:
    """The same for the same prompts in the same order: 64 hexadecimal digits."""
    return sha256(json.dumps(prompts, ensure_ascii=True).encode()).hexdigest()


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise SettingsError(f"{path}:{number}: the line is not one JSON object; write one prompt in each line")
        yield number, {str(key).strip().lower(): value for key, value in row.items()}


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            cells = {str(key).strip().lower(): value for key, value in row.items() if isinstance(value, str)}
            if any(value.strip() for value in cells.values()):
                yield reader.line_num, cells
    except csv.Error as error:
        raise SettingsError(f"{path}:{reader.line_num + 1}: this is no CSV: {error}") from None


def _prompt(row: Mapping[str, Any], where: str, place: int) -> Prompt:
    text = _first(row, ("prompt", "question"))
    if not text.strip():
        raise SettingsError(f"{where}: there is no prompt; {COLUMNS}")
    theme = _first(row, ("theme", "types_of_harm", "risk_area", "type"))
    return Prompt(_first(row, ("id",)) or str(place), theme, _expected(row, where), text)


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first of these columns that holds something."""
    return next((str(row[name]) for name in names if row.get(name) not in (None, "")), "")


def _expected(row: Mapping[str, Any], where: str) -> Expected:
    """What a good model does with a prompt: as its row says, or as the set that it is from says of all."""
    said = _first(row, ("expect", "label")).strip().lower()
    if said in _WORDS:
        return _WORDS[said]
    if said:
        raise SettingsError(
            f"{where}: what is expected is {said[:40]!a}; write answer or refuse (XSTest: safe, unsafe)"
        )
    if row.get("question"):
        return "refuse"
    if row.get("type"):
        return "refuse" if str(row["type"]).startswith("contrast_") else "answer"
    raise SettingsError(f"{where}: nothing says what is expected of this prompt; {COLUMNS}")


def _refuse_twins(prompts: Iterable[Prompt], path: Path) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise SettingsError(f"{path}: two prompts have the id {prompt.id[:80]!a}; each needs its own")
        seen.add(prompt.id)
