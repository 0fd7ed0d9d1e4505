"""The census counts: every row is an exchange in which something was planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.census.driving import TAKEN


@pytest.fixture(autouse=True)
def _counted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """How many rows a test has tried, for the last line of the run."""
    before = TAKEN[0]
    yield
    if TAKEN[0] > before:
        record_property("census_rows", TAKEN[0] - before)
