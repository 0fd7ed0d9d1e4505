"""Detectors on texts from public bug reports, and the default policies in front of an agent.

d01: an e-mail detector took file names and names of services for addresses. d08: a card detector masked a UUID.
d12: a key detector took a CSS class for a key. n03: the address of a repository reached the shell as a label.
"""

from __future__ import annotations

import json
from functools import cache

import pytest

from proxy.core.gate import Gate
from proxy.core.types import Direction, Kind
from proxy.policy.policyset import PolicySet
from tests.leaks.attack import policies
from tests.policies import default

CLONE = "git clone git@github.com:org/repo.git"
SPLITS = (1, 2, 3, 7, 1000)


@cache
def detecting(detector: str) -> PolicySet:
    """A policy with this detector alone."""
    return policies(f"{{id: found, detector: {detector}, action: rewrite, replacement: '[found]'}}")


def shown(rules: PolicySet, text: str, size: int, kind: Kind = Kind.CONTENT) -> str:
    """What a client gets of an answer that comes in chunks of `size` characters."""
    gate = Gate(rules.plan(Direction.OUTPUT, model="m").checks(kind))
    return "".join(gate.feed(text[i : i + size]) for i in range(0, len(text), size)) + gate.feed("", final=True)


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize("text", ["see assets/icon@2x.png", "systemctl restart getty@tty1.service"])
def test_d01_file_names_and_services_are_no_addresses(text: str, size: int) -> None:
    """They pass unchanged; a real address beside them is found."""
    assert shown(detecting("email"), text, size) == text
    assert shown(detecting("email"), f"{text} or bob@example.com", size) == f"{text} or [found]"


@pytest.mark.parametrize("size", SPLITS)
def test_d08_a_uuid_is_no_card(size: int) -> None:
    """It passes unchanged; a real number beside it is found."""
    uuid = "47223179-9330-4259-b66c-f2db26efb20c"
    assert shown(detecting("credit_card"), uuid, size) == uuid
    card = "4111 1111 1111 " + "1111"
    assert shown(detecting("credit_card"), f"{uuid}, {card}.", size) == f"{uuid}, [found]."


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize("detector", ["api_key", "secrets"])
def test_d12_a_css_class_is_no_key(detector: str, size: int) -> None:
    """It passes unchanged; a real key beside it is found."""
    text = "div.sk-toggleable__label-arrow:before {}"
    assert shown(detecting(detector), text, size) == text
    key = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    assert shown(detecting(detector), f"{text} {key} ", size) == f"{text} [found] "


@pytest.mark.parametrize("size", SPLITS)
def test_n03_an_agents_call_reaches_the_shell_as_it_was(size: int) -> None:
    """The default policies leave the arguments of a call alone, and so does a rule for addresses."""
    call = json.dumps({"command": CLONE})
    for kind in (Kind.TOOL_ARGUMENTS, Kind.CONTENT):
        assert shown(default(), call, size, kind) == call
        assert shown(detecting("email"), call, size, kind) == call


@pytest.mark.parametrize("size", SPLITS)
def test_c05_a_rewrite_in_code_takes_nothing_with_it(size: int) -> None:
    """An agent writes files: the quote before an address stays, and what only looks like an address stays whole."""
    code = "AUTHOR = 'bob@example.com'\nICON = \"icon@2x.png\"\nREPO = `git@github.com:a/b.git`\n"
    hidden = code.replace("bob@example.com", "[found]")
    for kind in (Kind.TOOL_ARGUMENTS, Kind.CONTENT):
        assert shown(detecting("email"), code, size, kind) == hidden
        assert shown(default(), code, size, kind) == code
