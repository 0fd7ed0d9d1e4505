"""US social security numbers."""

from __future__ import annotations

import re

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
    plain,
)

_GAP = rf"(?:\\?[{DASHES}]|[{SPACES}])"
_SSN = (
    rf"{NOT_BEHIND}(?<![.+-]){EMPHASIS}(?P<number>\d{{3}}{_GAP}\d{{2}}{_GAP}\d{{4}})"
    rf"{EMPHASIS}(?P<rest>\.\d|[^\W{UNSPACED}]|-\w)?"
)


def _ssn(match: re.Match[str]) -> Validation:
    """A US social security number that can have been given out (SSA, POMS RM 10201.035), or an ITIN's form."""
    if match["rest"]:
        return dropped("part of a longer number", skip=True)
    number = plain(match["number"])
    area, group, serial = number[:3], number[4:6], number[7:]
    if number[3] != number[6]:
        return dropped("two kinds of separators")
    if area in ("000", "666") or area >= "900" or group == "00" or serial == "0000":
        return dropped("no such number is given out")
    return found(*match.span("number"))


US_SSN = Detector(
    "us_ssn",
    "US social security numbers",
    fixed(_SSN, _ssn),
    ("my number is 078-05-1120.", "SSN:219-09-9999", "it is 219 09 9999"),
    (
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "1078-05-1120",
        "078-05-11201",
        "123-45 6789",
    ),
)
