"""The census counts: every row is an exchange in which something was planted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.census.driving import TAKEN


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many rows a test has tried, for the last line of the run (`record_property` warns under --junitxml)."""
    before = TAKEN[0]
    yield
    if TAKEN[0] > before:
        request.node.user_properties.append(("census_rows", TAKEN[0] - before))
