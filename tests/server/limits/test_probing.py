"""Whoever tries again and again what is blocked has to wait."""

from __future__ import annotations

import pytest

from proxy.errors import TooMany
from proxy.server.limits.probing import MOST, Probing
from tests.server.keys.test_authentication import Hand


def test_after_so_many_in_a_minute_one_waits() -> None:
    """429 with the rest of the time; then it is over, and the count begins anew."""
    clock = Hand(100.0)
    probing = Probing(3, 300.0, clock)
    assert [probing.blocked("key:a") for _ in range(3)] == [False, False, True]
    clock.now += 100
    with pytest.raises(TooMany, match="this key has to wait for 200 s") as caught:
        probing.check("key:a")
    assert caught.value.headers == [(b"retry-after", b"200")]
    probing.check("key:b")
    clock.now += 200
    probing.check("key:a")
    assert not probing.blocked("key:a")
    assert (probing.cooled, probing.refused) == (1, 1)


def test_slow_tries_are_no_probing() -> None:
    """What counts is how many fall into one minute."""
    clock = Hand(0.0)
    probing = Probing(3, 300.0, clock)
    for _ in range(20):
        clock.now += 31
        assert not probing.blocked("client:192.0.2.7")
    probing.check("client:192.0.2.7")


def test_by_default_nobody_waits() -> None:
    """0: nothing is remembered."""
    probing = Probing(0, 300.0)
    assert not any(probing.blocked("key:a") for _ in range(100))
    assert len(probing._tries) == 0


def test_what_is_remembered_is_bounded() -> None:
    """Those who were seen last stay."""
    probing = Probing(2, 300.0, Hand(0.0))
    for number in range(MOST + 10):
        probing.blocked(f"client:{number}")
    assert len(probing._tries) == MOST
    assert f"client:{MOST + 9}" in probing._tries
