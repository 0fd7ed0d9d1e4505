"""docs/dashboard.svg: the panels of the dashboard, drawn from what a real Prometheus has scraped from a running proxy.

    python -m tools.dashboard_picture

It runs the proxy in front of the demo model with chats, and Prometheus beside it, for MINUTES. Grafana is not needed.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy.stack import Prometheus, monitored
from tools import dashboard

FILE = Path(__file__).parent.parent / "docs/dashboard.svg"
MINUTES = 2.0
POINTS = 60
MOST_SERIES = 6
INTERVAL = "20s"
WIDTH, HEIGHT, GAP, ROW = 380, 206, 10, 26  # pixels of a panel, between panels, of a row's heading
LONGEST_LEGEND = 29  # characters
SUFFIXES = {"reqps": "/s", "cps": "/s"}  # Grafana's units of rates
COLOURS = ("#2a6fbb", "#d1495b", "#3a9d5d", "#c98a1b", "#7b4ea3", "#4c9aa8")
FONT = 'font-family="system-ui, sans-serif"'


class Line(NamedTuple):
    """One series: its legend and its points."""

    name: str
    points: list[tuple[float, float]]


def lines_of(server: Prometheus, panel: dict[str, Any], start: float, end: float) -> list[Line]:
    """What Prometheus has for a panel."""
    found: list[Line] = []
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", INTERVAL)
        query = query.replace("$job", "safety-proxy").replace("$instance", ".+")
        data = server.ask("query_range", query=query, start=start, end=end, step=(end - start) / POINTS)
        for series in data["result"]:
            points = [(at, float(value)) for at, value in series["values"] if not math.isnan(float(value))]
            found.append(Line(_legend(target["legendFormat"], series["metric"]), points))
    with_data = [line for line in found if line.points]
    return sorted(with_data, key=lambda line: -max(value for _, value in line.points))[:MOST_SERIES]


def _legend(form: str, metric: dict[str, str]) -> str:
    for label, value in metric.items():
        form = form.replace(f"{{{{{label}}}}}", value[:12] if label == "sha256" else value)
    return form


def round_up(most: float, unit: str) -> float:
    """The end of an axis: the next 1, 2, 4, 5 or 8 with zeros, of MiB where they are bytes."""
    step = 1024 * 1024 if unit == "bytes" else 1
    if most <= 0:
        return 1.0
    ten = 10.0 ** math.floor(math.log10(most / step))
    return next(n * ten * step for n in (1, 2, 4, 5, 8, 10) if n * ten * step >= most * 0.999)


def shown(value: float, unit: str) -> str:
    """A value for people."""
    if not value and unit in ("s", "bytes"):
        return "0"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        return f"{value / 1024 / 1024:.3g} MiB"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.3g}{SUFFIXES.get(unit, '')}"


def drawn(panel: dict[str, Any], lines: list[Line], x: int, y: int, start: float, end: float) -> Iterator[str]:
    """A panel as SVG."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    yield f'<g transform="translate({x},{y})">'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#fff" stroke="#ddd"/>'
    yield f'<text x="10" y="18" font-size="13" font-weight="600" fill="#222">{escape(panel["title"])}</text>'
    if panel["type"] == "stat":
        for number, line in enumerate(lines[:4]):
            text = f"{shown(line.points[-1][1], unit)}   {line.name}"
            yield f'<text x="14" y="{62 + 26 * number}" font-size="17" fill="#222">{escape(text)}</text>'
    else:
        yield from _graph(lines, unit, start, end)
    yield "</g>"


def _graph(lines: list[Line], unit: str, start: float, end: float) -> Iterator[str]:
    left, top, right, bottom = 66, 34, WIDTH - 14, HEIGHT - 60
    most = round_up(max((value for line in lines for _, value in line.points), default=0.0), unit)
    for place, text, anchor in ((left, f"{end - start:.0f} s ago", "start"), (right, "now", "end")):
        yield f'<text x="{place}" y="{bottom + 13}" font-size="10" fill="#666" text-anchor="{anchor}">{text}</text>'
    for share in (0.0, 0.5, 1.0):
        at = bottom - share * (bottom - top)
        yield f'<line x1="{left}" x2="{right}" y1="{at:.0f}" y2="{at:.0f}" stroke="#eee"/>'
        label = escape(shown(most * share, unit))
        yield f'<text x="{left - 6}" y="{at + 4:.0f}" font-size="10" fill="#666" text-anchor="end">{label}</text>'
    for number, line in enumerate(lines):
        path = " ".join(
            f"{left + (at - start) / (end - start) * (right - left):.1f},{bottom - value / most * (bottom - top):.1f}"
            for at, value in line.points
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        x, y = 10 + number % 2 * 186, HEIGHT - 34 + number // 2 * 13
        name = line.name if len(line.name) <= LONGEST_LEGEND else f"{line.name[: LONGEST_LEGEND - 1]}\u2026"
        yield f'<circle cx="{x + 4}" cy="{y - 3}" r="3" fill="{colour}"/>'
        yield f'<text x="{x + 11}" y="{y}" font-size="10" fill="#444">{escape(name)}</text>'


def picture(server: Prometheus, start: float, end: float) -> str:
    """The whole dashboard as SVG."""
    out: list[str] = []
    y = GAP
    column = 0
    for panel in dashboard.dashboard()["panels"]:
        if panel["type"] == "row":
            y += (HEIGHT + GAP) if column else 0
            column = 0
            title = escape(panel["title"])
            out.append(f'<text x="{GAP}" y="{y + 17}" font-size="15" font-weight="600" fill="#222">{title}</text>')
            y += ROW
            continue
        out += drawn(panel, lines_of(server, panel, start, end), GAP + column * (WIDTH + GAP), y, start, end)
        column += 1
        if column == dashboard.COLUMNS:
            column, y = 0, y + HEIGHT + GAP
    height = y + (HEIGHT + GAP if column else 0)
    width = dashboard.COLUMNS * (WIDTH + GAP) + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" {FONT}>'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#f5f5f5"/>', *out, "</svg>"]) + "\n"


def main() -> None:
    """The command."""
    with (
        tempfile.TemporaryDirectory(prefix="dashboard-") as folder,
        monitored(Path(folder), ("--demo-pace", "15ms")) as (_, server),
    ):
        time.sleep(MINUTES * 60)
        end = time.time()
        FILE.write_text(picture(server, end - MINUTES * 60 + 20, end), "utf-8")


if __name__ == "__main__":
    main()
