"""What every test shares."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.policies import COPY_OF

LONGEST: Final = (
    "tests/matching/test_exactness.py",
    "tests/sdk/test_clients.py",
    "tests/e2e/test_markers.py",
    "tests/census/test_census_answers.py",
)
"""They run first, each on one worker: else the last of them runs alone while the other worker is done."""

# How long an example takes says how busy the machine is, and nothing of what the example is about.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of these tests."""
    parser.addoption("--stock-uvicorn", action="store_true", help="the front's tests on uvicorn without our protocol")
    parser.addoption("--plain-loop", action="store_true", help="on asyncio's own event loop, as on Windows")


@pytest.fixture(scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Async tests run on asyncio with uvloop, as the proxy does where there is one."""
    return ("asyncio", {"use_uvloop": not request.config.getoption("--plain-loop")})


@pytest.fixture(scope="module", autouse=True)
def _left_alone() -> None:
    """What is alive before a file's tests, as thousands of collected tests, no garbage collection looks at again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; all else stays in its order."""
    places = {path: place for place, path in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The census in one line: what was planted, and in how many tests something of it arrived; and edited policies."""
    reports = [
        report for kind in terminalreporter.stats.values() for report in kind if isinstance(report, pytest.TestReport)
    ]
    rows = [
        (report.nodeid, value) for report in reports for key, value in report.user_properties if key == "census_rows"
    ]
    if rows:
        tests = {name for name, _ in rows}
        leaks = sum(report.failed and report.nodeid in tests for report in reports)
        terminalreporter.write_line(f"census: {sum(int(str(value)) for _, value in rows)} rows, {leaks} leaks")
    if edited := edited_policies():
        names = ", ".join(edited)
        terminalreporter.write_line(f"policies/ is not as its copies in tests/data, which the tests run under: {names}")


def edited_policies() -> list[str]:
    """The shipped policies that an operator has made his own since, or a developer has not copied yet."""
    return [shipped.name for copy, shipped in COPY_OF.items() if _rules(copy) != _rules(shipped)]


def _rules(path: Path) -> str:
    """A policy without line 1, which says where the schema lies from here."""
    return path.read_text("utf-8").partition("\n")[2] if path.exists() else ""
