"""Policies of any size for the bench: the mix that people write, made from fixed lists, the same each time.

Of a hundred rules 35 are phrases, 25 words in several forms, 10 words in every spelling (`fold`), 18 look like secrets
and 12 like personal data. None of them matches the bench's text; many of its words are the beginning of one that does.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Rule = dict[str, Any]

VERBS = ("build", "buy", "hide", "smuggle", "forge", "sell", "crack", "bypass", "disable", "copy", "steal", "poison")
THINGS = ("pipe bomb", "skeleton key", "passport", "card reader", "alarm", "nerve agent", "detonator", "badge", "meter")
WAYS = (
    "how to {} a {}",
    "{} the {} without",
    "instructions to {} a {}",
    "where can i {} a {}",
    "easiest way to {} a {}",
)
STEMS = ("zorblax", "quillon", "marvex", "tarnhelm", "brimstone", "felwyn", "ostrava", "kestrel", "halcyon", "vantor")
SUFFIXES = ("", "ium", "ite", "ware", "base", "net", "corp", "labs", "gate", "ex")
VENDORS = (
    "sk",
    "ghp",
    "glpat",
    "xoxb",
    "npm",
    "pypi",
    "hf",
    "dop",
    "shpat",
    "sq0",
    "rk",
    "AKIA",
    "AIza",
    "ya29",
    "eyJ",
)
RECORDS = ("patient", "employee", "customer", "member", "policy", "account", "invoice", "case", "ticket", "student")
PII = (
    r"\b\d{3}-\d{2}-\d{4}\b",
    r"(?<!\w)\+\d{1,3}[ -]?\d{2,4}[ -]?\d{3,4}[ -]?\d{3,4}\b",
    r"\b(?:\d[ -]?){13,16}\b",
    r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b",
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
    r"\b\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d{2}\b",
)
EMAIL: Rule = {"id": "pii.email", "detector": "email", "action": "rewrite", "replacement": "[email]"}
MIX = ("phrase",) * 35 + ("word",) * 25 + ("folded",) * 10 + ("secret",) * 18 + ("pii",) * 12


def rules(count: int) -> list[Rule]:
    """So many rules, each of them different."""
    makers = {"phrase": _phrases(), "word": _words(), "folded": _folded(), "secret": _secrets(), "pii": _pii()}
    spread = [
        MIX[i * 37 % len(MIX)] for i in range(len(MIX))
    ]  # 37 and 100 have no common factor: every kind has its share
    return [next(makers[kind]) for kind in itertools.islice(itertools.cycle(spread), count)]


def write_policy(folder: Path, count: int, email: bool = False) -> Path:
    """A directory of policies with so many rules; `email` puts the detector of addresses first."""
    folder.mkdir(parents=True, exist_ok=True)
    if count or email:
        policy = {"version": 1, "policy": "bench", "rules": [*([EMAIL] if email else []), *rules(count)]}
        (folder / "bench.json").write_text(json.dumps(policy, indent=1), encoding="utf-8")
    return folder


def _numbered(values: Iterator[str]) -> Iterator[str]:
    """Every value, and then all of them again with a number that tells them apart."""
    known = list(values)
    yield from known
    for turn in itertools.count(2):
        yield from (f"{value} {turn}" for value in known)


def _phrases() -> Iterator[Rule]:
    said = (way.format(verb, thing) for thing in THINGS for way in WAYS for verb in VERBS)
    for number, phrase in enumerate(_numbered(said)):
        action: Rule = {"action": "block"} if number % 2 else {"action": "rewrite", "replacement": "[removed]"}
        yield {"id": f"phrase.{number}", "words": [phrase]} | action


def _names() -> Iterator[str]:
    return _numbered(f"{stem}{suffix}" for suffix in SUFFIXES for stem in STEMS)


def _words() -> Iterator[Rule]:
    for number, name in enumerate(_names()):
        words = [name, f"{name}s", f"project {name}", f"{name} plan"]
        yield {"id": f"word.{number}", "words": words, "action": "rewrite", "replacement": "[name]"}


def _folded() -> Iterator[Rule]:
    for number, name in enumerate(_names()):
        yield {"id": f"folded.{number}", "words": [f"operation {name}"], "fold": True, "action": "block"}


def _secrets() -> Iterator[Rule]:
    for number in itertools.count():
        vendor, turn = VENDORS[number % len(VENDORS)], number // len(VENDORS)
        pattern = rf"\b{vendor}{turn or ''}[-_][A-Za-z0-9_-]{{{20 + turn % 20},}}"
        yield {"id": f"secret.{number}", "pattern": pattern, "action": "rewrite", "replacement": {"hash": True}}


def _pii() -> Iterator[Rule]:
    for number in itertools.count():
        record = RECORDS[number % len(RECORDS)]
        pattern = PII[number] if number < len(PII) else rf"(?i)\b{record} (?:no\.|number|id) ?#?{number}\d{{4,8}}\b"
        yield {"id": f"pii.{number}", "pattern": pattern, "action": "rewrite", "replacement": {"mask": "*"}}
