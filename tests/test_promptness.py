"""A test of a promise in milliseconds may be late twice, and may be wrong not once."""

from __future__ import annotations

import pytest

from tests.promptness import AT_ONCE, TRIES, LateError, assert_at_once, timely


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
