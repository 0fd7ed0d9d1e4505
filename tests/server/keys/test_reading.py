"""keys.yaml: what is read, and what is said of a wrong one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.errors import KeysError
from proxy.policy.document import Source
from proxy.server.keys.key import KeyLimits
from proxy.server.keys.reading import MOST_KEYS, expiry, read_keys
from tests.server.keys.samples import digest

ONE = f"version: 1\nkeys:\n  - name: alice\n    sha256: '{digest('alice')}'\n"


def problems(text: str) -> list[str]:
    """What is wrong, as lines."""
    with pytest.raises(KeysError) as caught:
        read_keys(Source("keys.yaml", text.encode()))
    return caught.value.problems


def test_a_key_needs_a_name_and_a_digest() -> None:
    """All else has a default: any model, no policy of its own, no limit, no end."""
    (key,) = read_keys(Source("keys.yaml", ONE.encode())).keys
    assert (key.name, key.digest.hex()) == ("alice", digest("alice"))
    assert (key.admin, key.scrape, key.policies) == (False, False, ())
    assert key.expires is None
    assert key.limits == KeyLimits()
    assert key.allows("anything")


def test_everything_that_a_key_can_have() -> None:
    """Each key of the file reaches the server."""
    text = ONE + (
        "    policies: [strict]\n    models: ['llama3*', qwen]\n    admin: true\n    expires: '2027-01-31'\n"
        "    limits: {streams: 2, requests_per_minute: 60, tokens_per_minute: 5000, max_body: 1000}\n"
    )
    (key,) = read_keys(Source("keys.yaml", text.encode())).keys
    assert (key.policies, key.admin, key.limits) == (("strict",), True, KeyLimits(2, 60, 5000, 1000))
    assert key.expires == datetime(2027, 2, 1, tzinfo=UTC).timestamp()
    assert [key.allows(name) for name in ("LLAMA3.2:latest", "library/qwen", "gemma")] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "keys.yaml: the file is empty: write a file of keys into it or remove it"),
        ("[1]", "keys.yaml:1:1: a file of keys is a mapping of keys: start with `version: 1` and `keys:`"),
        ("version: 1\nkeys: []\n", "keys.yaml:2:7: `keys` is an empty list: fill it or leave the key out"),
        ("version: 2\nkeys: []\n", "keys.yaml:1:10: `2` cannot be `version`: possible: 1"),
        (ONE + "    modells: [a]\n", "keys.yaml:5:5: key alice: unknown key `modells`: did you mean `models`?"),
        (ONE + "    admin: yes\n", "keys.yaml:5:12: key alice: `admin` has to be true or false: without quotes"),
        (ONE + "    expires: 2027-01-31\n", "keys.yaml:5:14: key alice: text is expected, but YAML reads 2027-01-31 as a date: quote it: '2027-01-31'"),  # noqa: E501
        (ONE + "    expires: tomorrow\n", "keys.yaml:5:14: key alice: `tomorrow` is no time: write a date"),
        (ONE + "    expires: '2027-01-31T10:00:00'\n", "key alice: `2027-01-31T10:00:00` has no zone: write a date"),
        (ONE + "    limits: {streams: 0}\n", "key alice: 0 is out of range: `streams` is a whole number from 1"),
        (ONE + ONE.partition("keys:\n")[2], "keys.yaml:5:11: key alice: the same `name` as on line 3: each key has"),
        (ONE + f"  - name: bob\n    sha256: '{digest('alice')}'\n", "key bob: the same `sha256` as on line 4: make a"),
        (ONE + "    scrape: true\n    admin: true\n", "keys.yaml:6:12: key alice: `admin` beside `scrape`: a key for"),
        (ONE + "    scrape: true\n    limits: {streams: 1}\n", "`limits` beside `scrape`"),
        (ONE.replace(digest("alice"), "secret"), "key alice: `secret` cannot be `sha256`: it has to fit the pattern"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_its_place(text: str, line: str) -> None:
    """File, line, column, the key's name, the reason and the fix."""
    assert line in "\n".join(problems(text))


def test_there_are_not_too_many_keys() -> None:
    """Each request is compared with all of them."""
    keys = "".join(f"  - name: k{i}\n    sha256: '{i:064x}'\n" for i in range(MOST_KEYS + 1))
    assert problems(f"version: 1\nkeys:\n{keys}") == [
        "keys.yaml:3:3: 1001 keys, 1000 at most are possible: one key for a group of clients will do"
    ]


def test_a_key_is_valid_to_the_end_of_its_day() -> None:
    """In UTC; a time of day has its zone."""
    assert expiry("2027-01-31") == expiry("2027-02-01T00:00:00Z") == expiry("2027-02-01T01:00:00+01:00")
    with pytest.raises(ValueError, match="is no time"):
        expiry("2027-02-30")
