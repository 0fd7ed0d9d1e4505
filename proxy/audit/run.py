"""One audit from its beginning to its end: choose the sides, ask, keep, and write the reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import IO, NamedTuple

from proxy import __version__
from proxy.audit.junit import junit
from proxy.audit.page import page
from proxy.audit.plan import Options
from proxy.audit.progress import Progress
from proxy.audit.prompts import Prompt
from proxy.audit.report import SideReport, as_json
from proxy.audit.results import Audit, ResultsFile, differences, read_audit
from proxy.audit.runner import Runner
from proxy.audit.targets import Target, Wanted, targets
from proxy.errors import SettingsError
from proxy.settings import Settings

RESULTS = "results.jsonl"
PAGE, FIGURES, JUNIT = "report.html", "report.json", "junit.xml"


class Order(NamedTuple):
    """What the operator has ordered.

    folder:   where all files of the audit are
    resume:   an audit that is there goes on; else none may be there
    patience: seconds that a model server may be away in a row
    """

    wanted: Wanted
    prompts: Sequence[Prompt]
    options: Options
    folder: Path
    resume: bool = False
    concurrency: int = 1
    patience: float = 600.0


async def run(order: Order, settings: Settings, url: str, stderr: IO[str], *, is_terminal: bool) -> Audit:
    """Ask what has no reply yet. Raises SettingsError or PolicyError; what is there is kept, whatever happens."""
    path = order.folder / RESULTS
    _refuse_to_overwrite(path, order.resume)
    async with AsyncExitStack() as stack:
        found = await targets(order.wanted, settings, url, order.options, stack)
        audit = _begun(order, found)
        if path.exists():
            audit = _gone_on(read_audit(path), audit, path)
        file = stack.enter_context(ResultsFile(path, audit))
        progress = Progress(audit.total, len(audit.replies), stderr, is_terminal=is_terminal)
        if audit.replies:
            progress.say(f"{len(audit.replies)} of {audit.total} replies are there already")
        askers = {target.side.name: target.asker for target in found}
        return await Runner(audit, askers, file, progress, order.patience).run(order.concurrency)


def _refuse_to_overwrite(path: Path, resume: bool) -> None:
    if path.exists() and not resume:
        raise SettingsError(f"{path} is there already: go on with it (--resume), or name another --out")


def _begun(order: Order, found: Sequence[Target]) -> Audit:
    sides = tuple(target.side for target in found)
    names = [side.name for side in sides]
    if len(set(names)) != len(names):
        raise SettingsError("a model or a set of policies is named twice; name each once")
    began = datetime.now(UTC).isoformat(timespec="seconds")
    return Audit(token_hex(8), began, __version__, tuple(order.prompts), sides, order.options)


def _gone_on(before: Audit, now: Audit, path: Path) -> Audit:
    """The audit that is there, if it is the same one. Raises SettingsError with what differs."""
    others = differences(before, now)
    if others:
        raise SettingsError(f"{path} cannot go on: {'; '.join(others)}. Name another --out")
    return before


def write_reports(folder: Path, audit: Audit, shown: Sequence[SideReport]) -> Path:
    """Write the page, the figures and the JUnit XML; returns the page's path. Raises SettingsError."""
    written: dict[str, Callable[[], bytes]] = {
        PAGE: lambda: page(audit, shown).encode("utf-8", "replace"),
        FIGURES: lambda: json.dumps(as_json(audit, shown), indent=1).encode() + b"\n",
        JUNIT: lambda: junit(audit, shown),
    }
    try:
        for name, content in written.items():
            (folder / name).write_bytes(content())
    except OSError as error:
        raise SettingsError(f"the reports in {folder} cannot be written: {error.strerror}") from None
    return folder / PAGE
