"""What every test shares."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on asyncio with uvloop, as the proxy does."""
    return ("asyncio", {"use_uvloop": True})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The census in one line: what was planted, and in how many tests something of it arrived."""
    reports = [
        report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "user_properties")
    ]
    rows = [
        (report.nodeid, value) for report in reports for key, value in report.user_properties if key == "census_rows"
    ]
    if rows:
        tests = {name for name, _ in rows}
        leaks = sum(report.failed and report.nodeid in tests for report in reports)
        terminalreporter.write_line(f"census: {sum(int(str(value)) for _, value in rows)} rows, {leaks} leaks")
