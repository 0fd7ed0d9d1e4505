"""The laws that every check obeys (proxy.core.check), for any check and text."""

from __future__ import annotations

from proxy.core.check import Check, Progress
from proxy.testing import blocking, covered, cut, feed, findings, obeys, readings, summary

__all__ = ["blocking", "check_laws", "covered", "cut", "feed", "findings", "obeys", "readings", "summary"]


def check_laws(check: Check, text: str, places: int) -> list[Progress]:
    """All laws; the answers of one reading."""
    answers = [obeys(check, chunks, final) for chunks, final in readings(text, places)]
    first = summary(answers[0])
    for other in answers[1:]:
        assert summary(other) == first, "the cut matters"
    return answers[0]
