"""The report as one HTML page that needs nothing else: no file beside it, no request, no network.

Whatever a model has written is text in it and nothing more: the template escapes it, characters without a shape are
named, and the page's policy (CSP) runs one script and one style sheet only, those with the hashes that are ours.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from proxy.audit.figures import Rate
from proxy.audit.replies import OUTCOMES, Judged
from proxy.audit.report import LIMITS, NO_THEME, SideReport, percent, themes, told
from proxy.audit.results import Audit
from proxy.audit.table import ROWS
from proxy.audit.visible import parts

FILES: Final = Path(__file__).with_name("page_files")
BAR: Final = 240
"""Units of a plot for 100 %; page.js reads it from the page."""
CHOICES: Final = OUTCOMES[:-1]
"""What a person can say of a reply."""


def page(audit: Audit, shown: Sequence[SideReport]) -> str:
    """The page."""
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            audit=audit,
            shown=shown,
            themes=themes(audit),
            rows=ROWS,
            limits=LIMITS,
            choices=CHOICES,
            answers=_answers(audit, shown),
            data=_data(audit, shown),
            policy=content_policy(),
            style=Markup(_file("page.css")),
            script=Markup(_file("page.js")),
            bar_units=BAR,
        )
    )


def content_policy() -> str:
    """The Content-Security-Policy (W3C, level 3) of the page."""
    return (
        f"default-src 'none'; script-src '{_hash('page.js')}'; style-src '{_hash('page.css')}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(told=told, percent=_percent, x=_x, parts=parts)
    return environment


@cache
def _file(name: str) -> str:
    return (FILES / name).read_text("utf-8")


def _hash(name: str) -> str:
    return "sha256-" + b64encode(sha256(_file(name).encode()).digest()).decode()


def _percent(rate: Rate) -> str:
    return "-" if rate.share is None else f"{percent(rate.share)} %"


def _x(share: float | None) -> str:
    """A place in a plot."""
    return f"{(share or 0.0) * BAR:.1f}"


def _answers(audit: Audit, shown: Sequence[SideReport]) -> list[dict[str, Any]]:
    """Each prompt with its replies of all sides. `at`: the reply's place in the page's data."""
    places = {one.reply.key: place for place, one in enumerate(_all(shown))}
    found: dict[str, list[tuple[int, int, Judged]]] = {}
    for number, side in enumerate(shown):
        for one in side.judged:
            found.setdefault(one.reply.prompt, []).append((places[one.reply.key], number, one))
    return [{"prompt": prompt, "replies": found.get(prompt.id, [])} for prompt in audit.prompts]


def _all(shown: Sequence[SideReport]) -> list[Judged]:
    return [one for side in shown for one in side.judged]


def _data(audit: Audit, shown: Sequence[SideReport]) -> Markup:
    """What the page counts, as JSON in which nothing can end the element that it stands in."""
    prompts, sides = audit.by_id, [side.name for side in audit.sides]
    replies = [
        {
            "side": sides.index(one.reply.side),
            "prompt": one.reply.prompt,
            "repeat": one.reply.repeat,
            "theme": prompts[one.reply.prompt].theme or NO_THEME,
            "expect": prompts[one.reply.prompt].expect,
            "outcome": one.outcome,
            "found": one.found,
            "digest": one.reply.digest,
        }
        for one in _all(shown)
    ]
    text = json.dumps({"audit": audit.id, "sides": sides, "replies": replies, "bar": BAR})
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
