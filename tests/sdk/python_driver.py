"""The program that takes the ways of Python: asks every case, all ways at once; prints one line of JSON for each.

A process of its own, because some packages keep their connections open until the process ends.
    python -m tests.sdk.python_driver '{"urls": {way: {case: url}}, "admin": {url: admin url}}'
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from time import monotonic
from typing import Any, Final
from urllib.request import urlopen

from tests.sdk import anthropic_ways, framework_ways, ollama_ways, openai_ways
from tests.sdk.asking import CASES, Ask, Case, Told, Way
from tests.sdk.ways import PYTHON

RUNS: Final = {**openai_ways.RUNS, **anthropic_ways.RUNS, **ollama_ways.RUNS, **framework_ways.RUNS}
COUNT_SECONDS: Final = 20.0


def ask(way: Way, case: Case, url: str, admin_url: str) -> Told:
    """Ask, and count the requests that the proxy got."""
    told, run = Told(), RUNS[way.name]
    before = requests_of(admin_url, way.name)
    try:
        run(Ask(url, way.name, case.prompt, case.tools), told)
    except AssertionError:
        raise
    except Exception as error:  # whatever the package raises is what its user sees
        told.failed(error)
    told.asked = requests_of(admin_url, way.name) - before
    return told


def requests_of(admin_url: str, model: str) -> int:
    """How many requests for `model` the proxy has ended, once none is under way."""
    deadline = monotonic() + COUNT_SECONDS
    while any(value for _, value in samples(admin_url, "requests_in_flight")):
        assert monotonic() < deadline, "requests are under way at the proxy that nobody waits for"
    counted = samples(admin_url, "requests_total")
    assert not any('model="_other"' in labels for labels, _ in counted), "more ways than the proxy counts apart"
    return int(sum(value for labels, value in counted if f'model="{model}"' in labels))


def samples(admin_url: str, name: str) -> list[tuple[str, float]]:
    """One metric's samples: labels as they are printed, and the value."""
    with urlopen(f"{admin_url}/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(rf"^safety_proxy_{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
    return [(labels, float(value)) for labels, value in found]


def main(plan: Mapping[str, Any]) -> None:
    """All ways at once, since most of the time they wait before they ask again."""

    def all_cases(way: Way) -> Iterator[str]:
        for case in filter(way.takes, CASES):
            url = plan["urls"][way.name][case.name]
            told = ask(way, case, url, plan["admin"][url])
            yield json.dumps({"way": way.name, "case": case.name, **asdict(told)})

    framework_ways.load()
    with ThreadPoolExecutor(len(PYTHON)) as pool:
        for lines in pool.map(lambda way: list(all_cases(way)), PYTHON):
            print(*lines, sep="\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
