"""Templates to HTML. All that a template shows is escaped; text of strangers goes through `text` besides."""

from __future__ import annotations

import time
from functools import cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from proxy.server.console.text import SHORT, plain, shown
from proxy.server.exchange.record import Outcome


def render(template: str, found: dict[str, Any]) -> bytes:
    """The page."""
    return _environment().get_template(template).render(found).encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("proxy.server.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["shown"] = shown
    made.globals["SHORT"] = SHORT
    made.filters["plain"] = plain
    made.filters["known"] = known
    made.filters["moment"] = moment
    made.filters["took"] = took
    made.filters["query"] = query
    return made


def known(outcome: str) -> str:
    """A class for the style sheet; "" for what is no outcome."""
    return str(outcome) if outcome in tuple(Outcome) else ""


def moment(milliseconds: int) -> str:
    """A time of the store, for people, in UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds // 1000))
    except (ValueError, OverflowError, OSError):
        return "unknown"


def took(seconds: float | None) -> str:
    """A duration: `12 ms`, `3.4 s`."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.1f} s"


def query(values: dict[str, Any]) -> str:
    """A query of a URL, of the values that there are."""
    return urlencode({name: value for name, value in values.items() if value not in ("", None)}, errors="replace")
