"""A worker process: it runs the checks of plug-ins that want a process of their own (`isolation: process`).

`python -m proxy.startup.worker [DIRECTORY]` finds the same plug-ins as the proxy does. It reads a question, JSON, from
each line of its standard input, and writes the answer to its standard output. What a plug-in prints goes to standard
error.
"""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import msgspec

from proxy.checks.outside import searching_rule
from proxy.checks.registry import Registry
from proxy.core.check import Check
from proxy.core.types import Action, Rule
from proxy.settings import Settings
from proxy.startup.plugins import find_registry

RULE = searching_rule(Rule("worker", "found", Action.REWRITE))
MOST_CHECKS = 64
"""Checks that are kept, each with its options."""


class Worker:
    """Makes each check once, and lets it read texts."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._check = lru_cache(MOST_CHECKS)(self._make)

    def places(self, kind: str, options: str, text: str) -> list[tuple[int, int]]:
        """Where the check finds something in a text."""
        found = self._check(kind, options).open().feed(text, True)[1]
        return [(finding.start, finding.end) for finding in found]

    def _make(self, name: str, options: str) -> Check:
        kind = self._registry[name]
        check: Any = kind.make(RULE, msgspec.json.decode(options, type=kind.options))
        return self._registry.plugin_rule(name, RULE, check, fails_open=False).check


def answer(worker: Worker, line: str) -> object:
    """The answer to one question: places, or the name of the exception that the check raised."""
    asked = json.loads(line)
    try:
        return worker.places(asked["kind"], asked["options"], asked["text"])
    except (Exception, SystemExit) as error:
        return {"raised": type(error).__name__}


def serve(worker: Worker, questions: TextIO, answers: TextIO) -> None:
    """Answer until there are no more questions."""
    answers.write('"ready"\n')
    answers.flush()
    for line in questions:
        answers.write(json.dumps(answer(worker, line)) + "\n")
        answers.flush()


def main() -> None:
    """Run a worker."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a plug-in may print
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    serve(Worker(find_registry(Settings(plugins=folder))), sys.stdin, answers)


if __name__ == "__main__":
    main()
