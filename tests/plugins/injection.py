"""A plug-in around a real classifier: PyPI's prompt-guardrail, TF-IDF and logistic regression, 0.7 MB of weights.

It takes seconds to import and milliseconds for a text, so it runs in a process of its own.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from proxy.plugins import CheckKind, Finding, Progress, Rule


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `injection`."""

    least: Annotated[float, Meta(ge=0, le=1, description="score from which a text counts")] = 0.5


class Injection:
    """Finds a text that the classifier takes for an attack. It is asked about each sentence."""

    hold = None

    def __init__(self, rule: Rule, least: float) -> None:
        from guardify import detect  # type: ignore[import-not-found, import-untyped, unused-ignore]

        self.rule, self.least, self.detect = rule, least, detect

    def open(self) -> InjectionScan:
        """A fresh scan."""
        return InjectionScan(self)


class InjectionScan:
    """One text, judged at its end."""

    def __init__(self, check: Injection) -> None:
        self._check = check
        self._text = ""

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on; at the end all of it is judged."""
        self._text += text
        if not final:
            return Progress(0)
        verdict: dict[str, Any] = self._check.detect(self._text) if self._text.strip() else {"label": "safe"}
        is_attack = verdict["label"] != "safe" and verdict["score"] >= self._check.least
        found = (Finding(0, len(self._text), self._check.rule),) if is_attack else ()
        return Progress(len(self._text), found)


KIND = CheckKind(
    "injection",
    "prompts that a classifier takes for an attack",
    lambda rule, options: Injection(rule, options.least),
    Options,
    version="1",
    isolation="process",
    reads="sentence",
    deadline=60.0,
)
