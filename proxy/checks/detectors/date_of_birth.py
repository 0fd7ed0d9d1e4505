"""Dates of birth: a date behind a word that says so."""

from __future__ import annotations

import re

from proxy.checks.detectors.detector import Detector, Validation, dropped, fixed, found

EARLIEST = 1910
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = (
    rf"(?:\d{{4}}[-./]\d{{1,2}}[-./]\d{{1,2}}|\d{{1,2}}[-./ ]\d{{1,2}}[-./ ]\d{{2,4}}|"
    rf"\d{{1,2}}(?:st|nd|rd|th|\.)?(?: of)? {_MONTH},? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})"
)
_BORN = (
    r"(?<![\w])(?i:date of birth|birth ?date|birthday|d\.?o\.?b\.?|born(?: on)?|geburtsdatum|geboren(?: am)?|"
    r"date de naissance|né(?:e)? le|fecha de nacimiento|data di nascita|data de nascimento|geboortedatum)"
    rf"(?: is| was|:| =)?[\"':]{{0,3}}\s{{0,3}}[\"'(]?(?P<date>{_DATE})(?![\w])"
)


def _born(match: re.Match[str]) -> Validation:
    numbers = [int(part) for part in re.findall(r"\d+", match["date"])]
    if any(number > 31 and not 1880 <= number <= 2100 and number > 99 for number in numbers):
        return dropped("no date")
    if any(1000 <= number < EARLIEST for number in numbers):
        return dropped("nobody alive was born then")
    months = [number for number in numbers if number <= 12]
    worded = any(map(str.isalpha, match["date"]))
    return found(*match.span("date")) if months or worded else dropped("no date")


DATE_OF_BIRTH = Detector(
    "date_of_birth",
    "dates behind words such as `born on` or `date of birth`",
    fixed(_BORN, _born),
    ("date of birth: 1984-07-21", "She was born on 21 July 1984.", "DOB 07/21/1984", "geboren am 21.07.1984"),
    (
        "released on 1984-07-21",
        "born in Paris",
        "the date of birth is unknown",
        "born on 99-99-9999",
        "born on December 5, 1901",
    ),
)
