"""Telephone numbers, by the number plans of the package phonenumbers.

The package reads its tables region by region when it first needs one; they are all read when this module is imported.
"""

from __future__ import annotations

import re
from functools import cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata

from proxy.checks.detectors.detector import (
    DASHES,
    EMPHASIS,
    NOT_BEHIND,
    SPACES,
    UNSPACED,
    Detector,
    Options,
    Recogniser,
    Validation,
    Validator,
    dropped,
    found,
    plain,
)

REGIONS = frozenset[str](phonenumbers.SUPPORTED_REGIONS)
for _region in sorted(REGIONS):
    PhoneMetadata.metadata_for_region(_region, None)

_GAP = (
    rf"(?:[{SPACES}]{{1,2}}|[./]|\\?[{DASHES}]|\\?\([{SPACES}]?|\\?\)[{SPACES}]{{0,2}}(?:\\?[{DASHES}])?|"
    rf"[{SPACES}{DASHES}]\\?\()"
)
_PATTERN = (
    rf"{NOT_BEHIND}(?<![.,:/=%&#@$\u20ac\u00a3+-]){EMPHASIS}"
    r"(?P<context>(?i:tel|(?:tele)?phone|call|fax|mobile|cell|whatsapp|ring|dial|text)"
    r"(?i: (?:number|no\.?|me|us))?(?i: (?:is|at|on))?[.:#]{0,2}\s{0,2})?"
    rf"(?P<number>(?:\\?\+)?(?:\\?\()?\d(?:{_GAP}?\d){{5,16}})"
    r"(?P<extension>\s{0,2}(?i:x|ext\.?|extension)\s{0,2}\d{1,6})?"
    rf"{EMPHASIS}(?P<rest>[.,:]\d|[^\W{UNSPACED}]|[=%@]|[/-]\w|\*\w)?"
    r"(?P<label>\s(?i:office|fax|mobile|cell|home|work)(?![A-Za-z]))?"
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:0?[1-9]|[12]\d|3[01])|"
    r"(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|[12]\d|3[01])[-./ ](?:19|20)\d\d"
)
_YEARS = re.compile(r"\(?(?:1[5-9]|20)\d\d ?[-\u2013/] ?(?:1[5-9]|20)\d\d")
_CITED = re.compile(r"\((?:19|20)\d\d\)")
_DOTTED = ((2, 2, 2, 2, 2), (3, 3, 4), (1, 3, 3, 4), (3, 4, 4), (4, 3, 4))
_SSN = re.compile(r"\d{3}-\d{2}-\d{4}")
_DEFAULT = ("US", "GB", "DE", "FR")


def _phone(regions: tuple[str, ...]) -> Validator:
    def validate(match: re.Match[str]) -> Validation:
        number, start = plain(match["number"]), match.start("number")
        if number.startswith("(") and ")" not in number:
            number, start = number[1:], match.start("number") + match["number"].index("(") + 1
        if match["rest"]:
            return dropped("part of a longer number or name")
        named = match["context"] is not None or match["label"] is not None
        reason = _with_decimals(number) if number.startswith("+") else _unlike(number, named)
        if reason:
            return dropped(reason)
        if (named and len(re.findall(r"\d+", number)) > 1) or any(_is_valid(number, region) for region in regions):
            return found(start, match.end("extension") if match["extension"] else match.end("number"))
        return dropped("no number of these regions")

    return validate


def _with_decimals(number: str) -> str:
    """Why a number with a sign is no telephone number; empty when it may be one."""
    return "a decimal" if re.search(r"\.\d$", number) else ""


def _unlike(number: str, named: bool) -> str:
    """Why nobody writes a telephone number without a country's code so; empty when somebody does."""
    groups = re.findall(r"\d+", number)
    kinds = set(re.sub(r"\) {0,2}-?|[ -]?\( ?|\d", "", number))
    if _SSN.fullmatch(number):
        return "written like a US social security number"
    if _DATE.match(number) or _YEARS.match(number):
        return "a date"
    if number.count("(") != number.count(")") or len(kinds) > 1 or _odd(groups):
        return "its groups of digits are not those of a telephone number"
    if _CITED.search(number) or (kinds == {"."} and tuple(map(len, groups)) not in _DOTTED):
        return "the number of a page or a section"
    if sum(map(len, groups)) < 7:
        return "too short"
    trunk = number.startswith("0") and len(groups) == 2 and kinds != {"."}
    if not named and len(groups) < 3 and "(" not in number and not trunk:
        return "digits without the form of a telephone number"
    return ""


def _odd(groups: list[str]) -> bool:
    """Whether a group is of one digit that none of a telephone number is."""
    lone = groups[0] in "234569" or (groups[0] == "0" and len(groups) == 2)
    return lone or any(len(group) < 2 for group in groups[1:])


@cache
def _trunk(region: str) -> str:
    """What national numbers begin with in a region, where they have to."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    prefix = metadata.national_prefix if metadata else None
    return prefix if prefix == "0" else ""


def _is_valid(number: str, region: str) -> bool:
    digits = re.sub(r"\D", "", number)
    in_groups = "-" in number or "(" in number
    if not (number.startswith("+") or in_groups or digits.startswith(_trunk(region))):
        return False
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed)


def _recogniser(options: Options) -> Recogniser:
    return Recogniser(_PATTERN, _phone(options.regions or _DEFAULT))


PHONE = Detector(
    "phone",
    "telephone numbers, with a country's code or in the regions of the rule",
    _recogniser,
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
        "0.9924 0.0075 12",
        "0-471-05669-3",
        "25.10.06 14.30.59",
        "174 201 231",
        "5-10-15-20",
        "+35236450.6",
        "x  0  160133733  1",
    ),
    regions=REGIONS,
    takes=frozenset(("regions",)),
)
