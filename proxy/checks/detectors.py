"""Patterns that a policy can name: `detector: email`.

A detector is a pattern of the exact matcher, perhaps a validator that is asked about each candidate, and examples which
the tests run as they run those of a policy. A new one is one more entry of the table.

Whatever looks like a key in the examples is put together here, so that no scanner of repositories finds one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

_NO_DIGIT = re.compile(r"\D")


@dataclass(frozen=True, slots=True)
class Detector:
    """about: what it finds, one line; hits and misses: texts in which it finds something, or nothing."""

    name: str
    about: str
    pattern: str
    hits: tuple[str, ...]
    misses: tuple[str, ...]
    validate: Callable[[str], bool] | None = None


def luhn(candidate: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B); separators do not count."""
    digits = [int(c) for c in _NO_DIGIT.sub("", candidate)]
    doubled = [d * 2 - 9 if d > 4 else d * 2 for d in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def mod97(candidate: str) -> bool:
    """The check digits of an IBAN (ISO 13616-1, ISO 7064 MOD 97-10); spaces do not count."""
    iban = candidate.replace(" ", "")
    if not 15 <= len(iban) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def ssn(candidate: str) -> bool:
    """A US social security number that can have been given out (SSA, POMS RM 10201.035)."""
    area, group, serial = candidate.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def address(candidate: str) -> bool:
    """An IPv4 (RFC 791) or IPv6 (RFC 4291) address; a bare `::` and words such as `a::b` are none."""
    try:
        ipaddress.ip_address(candidate)
    except ValueError:
        return False
    return any(c.isdigit() for c in candidate)


_KEYS = (
    r"sk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic and services that copy their form
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
    r"AKIA[A-Z0-9]{16,}",  # AWS, long-term
    r"ASIA[A-Z0-9]{16,}",  # AWS, temporary
    r"gh[opsur]_[A-Za-z0-9]{36,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,}",  # GitHub, fine-grained
    r"glpat-[A-Za-z0-9_-]{20,}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"AIza[A-Za-z0-9_-]{35,}",  # Google
    r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
    r"npm_[A-Za-z0-9]{36,}",  # npm
    r"pypi-[A-Za-z0-9_-]{50,}",  # PyPI
)

_ALL = (
    Detector(
        "email",
        "e-mail addresses",
        r"[\w.%+'-]+@(?:[\w-]+\.)+[^\W\d_]{2,}",
        ("write to bob@example.com", "j.o'hara+lists@mail.example.co.uk, please", "ärger@müller.example"),
        ("an @mention", "a@b", "user@localhost", "3 @ 4.5"),
    ),
    Detector(
        "credit_card",
        "payment card numbers with a right check digit",
        r"(?<!\d)[2-6](?:[ -]?\d){12,18}(?!\d)",
        ("4111 1111 1111 1111", "card 5500-0000-0000-0004.", "378282246310005"),
        ("4111 1111 1111 1112", "order 1234567890123", "41111111111111111111111"),
        luhn,
    ),
    Detector(
        "api_key",
        "keys with a known beginning",
        r"\b(?:" + "|".join(_KEYS) + ")",
        (
            "sk-" + "proj-" + "a1B2c3D4e5" * 3,
            "key=AKIA" + "ABCDEFGH12345678",
            "ghp_" + "x1" * 18,
            "xoxb-" + "12345-abcde",
        ),
        ("sk-learn and task-force", "AKIA is a prefix", "glpat-short", "the xoxo-gossip"),
    ),
    Detector(
        "us_ssn",
        "US social security numbers",
        r"(?<![\d-])\d{3}-\d{2}-\d{4}(?!\d)",
        ("my number is 078-05-1120.", "SSN:219-09-9999"),
        ("000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "1078-05-1120", "078-05-11201"),
        ssn,
    ),
    Detector(
        "ip_address",
        "IPv4 and IPv6 addresses",
        r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w])|(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])",
        ("ping 192.168.0.1.", "(10.0.0.255)", "2001:db8::8a2e:370:7334", "at ::1 it listens"),
        ("999.1.1.1", "version 1.2.3", "std::vector", "a::b", "12:30:45", "::"),
        address,
    ),
    Detector(
        "iban",
        "bank account numbers (IBAN) with right check digits",
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        ("DE89 3704 0044 0532 0130 00", "to GB82WEST12345698765432, please", "NO93 8601 1117 947"),
        ("DE89 3704 0044 0532 0130 01", "DE89", "AB12 CDEF 3456"),
        mod97,
    ),
)

DETECTORS: Mapping[str, Detector] = MappingProxyType({detector.name: detector for detector in _ALL})
