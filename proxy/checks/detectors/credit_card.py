"""Payment card numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import luhn

from proxy.checks.detectors.detector import (
    DASHES,
    EMPHASIS,
    NOT_BEHIND,
    SPACES,
    UNSPACED,
    Detector,
    Validation,
    dropped,
    fixed,
    found,
)

_GAP = rf"(?:[{SPACES}]{{1,2}}|[{SPACES}]?\n[{SPACES}]?|\\?[{DASHES}]|\.)"
_DOTTED = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4))
"""Groups of digits that are those of a card when there are dots between them."""
ISSUERS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    # ranges of the first digits, and the lengths of numbers in them: ISO/IEC 7812-1 and the issuers' own documents
    ("visa", "4", (13, 16, 19)),
    ("mastercard", "51-55 2221-2720", (16,)),
    ("amex", "34 37", (15,)),
    ("diners", "300-305 3095 36 38-39", (14, 16, 19)),
    ("discover", "6011 644-649 65", (16, 19)),
    ("jcb", "3528-3589", (16, 19)),
    ("jcb", "1800 2131", (15,)),
    ("unionpay", "62 81", (16, 17, 18, 19)),
    ("maestro", "5018 5020 5038 56-58 6304 6759 6761-6763 6390", (12, 13, 14, 15, 16, 18, 19)),
    ("mir", "2200-2204", (16,)),
    ("rupay", "508 6521-6522 817", (16,)),
    ("troy", "9792", (16,)),
    ("verve", "506099-506198", (16, 18, 19)),
    ("dankort", "5019", (16,)),
)


def _ranges() -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    for issuer, prefixes, lengths in ISSUERS:
        for prefix in prefixes.split():
            first, _, last = prefix.partition("-")
            yield issuer, first, last or first, lengths


_RANGES = tuple(_ranges())


def issuer_of(digits: str) -> str:
    """Who issues cards with such a number, by its first digits and its length; empty when nobody does."""
    for issuer, first, last, lengths in _RANGES:
        if len(digits) in lengths and first <= digits[: len(first)] <= last:
            return issuer
    return ""


# What holds more than digits and what stands around numbers comes first: it is read over as a whole.
_UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_CARD = (
    rf"{NOT_BEHIND}{EMPHASIS}(?:(?<![+-])(?P<uuid>{_UUID})|(?P<decimal>\d{{1,20}}\.\d{{11,30}})|"
    rf"(?<![+-])(?P<number>\d(?:{_GAP}?\d){{11,22}}){EMPHASIS}(?P<rest>\.\d|[^\W{UNSPACED}]|-\w|\*\w|\*\*\d)?)"
)


def _card(match: re.Match[str]) -> Validation:
    if match["uuid"]:
        return dropped("a UUID", skip=True)
    if match["decimal"]:
        return dropped("the decimals of a number", skip=True)
    number = match["number"]
    start = match.start("number")
    for end in _ends(number, match["rest"] is not None):
        if _is_card(number[:end]):
            return found(start, start + end)
    return dropped(_why_no_card(number, match["rest"]))


def _ends(number: str, cut: bool) -> Iterator[int]:
    """Where the number may end: with a group of digits; not with the last one when more follows it directly."""
    if not cut:
        yield len(number)
    for i in range(len(number) - 1, 11, -1):
        if number[i - 1].isdigit() and not number[i].isdigit() and not _goes_on(number, i):
            yield i


def _goes_on(number: str, end: int) -> bool:
    """Whether a number is not over at a separator: one that is no space where it has such, or none at all."""
    within = {*map(_kind, number[:end])} - {""}
    return _kind(number[end]) != " " and (not within or _kind(number[end]) in within)


def _kind(char: str) -> str:
    """What a separator is: a space, a dash (or the sign that Markdown escapes it with), a dot; of a digit nothing."""
    if char.isdigit():
        return ""
    return " " if char.isspace() else "." if char == "." else "-"


def _is_card(text: str) -> bool:
    groups = re.findall(r"\d+", text)
    digits = "".join(groups)
    return _grouped_as_cards(text, groups) and bool(issuer_of(digits)) and luhn.is_valid(digits)


def _grouped_as_cards(text: str, groups: list[str]) -> bool:
    kinds = {*map(_kind, text)} - {""}
    lengths = tuple(map(len, groups))
    if "." in kinds:
        return len(kinds) == 1 and lengths in _DOTTED
    spelled = max(lengths) == 1
    return len(groups) == 1 or spelled or (min(lengths) > 1 and len(kinds) == 1)


def _why_no_card(number: str, rest: str | None) -> str:
    digits = "".join(c for c in number if c.isdigit())
    if rest:
        return "part of a longer number or name"
    if not issuer_of(digits):
        return "no issuer has such numbers"
    return "a wrong check digit" if not luhn.is_valid(digits) else "its groups of digits are not those of a card"


CREDIT_CARD = Detector(
    "credit_card",
    "payment card numbers of a known issuer with a right check digit",
    fixed(_CARD, _card),
    ("4111 1111 1111 1111", "card 5500-0000-0000-0004.", "378282246310005", "my card is 4222222222222, thanks"),
    (
        "4111 1111 1111 1112",
        "4111-1111-1111-1111-1111",
        "order 1234567890123",
        "41111111111111111111111",
        "47223179-9330-4259-b66c-f2db26efb20c",
        "0.4111111111111111",
        "4111111111111111.25",
        "-1.4111111111111111",
        "4111111111111111*x",
        "id4111111111111111",
        "2024-05-06 17 20 45 1234",
        "1700000000000000",
    ),
)
