"""Which key a request shows, and what becomes of one that shows none."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from proxy.errors import ClientError, Unauthorized
from proxy.server.keys import key as key_module
from proxy.server.keys.authentication import LONGEST, Authentication
from proxy.server.keys.store import Clock, KeyStore
from tests.server.keys.samples import secret, written


class Hand:
    """A clock whose hands a test moves."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    """Alice may chat, Pat scrapes, Ann administers, Eve's key has expired."""
    ends = {"name": "eve", "expires": "2020-01-01"}
    scraper, admin = {"name": "pat", "scrape": True}, {"name": "ann", "admin": True}
    found = KeyStore(written(tmp_path / "keys.yaml", {"name": "alice"}, scraper, admin, ends))
    found.load()
    return found


def shows(name: str, header: bytes = b"authorization") -> dict[bytes, bytes]:
    """The header of a request."""
    prefix = "Bearer " if header == b"authorization" else ""
    return {header: f"{prefix}{secret(name)}".encode()}


@pytest.mark.parametrize("header", [b"authorization", b"x-api-key"])
def test_a_key_is_shown_in_either_header(store: KeyStore, header: bytes) -> None:
    """As OpenAI's clients do it, and as Anthropic's do."""
    found = Authentication(store).key_of(shows("alice", header))
    assert found is not None
    assert found.name == "alice"


def test_the_scheme_is_read_in_any_case(store: KeyStore) -> None:
    """RFC 9110, section 11.1."""
    assert Authentication(store).key_of({b"authorization": f"bEARER   {secret('alice')} ".encode()}) is not None


def test_of_two_keys_the_valid_one_counts(store: KeyStore) -> None:
    """Some clients send both headers, one of them with a placeholder."""
    headers = {b"authorization": b"Bearer none", **shows("alice", b"x-api-key")}
    assert Authentication(store).key_of(headers) is not None


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "A key is needed"),
        ({b"authorization": b"Basic YTpi"}, "A key is needed"),
        ({b"authorization": b"Bearer "}, "A key is needed"),
        ({b"x-api-key": b"wrong"}, "not valid"),
        ({b"x-api-key": b"\xff\x00"}, "not valid"),
        ({b"x-api-key": b"k" * (LONGEST + 1)}, "not valid"),
        (shows("eve"), "expired"),
    ],
)
def test_a_request_without_a_valid_key_is_refused(store: KeyStore, headers: dict[bytes, bytes], message: str) -> None:
    """401 with the scheme that is wanted."""
    with pytest.raises(Unauthorized, match=message) as caught:
        Authentication(store).key_of(headers)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert (b"www-authenticate", b"Bearer") in caught.value.headers


def test_without_keys_nobody_is_asked() -> None:
    """Whatever a client sends as its key: many apps need one to be set."""
    assert Authentication().key_of({b"authorization": b"Bearer none"}) is None


def test_a_key_for_scraping_does_not_chat(store: KeyStore) -> None:
    """403: it is known, and for something else."""
    with pytest.raises(ClientError, match="opens /metrics only") as caught:
        Authentication(store).key_of(shows("pat"))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("name", "scrape", "opens"),
    [("ann", False, True), ("ann", True, True), ("pat", True, True), ("pat", False, False), ("alice", True, False)],
)
def test_who_opens_the_admin_listener(store: KeyStore, name: str, scrape: bool, opens: bool) -> None:
    """An admin key everything, a key for scraping the metrics, any other nothing."""
    assert Authentication(store).opens(shows(name), "", scrape=scrape) is opens


def test_every_key_is_compared_and_in_constant_time(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind the one that fits, by hmac.compare_digest."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(key_module, "compare_digest", compare)
    Authentication(store).key_of(shows("alice"))
    assert compared == [key.digest for key in store.current.keys]


def test_ten_thousand_wrong_keys_are_two_lines(store: KeyStore, caplog: pytest.LogCaptureFixture) -> None:
    """A minute of them: each is counted, none is remembered, and the log has one line a minute that counts them."""
    clock = Hand()
    authentication = Authentication(store, clock=clock)
    before = set(vars(authentication))
    with caplog.at_level(logging.WARNING, "safety_proxy.keys"):
        for number in range(10_000):
            clock.now += 0.006
            with pytest.raises(Unauthorized):
                authentication.key_of({b"x-api-key": b"wrong-%d" % number}, "192.0.2.7")
        clock.now += 60
        with pytest.raises(Unauthorized):
            authentication.key_of({}, "192.0.2.7")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("1 request refused since the last such line, the latest for its key (wrong), from 192")
    assert lines[1].startswith("10000 requests refused")
    assert authentication.refused["wrong"] == 10_000
    assert set(vars(authentication)) == before
    assert "wrong-1" not in caplog.text


def test_an_expired_key_stays_expired_when_the_clock_is_set_back(tmp_path: Path) -> None:
    """What counts is the later of the time of day and what has passed since the keys were read."""
    wall, elapsed = Hand(), Hand(0.0)
    path = written(tmp_path / "keys.yaml", {"name": "alice", "expires": "1970-01-12T13:48:00Z"})  # in 80 seconds
    store = KeyStore(path, lambda: Clock(wall, elapsed))
    (key,) = store.load().keys
    assert not store.is_expired(key)
    wall.now += 100
    elapsed.now += 100
    assert store.is_expired(key)
    wall.now -= 50_000
    assert store.is_expired(key)


def test_a_clock_that_jumps_ahead_and_back_does_no_lasting_harm(tmp_path: Path) -> None:
    """While it is wrong the key has expired; then it is valid again, because its time has not come."""
    wall, elapsed = Hand(), Hand(0.0)
    path = written(tmp_path / "keys.yaml", {"name": "alice", "expires": "1970-01-12T13:48:00Z"})
    store = KeyStore(path, lambda: Clock(wall, elapsed))
    (key,) = store.load().keys
    wall.now += 1e6
    assert store.is_expired(key)
    wall.now -= 1e6
    assert not store.is_expired(key)
