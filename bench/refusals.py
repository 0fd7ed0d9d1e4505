"""How well refusals are told from answers, and when, on answers that people have labelled.

    python -m bench.refusals --data DIR [--peers SITE_PACKAGES] [--show]

--data (or DETECTION_DATA) names a directory with refusal.dev and clean.dev, JSON lines, gzipped: answers to XSTest's
and Do-Not-Answer's prompts with labels, and harmless answers to AlpacaEval's prompts.
--peers names a directory with the packages garak and jailbreakbench, of which the phrase lists are read and nothing is
run: python -m pip install --no-deps --target DIR -r bench/peer-refusals.txt
--show prints the answers on which the detector and the label differ.

A refusal is what the detector calls `safety` or `capability`. `partial` is apart, as in the labels: it helps.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.detection_data import Run
from proxy.checks.refusals.detector import HEAD, RefusalReader, classify
from proxy.checks.refusals.language import RefusalKind
from proxy.core.check import Check
from proxy.core.gate import Gate

TOKEN = re.compile(r"\w+|[^\w\s]")
"""What counts as a token here: a word or a mark. The tokens of models are somewhat shorter."""
TOKENS = (4, 8, 16, 32)
REFUSES = (RefusalKind.SAFETY, RefusalKind.CAPABILITY)
CHUNK = 4  # characters, about a token
ROUNDS = 200
TOLD = 20_000  # tokens behind the verdict

Row = dict[str, Any]
Says = Callable[[str], bool]


class Task(NamedTuple):
    """Rows of one set: those that a detector should flag, and those that it should not."""

    name: str
    data: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    says: Callable[[RefusalKind | None], bool]


TASKS = (
    Task("XSTest, refusal against compliance", "xstest", ("refuse",), ("comply",), lambda kind: kind in REFUSES),
    Task("Do-Not-Answer, action 0 against 2, 3, 5", "dna", ("refuse",), ("comply",), lambda kind: kind in REFUSES),
    Task("XSTest, `safety`", "xstest", ("refuse",), ("comply", "partial"), lambda kind: kind is RefusalKind.SAFETY),
    Task("Do-Not-Answer, `safety`", "dna", ("refuse",), ("comply",), lambda kind: kind is RefusalKind.SAFETY),
    Task(
        "Do-Not-Answer, `capability` (action 4 against 0, 2, 3, 5)",
        "dna",
        ("no_ability",),
        ("refuse", "comply"),
        lambda kind: kind is RefusalKind.CAPABILITY,
    ),
    Task("XSTest, `partial`", "xstest", ("partial",), ("comply", "refuse"), lambda kind: kind is RefusalKind.PARTIAL),
)


class Score(NamedTuple):
    """How many were rightly flagged, wrongly flagged, and missed."""

    right: int
    wrong: int
    missed: int

    def __str__(self) -> str:
        right, wrong, missed = self
        precision, recall = right / max(1, right + wrong), right / max(1, right + missed)
        return f"{precision:.3f} | {recall:.3f} | {2 * right / max(1, 2 * right + wrong + missed):.3f}"


def score(rows: Sequence[Row], task: Task, says: Says) -> Score:
    """How a detector does in a task."""
    positive = [says(row["text"]) for row in rows if row["label"] in task.positive]
    negative = [says(row["text"]) for row in rows if row["label"] in task.negative]
    return Score(sum(positive), sum(negative), positive.count(False))


def kind_of(text: str) -> RefusalKind | None:
    """The detector's verdict on a whole answer."""
    refusal = classify(text)
    return None if refusal is None else refusal.kind


def by_set(rows: Sequence[Row]) -> Iterator[str]:
    """Precision, recall and F1."""
    yield "| set, and what is asked | rows | precision | recall | F1 |"
    yield "|---|---|---|---|---|"
    for task in TASKS:
        own = [row for row in rows if row["ds"] == task.data]
        asked = sum(row["label"] in (*task.positive, *task.negative) for row in own)
        yield f"| {task.name} | {asked} | {score(own, task, lambda text, task=task: task.says(kind_of(text)))} |"  # type: ignore[misc]


def by_label(rows: Sequence[Row]) -> Iterator[str]:
    """What became of each label."""
    yield "| set, label | rows | safety | capability | partial | none |"
    yield "|---|---|---|---|---|---|"
    for data, label in sorted({(row["ds"], row["label"]) for row in rows}):
        own = [kind_of(row["text"]) for row in rows if (row["ds"], row["label"]) == (data, label)]
        counts = Counter(own)
        cells = " | ".join(str(counts[kind]) for kind in (*RefusalKind, None))
        yield f"| {data}, {label} | {len(own)} | {cells} |"


def peers(packages: Path) -> Iterator[tuple[str, Says]]:
    """The phrase lists of other packages, as these use them."""
    garak = ast.parse((packages / "garak/detectors/mitigation.py").read_text("utf-8"))
    anywhere, prefixes = _list(garak, "MitigationBypass", "substrings"), _list(garak, "Prefixes", "substrings")
    judge = ast.parse((packages / "jailbreakbench/classifier.py").read_text("utf-8"))
    jailbreak = _list(judge, "StringClassifier", "TEST_PREFIXES")
    lower = [phrase.lower() for phrase in anywhere]
    starts = tuple(phrase.lower() for phrase in prefixes)
    yield f"garak MitigationBypass, {len(anywhere)} phrases", lambda text: any(one in text.lower() for one in lower)
    yield f"garak Prefixes, {len(prefixes)} phrases", lambda text: text.lstrip().lower().startswith(starts)
    yield f"JailbreakBench, {len(jailbreak)} phrases", lambda text: any(one in text for one in jailbreak)
    yield f"JailbreakBench, on {HEAD} characters", lambda text: any(one in text[:HEAD] for one in jailbreak)


def _list(module: ast.Module, class_name: str, name: str) -> list[str]:
    """The first list of this name in a class."""
    owner = next(node for node in ast.walk(module) if isinstance(node, ast.ClassDef) and node.name == class_name)
    for node in ast.walk(owner):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            found = ast.literal_eval(node.value)
            assert isinstance(found, list)
            return found
    raise LookupError(f"{class_name} has no list {name}")


def compared(rows: Sequence[Row], clean: Sequence[Row], others: Sequence[tuple[str, Says]]) -> Iterator[str]:
    """F1 of the first two tasks, and harmless answers flagged, beside other packages' lists."""
    yield "| detector | XSTest F1 | Do-Not-Answer F1 | harmless answers flagged, of 1,000 |"
    yield "|---|---|---|---|"

    def own(text: str) -> bool:
        return kind_of(text) in REFUSES

    for name, says in [("this one", own), ("this one, `partial` too", lambda text: kind_of(text) is not None), *others]:
        scores = [score([row for row in rows if row["ds"] == task.data], task, says) for task in TASKS[:2]]
        f1 = " | ".join(str(one).rpartition(" ")[2] for one in scores)
        flagged = sum(says(row["text"]) for row in clean)
        yield f"| {name} | {f1} | {1000 * flagged / len(clean):.1f} ({flagged} of {len(clean)}) |"


def when(rows: Sequence[Row]) -> Iterator[str]:
    """How many tokens in a refusal is decided, and whether a stream is judged as the whole text is."""
    tokens, differ = list[int](), 0
    for row in rows:
        text, reader = row["text"], RefusalReader()
        for at in range(0, HEAD + CHUNK, CHUNK):
            reader.feed(text[at : at + CHUNK])
        reader.feed("", final=True)
        differ += reader.refusal != classify(text)
        if reader.refusal is not None:
            tokens.append(len(TOKEN.findall(text[: reader.read])))
    yield "| refusals decided by token | share |"
    yield "|---|---|"
    for most in (*TOKENS, 48):
        yield f"| {most} | {sum(one <= most for one in tokens) / len(tokens):.3f} |"
    yield ""
    yield f"A stream and the whole text are judged differently in {differ} of {len(rows)} answers."


def costs(rows: Sequence[Row]) -> Iterator[str]:
    """CPU time, the best of some rounds."""
    texts = [row["text"] for row in rows[:ROUNDS]]
    for text in texts:
        classify(text)
    whole = min(_cpu(lambda: [classify(text) for text in texts]) for _ in range(5)) / len(texts)
    reader = RefusalReader()
    reader.feed("I'm sorry, but I can't help with that.", final=True)
    feed = reader.feed
    after = min(_cpu(lambda: [feed(" word") for _ in range(TOLD)]) for _ in range(5)) / TOLD
    counting = min(_gate_seconds(TOLD) for _ in range(5))
    yield "| CPU | µs |"
    yield "|---|---|"
    yield f"| an answer, looked at once at its end | {whole * 1e6:.0f} |"
    yield f"| a token behind a stream's verdict | {after * 1e6:.2f} |"
    yield f"| a token through a gate without checks, its beginning kept | {counting * 1e6:.2f} |"


def _gate_seconds(tokens: int) -> float:
    none: tuple[Check, ...] = ()
    gate = Gate(none)
    return _cpu(lambda: [gate.feed(" word") for _ in range(tokens)]) / tokens


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def differing(rows: Sequence[Row], clean: Sequence[Row]) -> Iterator[str]:
    """The answers on which the detector and the label differ."""
    for task in TASKS[:2]:
        for row in rows:
            kind = kind_of(row["text"])
            flagged = kind in REFUSES
            wrong = (flagged and row["label"] in task.negative) or (not flagged and row["label"] in task.positive)
            if row["ds"] == task.data and wrong:
                yield f"{task.data} {row['label']} {kind}: {row['text'][:HEAD]!r}"
    for row in clean:
        if kind_of(row["text"]) is not None:
            yield f"clean {kind_of(row['text'])}: {row['text'][:HEAD]!r}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DETECTION_DATA"), help="the development data")
    parser.add_argument("--peers", type=Path, help="a directory with the packages garak and jailbreakbench")
    parser.add_argument("--show", action="store_true", help="print the answers on which label and verdict differ")
    given = parser.parse_args()
    if given.data is None or not Path(given.data).is_dir():
        parser.error("--data has to name a directory with refusal.dev.jsonl.gz and clean.dev.jsonl.gz")
    run = Run(Path(given.data), given.show)
    rows, clean = run.rows("refusal"), run.rows("clean")
    others = list(peers(given.peers)) if given.peers else []
    for part in (by_set(rows), compared(rows, clean, others), by_label(rows), when(rows), costs(clean)):
        print("\n".join(part), end="\n\n")
    if given.show:
        print("\n".join(differing(rows, clean)))


if __name__ == "__main__":
    main()
