"""Bank account numbers (IBAN, ISO 13616)."""

from __future__ import annotations

import re

from stdnum import iban as stdnum_iban

from proxy.checks.detectors.detector import Detector, Validation, dropped, fixed, found

_NATIONS = (
    "AD AE AL AT AZ BA BE BG BH BI BR BY CH CR CY CZ DE DJ DK DO EE EG ES FI FK FO FR GB GE GI GL GR GT HR HU IE IL IQ "
    "IS IT JO KW KZ LB LC LI LT LU LV LY MC MD ME MK MN MR MT MU NI NL NO OM PK PL PS PT QA RO RS RU SA SC SD SE SI SK "
    "SM SO ST SV TL TN TR UA VA VG XK YE"
)
_COUNTRIES = "|".join(_NATIONS.split())
_GAPS = " \u00a0-"
_IBAN = rf"(?<![\w])(?P<iban>(?:{_COUNTRIES})\d{{2}}(?:[{_GAPS}]?[A-Za-z0-9]){{11,30}})(?![\w])"


def _is_iban(text: str) -> bool:
    compact = "".join(c for c in text if c not in _GAPS)
    in_one_case = compact.isupper() or text == compact.lower()
    return in_one_case and stdnum_iban.is_valid(compact, check_country=False)


def _iban(match: re.Match[str]) -> Validation:
    text = match["iban"]
    for end in (len(text), *(i for i in range(len(text) - 1, 14, -1) if text[i] in _GAPS)):
        if _is_iban(text[:end]):
            return found(match.start(), match.start() + end)
    return dropped("wrong check digits, or no country has such an IBAN")


IBAN = Detector(
    "iban",
    "bank account numbers (IBAN) with right check digits",
    fixed(_IBAN, _iban),
    ("DE89 3704 0044 0532 0130 00", "to GB82WEST12345698765432, please", "NO93 8601 1117 947"),
    ("DE89 3704 0044 0532 0130 01", "DE89", "AB12 CDEF 3456"),
)
