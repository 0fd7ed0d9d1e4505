"""Failures that come again and again are logged once a minute."""

from __future__ import annotations

import pytest

from proxy.errors import UpstreamBroken, UpstreamTimeout
from proxy.server.handlers.failure_log import AGAIN_AFTER, MAX_PLACES, FailureLog

PLACE = "GET http://127.0.0.1:1/v1/models"
BROKEN = UpstreamBroken("status 404", "status_4xx")


class Clock:
    """Time that a test makes pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_same_failure_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """With the place and the status."""
    clock = Clock()
    failures = FailureLog(clock)
    for _ in range(3):
        for _ in range(5):
            failures.failed(PLACE, BROKEN)
        clock.now += AGAIN_AFTER
    assert caplog.messages == [f"{PLACE}: status 404 (status_4xx)"] * 3


def test_another_failure_and_another_place_are_news(caplog: pytest.LogCaptureFixture) -> None:
    """Each path of each model server has its own."""
    failures = FailureLog(Clock())
    for place, error in ((PLACE, BROKEN), (PLACE, UpstreamTimeout("slow", "timeout")), ("GET other", BROKEN)):
        failures.failed(place, error)
        failures.failed(place, error)
    assert len(caplog.messages) == 3


def test_after_a_success_the_next_failure_is_news(caplog: pytest.LogCaptureFixture) -> None:
    """It was served in between."""
    failures = FailureLog(Clock())
    for _ in range(2):
        failures.failed(PLACE, BROKEN)
        failures.went_well(PLACE)
    assert len(caplog.messages) == 2


def test_it_does_not_grow() -> None:
    """Clients may ask for any number of names."""
    failures = FailureLog(Clock())
    for number in range(3 * MAX_PLACES):
        failures.failed(f"GET {number}", BROKEN)
    assert len(failures._logged) <= MAX_PLACES
