"""The survey that all tests of this folder look at: every client is asked every case once, for the whole session."""

from __future__ import annotations

import importlib.util

import pytest

from tests.sdk import npm
from tests.sdk.asking import Case, Told, Way
from tests.sdk.survey import Results, survey


class Survey:
    """What the clients told, and why some did not."""

    def __init__(self, results: Results, node_missing: str) -> None:
        self.results = results
        self.node_missing = node_missing

    def told(self, way: Way, case: Case) -> Told:
        """One way's answer to one case; the test is skipped where the way cannot be taken."""
        if way.node and self.node_missing:
            pytest.skip(self.node_missing)
        return self.results[way.name, case.name]


@pytest.fixture(scope="session")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """Skips where the wheel with the llama.cpp server does not exist for this platform."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp has no wheel for this platform, so there is no real llama.cpp server to test on")
    missing = npm.missing()
    return Survey(survey(tmp_path_factory.mktemp("sdk"), node=not missing), missing)
