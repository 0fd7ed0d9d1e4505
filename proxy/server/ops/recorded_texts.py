"""What of a text may be recorded: all of it, or all but what a rule finds, whatever the rule does.

The rules read the text once more, in steps between which others run. So a rule that only flags, or that a policy only
watches, masks too, and one for answers masks prompts: a user may have written what no answer may show. What nobody has
judged is left out: what follows a block, and the undecided end of an answer that broke off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from proxy.checks.fail_open import FailedOpen
from proxy.core.check import Check, asks, without_asking
from proxy.core.steps import Steps
from proxy.core.types import Action, Finding, Rule
from proxy.server.exchange.transcript import MAX_TEXT, Text, Transcript

PIECE = 1024  # characters that are read in a step


class Span(NamedTuple):
    """A part of a text that a rule found."""

    start: int
    end: int
    rule: Rule


class NotJudged(Exception):
    """A check failed and would let the text pass."""


class Judged(NamedTuple):
    """What rules found in a text, and up to where the text is decided."""

    spans: list[Span]
    end: int


def recorded_texts(transcript: Transcript, mode: str) -> Steps[dict[str, Any]]:
    """The texts of an exchange as they stand in its record. `mode`: `masked` or `full`."""
    record: dict[str, Any] = {}
    for part, texts in (("prompt", transcript.prompt), ("answer", list(transcript.answer.values()))):
        record[part] = []
        for text in texts:
            record[part].append((yield from recorded(text, mode)))
    return record


def recorded(text: Text, mode: str) -> Steps[dict[str, Any]]:
    """A text as an object of the record."""
    record = {"role": text.role, "channel": text.kind.value, "choice": text.choice, "json": text.escaped}
    whole = text.joiner.join(text.parts)
    length = text.length + len(text.joiner) * (len(text.parts) - 1)
    checks = text.checks if mode == "full" else (*text.checks, *text.others)
    if mode != "full" and any(map(asks, checks)):  # what others would find in it is not known here
        return {**record, "text": None, "findings": [], "left_out": length}
    try:
        judged = yield from _judge(text, whole, without_asking(checks))
    except Exception:  # what cannot be judged is not recorded, unless everything is
        shown = whole[:MAX_TEXT] if mode == "full" else None
        return {**record, "text": shown, "findings": [], "left_out": length - len(shown or "")}
    end = min(judged.end, MAX_TEXT) if mode == "masked" else min(len(whole), MAX_TEXT)
    found = dict.fromkeys(span for span in judged.spans if span.start < end)  # several checks may have a rule
    spans = sorted(found, key=lambda one: (one.start, one.end))
    shown = masked(whole[:end], spans) if mode == "masked" else whole[:end]
    return {**record, "text": shown, "findings": [_finding(span) for span in spans], "left_out": length - end}


def _finding(span: Span) -> dict[str, Any]:
    rule, length = span.rule, span.end - span.start
    return {"policy": rule.policy, "rule": rule.id, "start": span.start, "end": span.end, "length": length}


def masked(text: str, spans: Sequence[Span]) -> str:
    """The text with a label in the place of each span; spans that share a character have one label."""
    out: list[str] = []
    at = 0
    for start, end, rule in _merged(spans):
        out += [text[at:start], f"[{rule.name}]"]
        at = end
    return "".join([*out, text[at:]])


def _merged(spans: Sequence[Span]) -> Iterator[Span]:
    known: Span | None = None
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if known is not None and span.start < known.end:
            known = known._replace(end=max(known.end, span.end))
        else:
            if known is not None:
                yield known
            known = span
    if known is not None:
        yield known


def _judge(text: Text, whole: str, checks: Sequence[Check]) -> Steps[Judged]:
    """As the model may read it: the parts with the joiner between them, and without."""
    final = text.complete and len(whole) == text.length + len(text.joiner) * (len(text.parts) - 1)
    if text.before:
        both = yield from _read(text.before + whole, checks, final)
        alone = yield from _read(whole, checks, final)
        return _behind(len(text.before), both, alone)
    judged = yield from _read(whole, checks, final)
    if not text.joiner or len(text.parts) < 2:
        return judged
    bare = yield from _read("".join(text.parts), checks, final)
    ends = list(accumulate(map(len, text.parts)))
    step = len(text.joiner)

    def place(at: int, is_end: bool) -> int:
        """Where an offset of the text without joiners lies in the whole."""
        return at + step * sum(end < at if is_end else end <= at for end in ends[:-1])

    spans = [Span(place(s.start, False), place(s.end, True), s.rule) for s in bare.spans]
    return Judged([*judged.spans, *spans], min(judged.end, place(bare.end, True)))


def _behind(size: int, both: Judged, alone: Judged) -> Judged:
    """What was found behind the first `size` characters, with them and without."""
    spans = [Span(max(s.start - size, 0), s.end - size, s.rule) for s in both.spans if s.end > size]
    end = both.end - size if both.end > size else alone.end  # a block before the text was told where it came from
    return Judged([*spans, *alone.spans], min(end, alone.end))


def _read(text: str, checks: Sequence[Check], final: bool) -> Steps[Judged]:
    spans: list[Span] = []
    ends = [len(text)]
    for check in checks:
        scan = check.open()
        mark = 0
        found: list[Finding] = []
        for at in range(0, len(text), PIECE):
            progress = scan.feed(text[at : at + PIECE])
            mark = progress.watermark
            found += progress.findings
            yield None
        if final:
            progress = scan.feed("", final=True)
            mark = progress.watermark
            found += progress.findings
        if any(isinstance(f.rule, FailedOpen) for f in found):
            raise NotJudged
        spans += [Span(f.start, f.end, f.rule) for f in found if f.end > f.start]
        blocks = [f.end for f in found if f.rule.holds and f.rule.action is Action.BLOCK]
        ends.append(min(blocks) if blocks else mark)
    end = min(ends)
    return Judged([span for span in spans if span.start < end], end)
