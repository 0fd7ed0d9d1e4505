"""Addresses of machines and of pages."""

from __future__ import annotations

import ipaddress
import re

from proxy.checks.detectors.detector import (
    EMPHASIS,
    NOT_BEFORE,
    NOT_BEHIND,
    UNSPACED,
    Detector,
    Validation,
    dropped,
    fixed,
    found,
)

_IPV4 = (
    rf"{NOT_BEHIND}(?<![.-]){EMPHASIS}(?P<four>\d{{1,3}}(?:\.\d{{1,3}}){{3}})"
    rf"{EMPHASIS}(?P<more>\.\d|[^\W{UNSPACED}]|-\w)?"
)
_IPV6 = (
    rf"{NOT_BEHIND}(?<![:.]){EMPHASIS}"
    r"(?P<six>(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}|:(?::[0-9A-Fa-f]{1,4}){1,7})(?:\.\d{1,3}){0,3})"
    rf"{EMPHASIS}{NOT_BEFORE}(?!:)"
)


def address(text: str) -> bool:
    """An IPv4 (RFC 791) or IPv6 (RFC 4291) address; a bare `::` and words such as `a::b` are none."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(c.isdigit() for c in text)


def _is_slice(text: str) -> bool:
    """Whether it may as well be a slice of a list, `1::2`."""
    groups = [group for group in text.split(":") if group]
    return text != "::1" and len(groups) < 4 and max(map(len, groups)) < 3


def _ip(match: re.Match[str]) -> Validation:
    if match["four"]:
        if match["more"]:
            return dropped("part of a longer number or name", skip=True)
        if not address(match["four"]):
            return dropped("a number above 255", skip=True)
        return found(*match.span("four"))
    if not address(match["six"]):
        return dropped("no address of IPv6", skip=True)
    return dropped("a slice of a list", skip=True) if _is_slice(match["six"]) else found(*match.span("six"))


def _mac(match: re.Match[str]) -> Validation:
    digits = re.sub(r"[^0-9A-Fa-f]", "", match["mac"]).lower()
    if len(set(digits)) == 1:
        return dropped("the same digit throughout", skip=True)
    return found(*match.span("mac"))


_URL = (
    rf"{NOT_BEHIND}{EMPHASIS}(?P<url>(?P<scheme>https?|ftp|wss?)://"
    r"(?P<host>[^\s/?#\"'<>()\[\]{}`\\|^:@]{1,200}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::\d{1,5})?(?:[/?#][^\s\"<>`\\^{}|]{0,1500})?)"
)
_CLOSERS = {")": "(", "]": "["}


def _url(match: re.Match[str]) -> Validation:
    end = match.end()
    text = match["url"]
    while text and (text[-1] in ".,;:!?'*_" or _unopened(text)):
        text, end = text[:-1], end - 1
    return found(match.start("url"), end) if len(text) > len(match["scheme"]) + 3 else dropped("no host", skip=True)


def _unopened(text: str) -> bool:
    """Whether it ends with a bracket that belongs to the sentence around it."""
    opening = _CLOSERS.get(text[-1])
    return opening is not None and text.count(text[-1]) > text.count(opening)


IP_ADDRESS = Detector(
    "ip_address",
    "IPv4 and IPv6 addresses",
    fixed(f"{_IPV4}|{_IPV6}", _ip),
    (
        "ping 192.168.0.1.",
        "(10.0.0.255)",
        "2001:db8::8a2e:370:7334",
        "at ::1 it listens",
        "::ffff:192.0.2.1",
        "10.0.0.1:80",
    ),
    (
        "999.1.1.1",
        "version 1.2.3",
        "std::vector",
        "a::b",
        "12:30:45",
        "::",
        "1.2.3.4.5",
        "v1.2.3.4",
        "lib-1.2.3.4-py3",
        "x[1::2]",
    ),
)

MAC_ADDRESS = Detector(
    "mac_address",
    "hardware addresses (MAC, EUI-48)",
    fixed(
        rf"{NOT_BEHIND}(?<![:.-]){EMPHASIS}"
        r"(?P<mac>[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}|"
        rf"[0-9A-Fa-f]{{4}}\.[0-9A-Fa-f]{{4}}\.[0-9A-Fa-f]{{4}}){EMPHASIS}{NOT_BEFORE}(?![:-])",
        _mac,
    ),
    ("00:1A:2b:3c:4D:5e", "the card 00-1a-2b-3c-4d-5e.", "001a.2b3c.4d5e"),
    ("ff:ff:ff:ff:ff:ff", "12:30:45", "00:1A:2b:3c:4D:5e:6f", "00:1A:2b:3c:4D"),
)

URL = Detector(
    "url",
    "addresses of pages (http, https, ftp, ws)",
    fixed(_URL, _url),
    (
        "see https://example.com/a?b=c.",
        "http://[::1]:8080/x",
        "ftp://files.example.org",
        "https://en.wikipedia.org/wiki/A_(b)",
    ),
    ("http:", "https:// and no more", "example.com", "file:///etc/passwd"),
)
