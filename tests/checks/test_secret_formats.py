"""Every format of the table is found, alone in a sentence and in a stream, and behind the name of a key."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from zlib import crc32

import pytest

from proxy.checks.detectors import DETECTORS, Options, detector_pass
from proxy.checks.detectors.formats import AMBIGUOUS, FORMATS, Format
from proxy.checks.detectors.secrets import UNIQUE, entropy, github_sum, is_placeholder, looks_random
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher
from proxy.matching.syntax import parse
from proxy.matching.tree import Chars, Choice, Node, Repeat, Sequence
from tests.laws import check_laws

TIGHT = [one for one in FORMATS if one.name not in AMBIGUOUS]
PLAIN = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Dice:
    """Numbers that look like chance, and are the same each time."""

    def __init__(self, seed: str) -> None:
        self._seed, self._count = seed, 0

    def below(self, most: int) -> int:
        """From 0 on."""
        self._count += 1
        return int.from_bytes(sha256(f"{self._seed}{self._count}".encode()).digest()[:4], "big") % most


def made(node: Node, dice: Dice) -> str:
    """A text that a pattern matches, of its shortest length or a little more."""
    if isinstance(node, Chars):
        codes = [code for first, last in node.set.ranges for code in range(first, min(last, 0x7E) + 1)]
        plain = [code for code in codes if chr(code) in PLAIN] or codes
        return chr(plain[dice.below(len(plain))])
    if isinstance(node, Repeat):
        return "".join(made(node.body, dice) for _ in range(node.low))
    if isinstance(node, Sequence):
        return "".join(made(part, dice) for part in node.parts)
    if isinstance(node, Choice):
        return made(node.branches[dice.below(len(node.branches))], dice)
    return ""


def example(one: Format) -> str:
    """A key of this format that nobody ever issued."""
    tries = (made(parse(one.pattern).root, Dice(f"{one.name}{i}")) for i in range(50))
    return next(
        text for text in tries if any(map(str.isdigit, text)) and (one.name in UNIQUE or not is_placeholder(text))
    )


@cache
def matcher(name: str = "secrets", action: Action = Action.REWRITE) -> Matcher:
    """The detector alone."""
    return Matcher([], others=[detector_pass(DETECTORS[name], Rule("p", "r", action))])


def shown(text: str, name: str = "secrets") -> str:
    """What is let out."""
    return Gate([matcher(name)]).feed(text, final=True)


def test_there_are_formats_of_150_providers() -> None:
    """As the docs say, each under a name of its own."""
    assert len({one.provider for one in FORMATS}) >= 150
    assert len({one.name for one in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("one", TIGHT, ids=lambda one: one.name)
def test_a_key_in_a_sentence_is_found(one: Format) -> None:
    """By its form alone, and nothing around it goes with it."""
    assert shown(f"Sure, here it is: {example(one)} and keep it safe.") == (
        "Sure, here it is: [removed] and keep it safe."
    )
    assert shown(example(one), "api_key") == "[removed]"


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_a_key_behind_a_name_is_found(one: Format) -> None:
    """Also where the form alone says too little."""
    secret = example(one)
    assert secret not in shown(f'export MY_API_KEY="{secret}"\n')


@pytest.mark.parametrize("one", TIGHT, ids=lambda one: one.name)
def test_a_key_is_found_however_it_is_cut(one: Format) -> None:
    """Not one character of it is let out."""
    text = f"a {example(one)}. b"
    check_laws(matcher(), text, 0b1010011001 << 2)


@pytest.mark.parametrize("one", TIGHT, ids=lambda one: one.name)
def test_a_rule_can_ask_for_one_format(one: Format) -> None:
    """`only: [name]` finds it."""
    made_pass = detector_pass(DETECTORS["secrets"], Rule("p", "r", Action.REWRITE), Options(frozenset((one.name,))))
    assert Gate([Matcher([], others=[made_pass])]).feed(example(one), final=True) == "[removed]"


@pytest.mark.parametrize(
    "text",
    [
        "sk-" + "learn-compatible-estimators-for-everyone",
        "sk-" + "toggleable__label-arrow",
        "sk-" + "container-id-1-and-its-children",
        "ghp_" + "x" * 36,
        "glpat-" + "this-is-where-your-token-goes",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "TODAYINASIA" + "ASACKOFRICEFELLOVER",
        "api_key = get_key_from_environment_v2()",
        "token: ${GITHUB_TOKEN}",
        "password: '********'",
        "secret = settings.SECRET_KEY",
        "redis://:" + "password@localhost:6379/0",
        "auth_token: null",
        "authToken = tokenStorage.readFromKeychain2()",
        "the token_type is bearer",
    ],
)
def test_words_and_placeholders_are_no_secrets(text: str) -> None:
    """What documents and code write in the place of a secret, and names that begin like one."""
    assert shown(text) == text


def test_githubs_check_sum() -> None:
    """The last six characters are the CRC-32 of the others, in base 62."""
    body = "a1B2c3D4e5" * 3
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        digits = PLAIN[rest] + digits
    assert github_sum("ghp_" + body + digits)
    assert not github_sum("ghp_" + body + digits[::-1] + "0")


def test_githubs_newer_installation_tokens() -> None:
    """Stateless ones carry a signed token behind the number of the app."""
    part = sha256(b"x").hexdigest()
    token = f"ghs_12345_eyJ{part}.eyJ{part}.{part}{part}"
    assert shown(f"use {token} now") == "use [removed] now"


@pytest.mark.parametrize(
    ("text", "random"),
    [
        ("a1B2c3D4e5F6g7H8", True),
        ("862e727561ecfe11a9f23ae754eb8666", True),
        ("2024-05-06-release-notes", False),
        ("v1-alpha2-beta3-gamma4", False),
        ("ReactNativeCameraKit2", False),
    ],
)
def test_what_chance_has_made(text: str, random: bool) -> None:
    """Letters and digits in turn, within pieces that are no words."""
    assert looks_random(text) is random


def test_entropy_is_in_bits() -> None:
    """Two characters in turn have one bit each."""
    assert entropy("abab") == 1.0
