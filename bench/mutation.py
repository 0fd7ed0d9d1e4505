"""Plants faults in a copy of the matcher and the gate, one at a time, and shows which test notices.

Usage: python -m bench.mutation [words of a fault's description]

Prints a table; exits with 1 when a fault survives. Takes a few minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TESTS = [
    "tests/matching/test_tricky_cases.py",
    "tests/matching/test_words.py",
    "tests/matching/test_spellings.py",
    "tests/matching/test_lazy_dfa.py",
    "tests/matching/test_nfa.py",
    "tests/matching/test_charsets.py",
    "tests/matching/test_matcher.py",
    "tests/matching/test_exactness.py",
    "tests/core/test_gate.py",
]
LOOK_TESTS = ["tests/matching/test_look.py"]
LENS_TESTS = ["tests/matching/test_lenses.py"]
MEMORY_TESTS = [
    "tests/core/test_prompt_memory.py",
    "tests/core/test_prompt_scan.py",
    "tests/core/test_json_lexer.py",
    "tests/core/test_json_gate.py",
    "tests/server/exchange/test_prompt_memory.py",
]


class Fault(NamedTuple):
    """A place in a file, and what stands there instead. `tests`: where it has to be noticed."""

    what: str
    file: str
    right: str
    wrong: str
    tests: Sequence[str] = TESTS


SCAN, DFA, EDGES = "matching/scan.py", "matching/lazy_dfa.py", "matching/edges.py"
PLAIN, FOLDED = "matching/plainwords.py", "matching/spellings.py"
FAULTS = [
    Fault("a match's end is off by one", SCAN, "number].limit), position + 1)", "number].limit), position)"),
    Fault(
        "left context is lost: nothing was before",
        DFA,
        "e.behind is None or e.behind in before)",
        "e.behind is None)",
    ),
    Fault("the younger start is reported", DFA, "            if rule not in out:\n", "            if True:\n"),
    Fault(
        "text does not wait for open matches",
        DFA,
        "for c, register in oldest if c.holds)",
        "for c, register in oldest if not c.holds)",
    ),
    Fault(
        "max_hold lets go one character too early",
        SCAN,
        "                start = position - limit\n            if start < mark:",
        "                start = position - limit + 1\n            if start < mark:",
    ),
    Fault(
        "max_hold covers one character too few",
        SCAN,
        "return max(start, end - hold_class.limit)",
        "return max(start, end - hold_class.limit + 1)",
    ),
    Fault(
        "of blocks that tie, the first one's start is taken",
        SCAN,
        "start = min(start for _, start in blocked.blocks)",
        "start = blocked.blocks[0][1]",
    ),
    Fault(
        "of blocks that tie, the last one is named",
        SCAN,
        "number = min((number for number, _ in blocked.blocks), key=self._program.rank)",
        "number = max((number for number, _ in blocked.blocks), key=self._program.rank)",
    ),
    Fault(
        "a block lets out what was still open",
        SCAN,
        "self._announced = min(start, cursor.watermark())",
        "self._announced = start",
    ),
    Fault("hopeless items are not pruned", "matching/nfa.py", "live = _live(reached)", "live = reached"),
    Fault("a certain match waits for look-ahead", DFA, "        _decide(items, after)\n", ""),
    Fault(
        "shortest also gives up what begins at the end",
        DFA,
        "self._cut(moves, ended, old)",
        "self._cut(moves, ended, len(moves))",
    ),
    Fault("shortest does not begin anew", DFA, "self._cut(moves, ended, len(moves))", "moves"),
    Fault(
        "a validator is asked about the longest candidate only",
        SCAN,
        "for start in starts if validate",
        "for start in starts[:1] if validate",
    ),
    Fault(
        "an older start stands in for one that a validator may want",
        DFA,
        "and not group.hold_class.every_start",
        "and group is not None",
    ),
    Fault(
        "a validator sees a candidate without its first character",
        SCAN,
        "[-length:] if length",
        "[-length + 1 :] if length",
    ),
    Fault(
        "words have no edge at their end",
        PLAIN,
        "reached.items.append(self.end(AFTER[kind]()))",
        "return Reached(reached.items, True)",
    ),
    Fault("a mark does not belong to its word", EDGES, "~(joining() | marks() | INVISIBLE)", "~joining()"),
    Fault("a space stands for one character of white space only", PLAIN, "run < MOST_SPACES", "run < 1"),
    Fault(
        "a longer entry hides a shorter one", PLAIN, "if not complete:", "if within[1] - within[0] > 1 or not complete:"
    ),
    Fault("a substitute may stand alone at the end", FOLDED, "seen.tail == 0 or (", "seen.tail < 3 or ("),
    Fault("separated letters may stand beside letters", FOLDED, "3: -1, 4: -1", "3: 3, 4: 4"),
    Fault(
        "matches that touch are joined",
        "matching/report.py",
        "span is not None and start < span[1]",
        "span is not None and start <= span[1]",
    ),
    Fault(
        "growth in a later feed counts again",
        "matching/report.py",
        "self._end(number) > start or self._end(~number) > start",
        "False",
    ),
    Fault(
        "what waited too long is covered one too late",
        SCAN,
        "if over >= 0 and hold_class",
        "if over > 0 and hold_class",
    ),
    Fault("a block that came too late is not taken back", SCAN, "if block_at < cursor.position:", "if False:"),
    Fault(
        "the Kelvin sign is no k",
        "matching/charsets.py",
        "merged = set().union(*(by_lower[lower] for lower in lowers))",
        "merged = by_lower[min(lowers)]",
    ),
    Fault(
        "the slower view does not hold the faster one back",
        "matching/matcher.py",
        "self._watermark = min(mark",
        "self._watermark = max(mark",
    ),
    Fault(
        "a block in one view lets the other read on",
        "matching/matcher.py",
        "return text[: max(verdict.end, verdict.read - 1) - self._position]",
        "return text",
    ),
    Fault(
        "the views before the one that blocks are not taken back",
        "matching/matcher.py",
        "self._take_back(marks, answers, text)",
        "pass",
    ),
    Fault(
        "the gate joins spans that touch", "core/gate.py", "segments[i - 1].end > start", "segments[i - 1].end >= start"
    ),
    Fault(
        "the gate names the last rule of a segment",
        "core/hidden_span.py",
        "other.rule.order < self.rule.order",
        "other.rule.order > self.rule.order",
    ),
    Fault("the gate labels a span that may still grow", "core/gate.py", "if segment.end > mark:", "if False:"),
]


MEMORY, CHAIN, PROMPT = "core/prompt_memory.py", "core/prompt_chain.py", "core/prompt.py"
LEXER, VALUES = "core/json_lexer.py", "core/json_values.py"
MEMORY_FAULTS = [
    ("checks share an area", MEMORY, "self._made += 1", "self._made = 1"),
    ("roles and kinds share an area", MEMORY, "digest(area.seed, ", 'digest(area.seed, b"" and '),
    ("the joiner is not in the key", MEMORY, "digest(self._seed, joiner.encode())", "digest(self._seed)"),
    ("the text before is not in the key", MEMORY, "digest(before, _TEXT, known[1])", "digest(known[1])"),
    ("a text that was replaced keeps its digest", MEMORY, "known[0] is not text", "False"),
    ("the memory is not bounded", MEMORY, "while self.size > self.limit:", "while False:"),
    ("what is used does not count as used", MEMORY, "self._entries.move_to_end(key)", "pass"),
    ("what is dropped still takes", MEMORY, "        if self.alive:\n", "        if True:\n"),
    ("what is dropped is not freed", MEMORY, "if entry is not None and not entry.area.alive", "if False"),
    ("shared numbers and texts are counted for nothing", MEMORY, "return bool(item) and (", "return False and ("),
    ("a replaced text leaves the chain as it was", CHAIN, "del self._ends[part + 1 :]", "pass"),
    ("a replaced text leaves its pieces", CHAIN, "[part + 1 :]\n        self._pieces = (-1, [])", "[part + 1 :]"),
    (
        "a piece is taken for the one before it",
        CHAIN,
        "pieces[inside // PIECE - 1]",
        "pieces[max(0, inside // PIECE - 2)]",
    ),
    (
        "a failure is remembered",
        PROMPT,
        "if self._chain is not None and not scans.failed:",
        "if self._chain is not None:",
    ),
    ("a block in the middle of a long text counts for all of it", PROMPT, " and self._begun == part:", ":"),
    ("a mark in the middle of a text", PROMPT, "if self._scans.position > self._starts[-1]:", "if False:"),
    ("the joiner is forgotten behind a known text", PROMPT, "joiner if inside < 0", "joiner if False"),
    ("a run stops being JSON unnoticed", LEXER, "not self._takes(found[1])", "self._takes(found[1]) is None"),
    (
        "the bracket behind a value stays open",
        LEXER,
        "            self._leave()\n\n    def _is_in",
        "            pass\n\n    def _is_in",
    ),
    (
        "a number in a run is not written out",
        VALUES,
        "written_out(value.text) if value.is_scalar else",
        "value.text if value.is_scalar else",
    ),
    ("after a block a run is read on", VALUES, "if self._run and not self._over:", "if self._run:"),
]
FAULTS += [Fault(*fault, tests=MEMORY_TESTS) for fault in MEMORY_FAULTS]
LOOK, FACTORS, SPELLED_LOOK = "matching/look.py", "matching/factors.py", "matching/foldedlook.py"
FAULTS += [
    Fault(*fault, LOOK_TESTS)
    for fault in (
        ("too little is read before a hit", SCAN, "first - look.reach", "first - 1"),
        ("what is open since a hit is given up", SCAN, "last = max(last, base + final_)", "pass"),
        ("what was open before a long text is given up", SCAN, "last = base - 1 if behind else -1", "last = -1"),
        ("the text that is owed is forgotten", SCAN, "self._read_long(owed + text", "self._read_long(text"),
        ("what was left out is not caught up with", SCAN, "self._read(owed, False)", "pass"),
        (
            "what waits too long is not covered when it is left out",
            LOOK,
            "return all(search.reach <= rule.source.max_hold",
            "return True or all(search.reach <= rule.source.max_hold",
        ),
        ("what stands before a literal does not count", FACTORS, "reach=before + found.reach", "reach=found.reach"),
        ("a branch without a literal is forgotten", FACTORS, "or None in found:", "or not any(found):"),
        (
            "a digit is only one of ASCII",
            FACTORS,
            'if char.isdecimal():\n        return "0"',
            'if char in "0123456789":\n        return "0"',
        ),
        ("the long s is no s", FACTORS, "return _same().get(char, char)", "return char.lower()[0]"),
        ("white space in an entry is one character", LOOK, "(MOST_SPACES - 1) * text.count(SPACE)", "0"),
        ("signs for letters are not searched for", SPELLED_LOOK, ", *self._with_signs(text)]", "]"),
        ("markup within words is not searched for", SPELLED_LOOK, "*self._runs(text), ", ""),
        ("letters apart are not searched for", SPELLED_LOOK, "in self._apart.finditer(spans.squeezed):", "in ():"),
        ("a digit stands for no letter", SPELLED_LOOK, "SUBSTITUTES.get(char, char) if joins", "char if joins"),
        (
            "one word of an entry stands for both",
            SPELLED_LOOK,
            "self._with[first].add(others[0] if others else -1)",
            "self._with[first].add(others[-1] if others else 0)",
        ),
    )
]
LENSES, PATTERNS, ARGUMENTS = "matching/lenses.py", "checks/detectors/patterns.py", "core/arguments.py"
SEARCH_TESTS = ["tests/checks/test_detector_search.py", "tests/matching/test_suspects.py"]
JSON_TESTS = ["tests/core/test_arguments.py", "tests/core/test_json_lexer.py", "tests/matching/test_look_json.py"]
FAULTS += [
    Fault("an ampersand is known without what follows", LENSES, "raw + at, 0, 1)", "raw + at, 0, 0)", LENS_TESTS),
    Fault("half a pair is a character", LENSES, "u(?![dD][89abAB])[0-9a-fA-F]{4})')", "u[0-9a-fA-F]{4})')", LENS_TESTS),
    *(
        Fault(*fault, SEARCH_TESTS)
        for fault in (
            ("a trace lies one character too far", PATTERNS, "max(0, at + 1 - reach)", "max(0, at + 2 - reach)"),
            ("a beginning may lack its trace", PATTERNS, "- self.trace.reach + 1)", "- self.trace.reach + 2)"),
            (
                "what may be empty counts as a trace",
                PATTERNS,
                "if node.low else None\n    if isinstance(node, Choice):\n        return _in_each",
                "\n    if isinstance(node, Choice):\n        return _in_each",
            ),
            ("long beginnings are forgotten", PATTERNS, "for parts in (short, long) if parts", "for parts in (short,)"),
            ("texts that are looked at together touch", "matching/rules.py", 'APART = "\\n\\x00\\n"', 'APART = ""'),
            (
                "one detector's find is another's",
                "checks/detectors/group.py",
                "if any(one.finds(text)",
                "if all(one.finds(text)",
            ),
        )
    ),
    *(
        Fault(*fault, JSON_TESTS)
        for fault in (
            ("what is found in a call is not written", ARGUMENTS, "if not told.found:", "if True:"),
            ("the map of a value goes on behind an escape", VALUES, "ahead -= end - first - 1", "ahead -= end - first"),
            ("a text goes on behind an escape", VALUES, "done, straight = end, False", "done, straight = end, True"),
            ("who is suspected is clean", VALUES, "or text in suspected:", "or False:"),
        )
    ),
]


def copied(folder: Path) -> Path:
    """The package and its tests as they are now."""
    for name in ("proxy", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "e2e"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@contextmanager
def planted(folder: Path, fault: Fault | None) -> Iterator[None]:
    """The fault stands in the copy, for a while."""
    if fault is None:
        yield
        return
    file = folder / "proxy" / fault.file
    text = file.read_text(encoding="utf-8")
    if fault.right not in text:
        raise SystemExit(f"cannot plant {fault.what!r}: {fault.file} has no {fault.right!r}")
    file.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
    yield
    file.write_text(text, encoding="utf-8")


def noticed_by(folder: Path, tests: Sequence[str]) -> str:
    """The first test that fails, or ""."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", *tests]
    env = {**os.environ, "FUZZ_EXAMPLES": "0.3", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900, check=False)
    found = re.search(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*)?(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode and not found:
        raise SystemExit(done.stdout + done.stderr)
    return found[1] if found and done.returncode else ""


def survives(folder: Path, fault: Fault | None) -> bool:
    """Plant a fault, run the tests, print a row."""
    start = time.monotonic()
    with planted(folder, fault):
        test = noticed_by(folder, fault.tests if fault else [*TESTS, *MEMORY_TESTS])
    name = fault.what if fault else "no fault: all tests pass"
    where = fault.file if fault else "-"
    killer = test.replace("tests/", "").replace("::", " ") or ("-" if fault is None else "**survives**")
    print(f"| {name} | {where} | {killer} | {time.monotonic() - start:.0f} |", flush=True)
    return bool(test) is (fault is None)


def main() -> None:
    wanted = " ".join(sys.argv[1:])
    faults = [fault for fault in FAULTS if wanted in fault.what]
    print("| fault | in proxy/ | noticed by | s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = copied(Path(name))
        survivors = [fault for fault in (None, *faults) if survives(folder, fault)]
    print(f"\n{len(faults)} faults, {len([f for f in survivors if f])} survive.")
    raise SystemExit(bool(survivors))


if __name__ == "__main__":
    main()
