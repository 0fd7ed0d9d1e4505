"""Bank account numbers (IBAN, ISO 13616)."""

from __future__ import annotations

import re

from stdnum import iban as stdnum_iban

from proxy.checks.detectors.detector import (
    DASHES,
    EMPHASIS,
    NOT_BEFORE,
    NOT_BEHIND,
    SPACES,
    Detector,
    Validation,
    dropped,
    fixed,
    found,
)

_NATIONS = (
    "AD AE AL AT AZ BA BE BG BH BI BR BY CH CR CY CZ DE DJ DK DO EE EG ES FI FK FO FR GB GE GI GL GR GT HR HU IE IL IQ "
    "IS IT JO KW KZ LB LC LI LT LU LV LY MC MD ME MK MN MR MT MU NI NL NO OM PK PL PS PT QA RO RS RU SA SC SD SE SI SK "
    "SM SO ST SV TL TN TR UA VA VG XK YE"
)
_COUNTRIES = "|".join(_NATIONS.split())
_GAP = rf"(?:[{SPACES}{DASHES}]|[{SPACES}]?\n[{SPACES}]?)"
_IBAN = rf"{NOT_BEHIND}{EMPHASIS}(?P<iban>(?:{_COUNTRIES})\d{{2}}(?:{_GAP}?[A-Za-z0-9]){{11,30}}){EMPHASIS}{NOT_BEFORE}"


def _is_iban(text: str) -> bool:
    compact = "".join(filter(str.isalnum, text))
    return (compact.isupper() or compact.islower()) and stdnum_iban.is_valid(compact, check_country=False)


def _iban(match: re.Match[str]) -> Validation:
    text, start = match["iban"], match.start("iban")
    for end in (len(text), *(i for i in range(len(text) - 1, 14, -1) if not text[i].isalnum())):
        if _is_iban(text[:end]):
            return found(start, start + end)
    return dropped("wrong check digits, or no country has such an IBAN")


IBAN = Detector(
    "iban",
    "bank account numbers (IBAN) with right check digits",
    fixed(_IBAN, _iban),
    ("DE89 3704 0044 0532 0130 00", "to GB82WEST12345698765432, please", "NO93 8601 1117 947"),
    ("DE89 3704 0044 0532 0130 01", "DE89", "AB12 CDEF 3456"),
)
