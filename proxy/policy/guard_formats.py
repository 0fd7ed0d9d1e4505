"""The formats of guard models, read from their files; the caller reads the bytes from the disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from proxy.checks.guards.format import Format, faults
from proxy.checks.kinds import Remark
from proxy.policy.document import Document, Problem, Source, Unreadable
from proxy.policy.reader import read_as


class ReadFormats(NamedTuple):
    """formats: those without a fault, by name; problems: what is wrong in the files, all of it."""

    formats: dict[str, Format]
    problems: list[Problem]


def read_formats(sources: Iterable[Source]) -> ReadFormats:
    """The formats in files, one in each, whose name is the format's."""
    formats: dict[str, Format] = {}
    problems: list[Problem] = []
    for source in sources:
        found, wrong = _read(source)
        problems += wrong
        if found is None:
            continue
        if found.format in formats:
            hint = "rename one of the two, in its file and the file itself"
            problems.append(Problem(source.name, 1, 1, f"there is a second format `{found.format}`", hint))
        formats.setdefault(found.format, found)
    return ReadFormats(formats, problems)


def _read(source: Source) -> tuple[Format | None, list[Problem]]:
    try:
        document = Document(source)
    except Unreadable as error:
        return None, [error.problem]
    read, problems = read_as(document, Format)
    if problems:
        return None, problems
    problems = [_problem(document, remark) for remark in (*faults(read), *_name_faults(source, read))]
    return (None if problems else read), problems


def _problem(document: Document, remark: Remark) -> Problem:
    return document.problem(document.at(remark.path), remark.message, remark.hint)


def _name_faults(source: Source, read: Format) -> Iterator[Remark]:
    stem = source.base.rpartition(".")[0]
    if stem != read.format:
        yield Remark(("format",), f"the file is named `{source.base}`", f"name it `{read.format}.yaml`, or change this")
