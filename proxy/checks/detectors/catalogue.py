"""All detectors by name. A new one is one more entry here, and a row in docs/policies.md.

A detector's module, its patterns and the package that it needs are loaded when a policy names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module

from proxy.checks.detectors.detector import Detector, Options
from proxy.checks.detectors.patterns import search_for
from proxy.checks.detectors.scan import DetectorPass, FoldedPass, Recognition
from proxy.core.types import Rule

_MODULES = {
    "email": "email",
    "phone": "phone",
    "credit_card": "credit_card",
    "iban": "iban",
    "us_ssn": "us_ssn",
    "national_id": "national_id",
    "date_of_birth": "date_of_birth",
    "ip_address": "network",
    "mac_address": "network",
    "url": "network",
    "crypto_address": "crypto",
    "api_key": "secrets",
    "secrets": "secrets",
    "prompt_injection": "prompts",
    "jailbreak": "prompts",
    "invisible_text": "invisible_text",
    "outbound_links": "outbound_links",
    "many_shot": "many_shot",
}
"""Which module of this folder a detector is in; there it has its name in capitals."""


class Catalogue(Mapping[str, Detector]):
    """Detectors by name; looking one up imports its module."""

    def __getitem__(self, name: str) -> Detector:
        module = import_module(f"{__package__}.{_MODULES[name]}")
        detector: Detector = getattr(module, name.upper())
        return detector

    def __contains__(self, name: object) -> bool:
        return name in _MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


DETECTORS = Catalogue()


def detector_pass(
    detector: Detector, rule: Rule, options: Options | None = None, fold: bool = False
) -> DetectorPass | FoldedPass:
    """A rule that looks for what a detector finds, as a pass of the matcher."""
    options = options or Options()
    if not options.kinds:
        options = options._replace(kinds=frozenset(detector.kinds))
    folds = fold or detector.folds
    made = DetectorPass(rule, _recognition(detector, options, folds))
    return FoldedPass(made) if folds else made


@lru_cache(maxsize=256)
def _recognition(detector: Detector, options: Options, folds: bool) -> Recognition:
    pattern, validate, canonical = detector.recogniser(options)
    search = search_for(f"(?i:{pattern})" if folds else pattern)
    return Recognition(detector.name, search, validate, detector.nth, canonical)
