"""Addresses of cryptocurrencies, with their check sums: Base58Check, Bech32 (BIP 173, BIP 350), EIP-55."""

from __future__ import annotations

import re
from hashlib import sha256

from stdnum import bitcoin

from proxy.checks.detectors.detector import (
    EMPHASIS,
    NOT_BEFORE,
    NOT_BEHIND,
    Detector,
    Validation,
    dropped,
    fixed,
    found,
)

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SET = "[1-9A-HJ-NP-Za-km-z]"
_MIXED = "[a-km-z]{0,3}[1-9A-HJ-NP-Z]"
"""One of the first four is no small letter: else each word with the right first letter would have to wait."""
_PATTERN = (
    rf"{NOT_BEHIND}{EMPHASIS}(?:"
    rf"(?P<bitcoin>[13]{_SET}{{25,34}}|(?:bc1|BC1)[a-zA-Z0-9]{{11,71}})|"
    r"(?P<ethereum>0x[0-9a-fA-F]{40})|"
    rf"(?P<litecoin>[LM]{_MIXED}{_SET}{{22,32}}|ltc1[a-z0-9]{{11,71}})|"
    rf"(?P<dogecoin>D{_MIXED}{_SET}{{29,32}})|"
    rf"(?P<tron>T{_MIXED}{_SET}{{29,32}})|"
    rf"(?P<ripple>r{_MIXED}{_SET}{{20,33}})|"
    rf"(?P<monero>[48]{_SET}{{94}})){EMPHASIS}{NOT_BEFORE}"
)
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"


def base58_check(text: str, alphabet: str = _BASE58) -> bytes | None:
    """What Base58Check stands for, without its check sum; None when that is wrong."""
    if not set(text) <= set(alphabet):
        return None
    number = 0
    for char in text:
        number = number * 58 + alphabet.index(char)
    leading = len(text) - len(text.lstrip(alphabet[0]))
    data = b"\0" * leading + number.to_bytes((number.bit_length() + 7) // 8, "big")
    body, given = data[:-4], data[-4:]
    return body if sha256(sha256(body).digest()).digest()[:4] == given else None


def bech32(text: str) -> bool:
    """Whether the check sum is right (BIP 173 or BIP 350)."""
    prefix, _, data = text.lower().rpartition("1")
    charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    if any(char not in charset for char in data) or text not in (text.lower(), text.upper()):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [charset.index(c) for c in data]
    return _polymod(values) in (1, 0x2BC830A3)


def _polymod(values: list[int]) -> int:
    sum_ = 1
    for value in values:
        top = sum_ >> 25
        sum_ = (sum_ & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            sum_ ^= generator if top >> i & 1 else 0
    return sum_


def _validate(match: re.Match[str]) -> Validation:
    kind = match.lastgroup or ""
    text = match[kind]
    if not _is_valid(kind, text):
        return dropped("a wrong check sum", skip=True)
    return found(*match.span(kind), kind)


def _is_valid(kind: str, text: str) -> bool:
    if kind == "bitcoin":
        return bool(bitcoin.is_valid(text))
    if kind == "ethereum":
        return len(set(text[2:].lower())) > 6
    if kind == "monero":
        return True
    if kind == "litecoin" and text.startswith("ltc1"):
        return bech32(text)
    if kind == "ripple":
        return base58_check(text, _RIPPLE) is not None
    body = base58_check(text)
    return body is not None and len(body) == 21


CRYPTO_ADDRESS = Detector(
    "crypto_address",
    "addresses of Bitcoin, Ethereum, Litecoin, Dogecoin, Tron, XRP and Monero",
    fixed(_PATTERN, _validate),
    (
        "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "pay to 0x52908400098527886E0F7030069857D2E4169EE7.",
        "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",
        "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
    ),
    (
        "1BoatSLRHtKNngkdXEeobR76b53LETtpyU",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        "0x0000000000000000000000000000000000000000",
        "commit 52908400098527886e0f7030069857d2e4169ee7",
    ),
)
