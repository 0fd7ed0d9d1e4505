"""A rule's own tests, run as a stream would run them: whole, and cut into pieces of several sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from proxy.checks.passes import OwnPass
from proxy.core.check import Check
from proxy.core.gate import Gate
from proxy.core.types import Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.matcher import Matcher
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.policy.document import Path
from proxy.policy.schema import Examples

SIZES = (1, 2, 3, 7)  # code points in a piece; whole comes first
SHOWN = 60


class Result(NamedTuple):
    """One example, run. `path` is where it stands below its rule; `wrong` says what is the matter, or nothing."""

    rule: Rule
    kind: str
    text: str
    path: Path
    wrong: str = ""

    @property
    def passed(self) -> bool:
        """Whether the rule did what the example says."""
        return not self.wrong


class Seen(NamedTuple):
    """What a rule did with a text: where it found something, and what was let out."""

    spans: tuple[tuple[int, int], ...]
    out: str


class Trial:
    """A rule on trial. `check` is that rule alone, enforced; `pause` is called after every piece of text."""

    def __init__(self, rule: Rule, check: Check, pause: Pause = no_pause) -> None:
        self._rule, self._check, self._pause = rule, check, pause

    def run(self, examples: Examples) -> Iterator[Result]:
        """Run the rule's examples, one a step."""
        for i, text in enumerate(examples.hits):
            yield self._judged("hits", text, ("hits", i))
        for i, text in enumerate(examples.misses):
            yield self._judged("misses", text, ("misses", i))
        for text, wanted in examples.becomes.items():
            yield self._judged("becomes", text, ("becomes", text), wanted)

    def _judged(self, kind: str, text: str, path: Path, wanted: str = "") -> Result:
        whole = self._see(text)
        wrong = _wrong(kind, whole, text, wanted)
        if not wrong:
            cut = next((size for size in SIZES if self._see(text, size) != whole), 0)
            wrong = f"in pieces of {cut} the rule does something else than with the whole text" if cut else ""
        return Result(self._rule, kind, text, ("examples", *path), wrong)

    def _see(self, text: str, size: int = 0) -> Seen:
        return see(self._check, text, size, self._pause)


def matcher_of(searching: Iterable[CompiledRule | OwnPass]) -> Matcher:
    """What these look for, and nothing else."""
    searching = tuple(searching)
    rules = [one for one in searching if isinstance(one, CompiledRule)]
    return Matcher(rules, others=[one for one in searching if isinstance(one, OwnPass)])


def see(check: Check, text: str, size: int = 0, pause: Pause = no_pause) -> Seen:
    """What a check does with a text that comes in pieces of `size` code points; 0: whole."""
    gate = Gate([check])
    pieces = [text[i : i + size] for i in range(0, len(text), size)] if size else [text]
    out = "".join([gate.feed(piece) for piece in pausing(pieces, pause, 1)]) + gate.feed("", final=True)
    return Seen(tuple((f.start, f.end) for f in gate.findings), out)


def _wrong(kind: str, seen: Seen, text: str, wanted: str) -> str:
    if kind == "hits":
        return "" if seen.spans else f"the rule finds nothing in {shown(text)}"
    if kind == "misses":
        found = " and ".join(shown(text[start:end]) for start, end in seen.spans)
        return f"the rule finds {found} in {shown(text)}" if found else ""
    return "" if seen.out == wanted else f"{shown(text)} becomes {shown(seen.out)}, not {shown(wanted)}"


def shown(text: str) -> str:
    """A text for one line of output: quoted, escaped and not too long."""
    short = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    return "`" + short.encode("unicode_escape").decode("ascii") + "`" if not short.isprintable() else f"`{short}`"
