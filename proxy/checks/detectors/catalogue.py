"""All detectors. A new one is one more entry here, and a row in docs/policies.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from proxy.checks.detectors.crypto import CRYPTO_ADDRESS
from proxy.checks.detectors.detector import Detector, Options
from proxy.checks.detectors.email import EMAIL
from proxy.checks.detectors.hidden import INVISIBLE_TEXT, MANY_SHOT, OUTBOUND_LINKS
from proxy.checks.detectors.network import IP_ADDRESS, MAC_ADDRESS, URL
from proxy.checks.detectors.patterns import search_for
from proxy.checks.detectors.payments import CREDIT_CARD, IBAN
from proxy.checks.detectors.people import DATE_OF_BIRTH, NATIONAL_ID, US_SSN
from proxy.checks.detectors.phone import PHONE
from proxy.checks.detectors.prompts import JAILBREAK, PROMPT_INJECTION
from proxy.checks.detectors.scan import DetectorPass, FoldedPass
from proxy.checks.detectors.secrets import API_KEY, SECRETS
from proxy.core.types import Rule

_ALL = (
    EMAIL,
    PHONE,
    CREDIT_CARD,
    IBAN,
    US_SSN,
    NATIONAL_ID,
    DATE_OF_BIRTH,
    IP_ADDRESS,
    MAC_ADDRESS,
    URL,
    CRYPTO_ADDRESS,
    API_KEY,
    SECRETS,
    PROMPT_INJECTION,
    JAILBREAK,
    INVISIBLE_TEXT,
    OUTBOUND_LINKS,
    MANY_SHOT,
)

DETECTORS: Mapping[str, Detector] = MappingProxyType({detector.name: detector for detector in _ALL})


def detector_pass(
    detector: Detector, rule: Rule, options: Options | None = None, fold: bool = False
) -> DetectorPass | FoldedPass:
    """A rule that looks for what a detector finds, as a pass of the matcher."""
    options = options or Options()
    if not options.kinds:
        options = options._replace(kinds=frozenset(detector.kinds))
    plan = detector.plan(options)
    folds = fold or detector.folds
    search = search_for(f"(?i:{plan.pattern})" if folds else plan.pattern)
    made = DetectorPass(rule, detector.name, search, plan.judge, detector.nth, plan.alike)
    return FoldedPass(made) if folds else made
