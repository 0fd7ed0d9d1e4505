"""The program that takes the ways of Python: asks every case, all ways at once; prints one line of JSON for each.

A process of its own, because some packages keep their connections open until the process ends.
    python -m tests.sdk.python_driver '{"urls": {way: {case: url}}, "admin": [admin url]}'
"""

from __future__ import annotations

import functools
import json
import re
import ssl
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from time import monotonic
from typing import Any, Final
from unittest.mock import patch
from urllib.request import urlopen

from tests.sdk import anthropic_ways, framework_ways, ollama_ways, openai_ways
from tests.sdk.asking import CASES, Ask, Case, Told, Way
from tests.sdk.ways import PYTHON
from tests.waiting import PATIENCE

RUNS: Final = {**openai_ways.RUNS, **anthropic_ways.RUNS, **ollama_ways.RUNS, **framework_ways.RUNS}


def ask(way: Way, case: Case, url: str) -> Told:
    """Ask, and keep what the package shows or raises."""
    told, run = Told(), RUNS[way.name]
    try:
        run(Ask(url, way.name, case.prompt, case.tools), told)
    except AssertionError:
        raise
    except Exception as error:  # whatever the package raises is what its user sees
        told.failed(error)
    return told


def requests_of(admin_urls: Iterable[str]) -> Counter[str]:
    """How many requests for each model the proxies have ended, once none is under way."""
    counts: Counter[str] = Counter()
    deadline = monotonic() + PATIENCE
    for url in admin_urls:
        while any(value for _, value in samples(url, "requests_in_flight")):
            assert monotonic() < deadline, "requests are under way at the proxy that nobody waits for"
        for labels, value in samples(url, "requests_total"):
            (model,) = re.findall(r'model="([^"]*)"', labels)
            if model != "_other":  # of Node's ways, which ask everything at once; one of ours would be missed
                counts[model] += int(value)
    return counts


def samples(admin_url: str, name: str) -> list[tuple[str, float]]:
    """One metric's samples: labels as they are printed, and the value."""
    with urlopen(f"{admin_url}/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(rf"^safety_proxy_{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
    return [(labels, float(value)) for labels, value in found]


def main(plan: Mapping[str, Any]) -> None:
    """One case after the other, all ways at once: most of the time they wait before they ask again."""
    before = requests_of(plan["admin"])
    with one_tls_context(), ThreadPoolExecutor(len(PYTHON)) as pool:
        framework_ways.load()
        for case in CASES:
            ways = [way for way in PYTHON if way.takes(case)]
            answers = pool.map(lambda way, case=case: ask(way, case, plan["urls"][way.name][case.name]), ways)
            told = dict(zip(ways, answers, strict=True))
            after = requests_of(plan["admin"])
            for way in ways:
                told[way].asked = after[way.name] - before[way.name]
                print(json.dumps({"way": way.name, "case": case.name, **asdict(told[way])}))
            before = after


def one_tls_context() -> AbstractContextManager[object]:
    """The packages make clients by the hundred, and each would read all certificate authorities for 45 ms."""
    return patch.object(ssl, "create_default_context", functools.cache(ssl.create_default_context))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
