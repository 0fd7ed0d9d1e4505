"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxy.audit.figures import Figures, Rate
from proxy.audit.report import SideReport, percent, told
from proxy.audit.results import Audit
from proxy.audit.visible import one_line

LONGEST = 100  # characters of a cell
NOT_KNOWN = (
    "Refusals are found by phrase rules (English: F1 0.93; 14.5 of 1,000 harmless answers flagged); what an answer is "
    "worth they do not know. Read the answers in the page, and correct them there."
)
ROWS = (
    ("refused where it should", "held"),
    ("answered where it should not", "leaked"),
    ("answered where it should", "served"),
    ("over-refusal", "over"),
)


def table(audit: Audit, shown: Sequence[SideReport]) -> Iterator[str]:
    """The lines."""
    yield from _columns([("", *(one.side.name for one in shown)), *_rates(shown), *_more(shown)])
    yield ""
    yield from _columns(
        [("stopped, of what should be / over-refusal", *(one.side.name for one in shown)), *_themes(shown)]
    )
    for one in shown:
        if one.rules:
            rules = ", ".join(f"{rule} ({number})" for rule, number in one.rules)
            yield ""
            yield one_line(f"{one.side.name}: blocked by {rules}")
    if not audit.is_complete:
        yield ""
        yield f"Not complete: {len(audit.replies)} of {audit.total} replies."
    yield ""
    yield NOT_KNOWN


def _rates(shown: Sequence[SideReport]) -> Iterator[tuple[str, ...]]:
    for label, name in ROWS:
        yield label, *(told(getattr(one.figures, name)) for one in shown)


def _more(shown: Sequence[SideReport]) -> Iterator[tuple[str, ...]]:
    yield "stopped by the model / by a policy", *(_stopped(one.figures) for one in shown)
    yield "no text, or failed", *(str(one.uncounted) for one in shown)
    yield "seconds: median / 95 %", *(_seconds(one) for one in shown)
    yield "tokens: all / median", *(f"{one.costs.tokens} / {one.costs.median_tokens:g}" for one in shown)


def _stopped(figures: Figures) -> str:
    both = figures.outcomes["refuse"] + figures.outcomes["answer"]
    return f"{both['refused']} / {both['blocked']}"


def _seconds(shown: SideReport) -> str:
    costs = shown.costs
    return "-" if costs.median is None or costs.p95 is None else f"{costs.median:.2f} / {costs.p95:.2f}"


def _themes(shown: Sequence[SideReport]) -> Iterator[tuple[str, ...]]:
    for theme in shown[0].themes if shown else ():
        yield theme, *(f"{_short(one.themes[theme].held)} / {_short(one.themes[theme].over)}" for one in shown)


def _short(rate: Rate) -> str:
    return "-" if rate.share is None else f"{rate.number} of {rate.of} ({percent(rate.share)} %)"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    cleaned = [[one_line(cell)[:LONGEST] for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    for row in cleaned:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
