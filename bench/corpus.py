"""Text, rules and words for the benches: English prose, cut as a model's tokens are, and policies of any size."""

from __future__ import annotations

import random
import re
from functools import cache
from pydoc_data.topics import topics

PII = {
    "phone": r"(?<!\d)(?:\+?1[-. ]?)?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)",
    "ssn": r"\b\d{3}-\d{2}-\d{4}\b",
    "card": r"\b(?:\d[ -]?){12,18}\d\b",
    "ip": r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "aws": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "github": r"\bgh[pousr]_[A-Za-z0-9]{36}\b",
    "jwt": r"\beyJ[A-Za-z0-9_-]{10,200}\.[A-Za-z0-9_-]{10,500}\.[A-Za-z0-9_-]{10,100}",
    "key": r"(?i)\b(?:api[_-]?key|secret|token|password)\s{0,3}[:=]\s{0,3}['\"]?[\w-]{8,64}",
}
EMAIL = r"(?<![\w.+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"


@cache
def prose() -> str:
    """English text: the documentation that comes with every Python."""
    return re.sub(r"[ \t]{2,}", " ", "\n".join(topics[name] for name in sorted(topics)))


@cache
def vocabulary() -> list[str]:
    """The words of the text."""
    return sorted(set(re.findall(r"[a-z]{4,12}", prose().lower())))


@cache
def tokens(count: int) -> list[str]:
    """The text in pieces as of a model: a word with its blank, long words in parts; 4.3 characters on average."""
    rng = random.Random(1)
    out: list[str] = []
    for word in re.findall(r"\s?\S+|\s+", prose()):
        while len(word) > 7:
            length = rng.choice((3, 4, 5))
            out.append(word[:length])
            word = word[length:]
        out.append(word)
        if len(out) >= count:
            break
    return out[:count]


def phrases(count: int) -> list[str]:
    """Patterns for phrases, of words that the text is full of."""
    rng = random.Random(7)
    shapes = [
        lambda w: rf"(?i)\bhow (?:to|do (?:i|you)) {w[0]} (?:an? |the )?{w[1]}\b",
        lambda w: rf"(?i)\b{w[0]}\s+(?:{w[1]}|{w[2]}|{w[3]})s?\b",
        lambda w: rf"(?i)\b{w[0]}\b.{{0,20}}\b{w[1]}\b",
        lambda w: rf"(?i)\b(?:{w[0]}|{w[1]})[ _-]?(?:{w[2]}|{w[3]})\b",
        lambda w: rf"(?i){w[0]}(?:ing|ed|er)? (?:my|your|his|her|their) {w[1]}",
    ]
    return [rng.choice(shapes)([rng.choice(vocabulary()) for _ in range(4)]) for _ in range(count)]


def rules(count: int) -> list[str]:
    """A policy: personal data first, then phrases."""
    return [*PII.values(), EMAIL, *phrases(count - len(PII) - 1)]


def words(count: int) -> list[str]:
    """A word list: pairs of words of the text, and words that nobody knows."""
    rng = random.Random(3)
    out: set[str] = set()
    while len(out) < count:
        if rng.random() < 0.5:
            out.add(" ".join(rng.sample(vocabulary(), rng.choice((2, 2, 3)))))
        else:
            tail = (rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.choice((2, 3))))
            out.add(rng.choice(vocabulary()) + "".join(tail))
    return sorted(out)
