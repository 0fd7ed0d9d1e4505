"""Telephone numbers, by the number plans of the package phonenumbers.

The package reads its tables region by region when it first needs one; they are all read when this module is imported.
"""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata

from proxy.checks.detectors.detector import Detector, Judge, Judgement, Options, Plan, dropped, found

REGIONS = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))
for _region in REGIONS:
    PhoneMetadata.metadata_for_region(_region, None)

_GAP = r"[ \u00a0\u2009\u202f./\u2010\u2011\u2012\u2013-]{1,2}"
_PATTERN = (
    r"(?<![\w.,:/=%&#@$\u20ac\u00a3+-])(?P<context>(?i:tel|phone|call|fax|mobile|cell|whatsapp)[.:]?\s{1,2})?"
    rf"(?P<number>\+?\(?\d(?:(?:{_GAP}\(?|\(|\) ?|\)-?)?\d){{5,16}})"
    r"(?P<extension>\s{0,2}(?i:x|ext\.?|extension)\s{0,2}\d{1,6})?(?P<rest>[.,:]\d|[\w/=%@]|-\w)?"
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:0?[1-9]|[12]\d|3[01])|"
    r"(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|[12]\d|3[01])[-./ ](?:19|20)\d\d"
)
_YEARS = re.compile(r"\(?(?:1[5-9]|20)\d\d ?[-\u2013/] ?(?:1[5-9]|20)\d\d")
_SSN = re.compile(r"\d{3}-\d{2}-\d{4}")
_DEFAULT = ("US", "GB", "DE", "FR")


def _phone(regions: tuple[str, ...]) -> Judge:
    def judge(match: re.Match[str]) -> Judgement:
        number, start = match["number"], match.start("number")
        if number.startswith("(") and ")" not in number:
            number, start = number[1:], start + 1
        digits = sum(char.isdigit() for char in number)
        if match["rest"]:
            return dropped("part of a longer number or name")
        if _DATE.match(number) or _YEARS.match(number):
            return dropped("a date")
        if _SSN.fullmatch(number):
            return dropped("written like a US social security number")
        if digits < 7:
            return dropped("too short")
        if not number.startswith("+") and not _is_grouped(number) and not match["context"]:
            return dropped("digits without the form of a telephone number")
        if any(_is_valid(number, region) for region in regions):
            end = match.end("extension") if match["extension"] else match.end("number")
            return found(start, end)
        return dropped("no number of these regions")

    return judge


def _is_grouped(number: str) -> bool:
    """Whether it is written in groups as people write telephone numbers."""
    groups = re.findall(r"\d+", number)
    trunk = number.startswith("0") and len(groups) == 2 and "." not in number
    return len(groups) >= 3 or "(" in number or trunk


def _is_valid(number: str, region: str) -> bool:
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed)


def _plan(options: Options) -> Plan:
    return Plan(_PATTERN, _phone(options.regions or _DEFAULT))


PHONE = Detector(
    "phone",
    "telephone numbers, with a country's code or in the regions of the rule",
    _plan,
    ("call +1 650-253-0000", "(650) 253-0000", "+44 20 7031 3000 ext. 12", "phone: 6502530000", "030/901820"),
    (
        "2024-05-06",
        "1939-1945",
        "1234567",
        "12.05.2024",
        "pi is 3.14159265",
        "his life (1642-1727)",
        "it is 853-37-1694",
        "order 6502530000",
        "id=650-253-0000",
        "10.0.0.1",
    ),
    takes=frozenset(("regions",)),
)
