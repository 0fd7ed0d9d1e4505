"""The results as one page that loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from proxy.conformance.report import groups, printable, shown, timing_line, total
from proxy.conformance.runner import Result
from proxy.conformance.timing import Timing

SAFE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{safe}">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
caption {{ text-align: left; font-weight: bold; margin-top: 1.5rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid #8888; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #8888; padding: .5rem; }}
.failed {{ font-weight: bold; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""
FOOT = "</body>\n</html>\n"


def as_html(target: str, version: str, results: Sequence[Result], timings: Sequence[Timing]) -> str:
    """A table for each dialect and group, with a row for each case."""
    title = text(f"Conformance of {target}")
    lines = [HEAD.format(title=title, safe=SAFE), f"<p>Suite {text(version)}. {text(total(results))}.</p>\n"]
    lines += [f"<p>{text(timing_line(one))}.</p>\n" for one in timings]
    for (dialect, group), ones in groups(results).items():
        lines += [*_table(f"{dialect}: {group}", ones)]
    return "".join([*lines, FOOT])


def _table(name: str, results: Sequence[Result]) -> Iterator[str]:
    yield f"<table>\n<caption>{text(name)}</caption>\n"
    yield '<tr><th scope="col">case</th><th scope="col">what is right</th><th scope="col">result</th></tr>\n'
    yield from map(_row, results)
    yield "</table>\n"


def _row(result: Result) -> str:
    case = result.case
    source = f"<br><small>{text(case.source)}</small>" if case.source else ""
    verdict = "passed" if result.passed else f"failed: {result.failed} of {result.exchanges} exchanges"
    kind = "passed" if result.passed else "failed"
    details = "".join(f"<pre>{text(shown(one))}</pre>" for one in result.failures)
    if details:
        details = f"<details><summary>the bytes</summary>{details}</details>"
    return (
        f'<tr><th scope="row">{text(case.id)}</th><td>{text(case.says)}{source}</td>'
        f'<td><span class="{kind}">{text(verdict)}</span>{details}</td></tr>\n'
    )


def text(value: str) -> str:
    """A text that shows as it is, whoever wrote it."""
    return escape(printable(value), quote=True)
