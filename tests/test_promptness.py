"""A test of a promise in milliseconds may be late twice, and may be wrong not once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import promptness
from tests.promptness import AT_ONCE, TRIES, LateError, assert_at_once, timely


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which nobody has to wait."""
    (tmp_path / "schedstat").write_text("1 0 1")
    monkeypatch.setattr(promptness, "SCHEDULING", tmp_path / "schedstat")


def test_time_in_which_nobody_let_us_run_is_no_lateness(tmp_path: Path) -> None:
    """The kernel counts it."""
    waits = iter([0, 2])

    @timely
    def promise() -> None:
        waited = int((next(waits) + 1) * 1e9)
        (tmp_path / "schedstat").write_text(f"1 {waited} 1")
        assert_at_once(AT_ONCE + 1.5)

    promise()
    assert list(waits) == []


@pytest.mark.parametrize("late", range(TRIES + 1))
def test_late_twice_is_forgiven(late: int) -> None:
    """The third time is the last."""
    took = [AT_ONCE] * late + [0.0] * TRIES

    @timely
    def promise() -> None:
        assert_at_once(took.pop(0))

    if late == TRIES:
        with pytest.raises(LateError):
            promise()
    else:
        promise()


@pytest.mark.anyio
@pytest.mark.parametrize("error", [LateError, AssertionError])
async def test_whatever_else_is_wrong_fails_at_once(error: type[AssertionError]) -> None:
    """Only lateness is tried again; async tests are like others."""
    tries = 0

    @timely
    async def promise() -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(error):
        await promise()
    assert tries == (TRIES if error is LateError else 1)
