"""Cases from the field, rebuilt: the suite itself. It passes on a busy machine, and after an operator has made it his.

The ids are those of the table of cases; each docstring says what is right.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.waiting import PATIENCE

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
README = (ROOT / "README.md").read_text("utf-8")
LEAST_PATIENCE = 30  # seconds

MAY_REST = ("waiting.py",)
"""Here the suite's ways to wait are made."""
TELLS_THE_TIME = (
    *("waiting.py", "fakes/connection.py", "server/running.py", "e2e/llama_server.py"),
    "sdk/python_driver.py",
)
"""Helpers that note when something happened, or bound a wait with it."""

CLOCKS = {"monotonic", "perf_counter", "monotonic_ns", "perf_counter_ns"}
BOUNDS = {"timeout", "within"}


@cache
def sources() -> list[tuple[str, ast.Module]]:
    """Every file of the suite, by its name below tests/."""
    files = {path.relative_to(TESTS).as_posix(): path for path in sorted(TESTS.rglob("*.py"))}
    looked_at = {name: path for name, path in files.items() if not name.startswith("sdk/node/")}
    return [(name, ast.parse(path.read_text("utf-8"))) for name, path in looked_at.items()]


def called(node: ast.Call) -> str:
    """The last part of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def number(node: ast.expr | None) -> float | None:
    """The number that is written there."""
    value = getattr(node, "value", None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def sleeps(tree: ast.AST) -> Iterator[str]:
    """Waiting for a time to pass. `sleep(0)` gives the others their turn."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "sleep" and number(node.args[0]) != 0:
            yield f"line {node.lineno}: it sleeps: wait for the condition (tests.waiting)"


def clocks(tree: ast.AST) -> Iterator[str]:
    """Looking at a clock, to say how long something took."""
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        if name in CLOCKS:
            yield f"line {getattr(node, 'lineno', 0)}: it looks at a clock: own work is measured (tests.waiting)"


def short_bounds(tree: ast.AST) -> Iterator[str]:
    """Giving something up that a busy machine may still bring. What has to be given up is within `raises`."""
    for node in outside_of_raises(tree):
        if not isinstance(node, ast.Call):
            continue
        bounds = [keyword.value for keyword in node.keywords if keyword.arg in BOUNDS]
        if called(node) in ("timeout", "wait_for"):
            bounds += node.args[-1:]
        for bound in bounds:
            seconds = number(bound)
            if seconds is not None and 0 < seconds < LEAST_PATIENCE:
                yield f"line {node.lineno}: {seconds:g} s may be over before it comes: PATIENCE (tests.waiting)"


def outside_of_raises(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that does not stand in a `with pytest.raises(...)`."""
    for node in ast.iter_child_nodes(tree):
        given_up = isinstance(node, ast.With) and any(
            isinstance(item.context_expr, ast.Call) and called(item.context_expr) == "raises" for item in node.items
        )
        if not given_up:
            yield node
            yield from outside_of_raises(node)


def hasty_clients(tree: ast.AST) -> Iterator[str]:
    """httpx gives up after 5 seconds if it is not told otherwise."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if getattr(node.func.value, "id", "") != "httpx" or called(node) not in (
            "Client",
            "AsyncClient",
            "get",
            "post",
        ):
            continue
        named = {keyword.arg for keyword in node.keywords}
        if not named & {"timeout", None} and not _calls_an_application(node):
            yield f"line {node.lineno}: an httpx client with 5 s of patience: tests.plain_http"


def _calls_an_application(node: ast.Call) -> bool:
    """Without a network nothing is waited for."""
    return any(isinstance(k.value, ast.Call) and called(k.value) == "ASGITransport" for k in node.keywords)


def test_suite_no_test_waits_by_the_clock() -> None:
    """No test sleeps, gives up early, or asserts how long something took: at load 8 all of that fails now and then."""
    faults = []
    for name, tree in sources():
        found = [*short_bounds(tree), *hasty_clients(tree)]
        found += [] if name in MAY_REST else sleeps(tree)
        found += [] if name in TELLS_THE_TIME else clocks(tree)
        faults += [f"tests/{name} {fault}" for fault in found]
    assert faults == []


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (sleeps, "asyncio.sleep(0.1)"),
        (sleeps, "time.sleep(pace)"),
        (clocks, "began = time.monotonic()"),
        (clocks, "from time import perf_counter"),
        (short_bounds, "async with asyncio.timeout(5): pass"),
        (short_bounds, "await asyncio.wait_for(work, 2.0)"),
        (short_bounds, "done = subprocess.run(command, timeout=10)"),
        (short_bounds, "await asyncio.wait([asking], timeout=0.2)"),
        (hasty_clients, "with httpx.Client(verify=False) as client: pass"),
        (hasty_clients, "httpx.post(url)"),
    ],
)
def test_suite_each_way_of_waiting_by_the_clock_is_seen(look: object, code: str) -> None:
    """The look at the tests finds what it looks for, and nothing in what is right."""
    assert callable(look)
    body = f"async def test():\n    {code}\n"
    assert len(list(look(ast.parse(body)))) == 1
    right = "async def test():\n    await asyncio.sleep(0)\n    await asyncio.wait_for(work, PATIENCE)\n"
    right += "    with pytest.raises(TimeoutError):\n        await asyncio.wait_for(never, 0.01)\n"
    right += "    async with httpx.AsyncClient(timeout=PATIENCE) as client:\n        pass\n"
    assert list(look(ast.parse(right))) == []


def test_suite_no_example_has_a_deadline() -> None:
    """Hypothesis measures no example, whatever a test sets beside."""
    assert settings.default is not None
    assert settings.default.deadline is None
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) == "settings" and name != "bench/test_wire.py":
                for deadline in [keyword.value for keyword in node.keywords if keyword.arg == "deadline"]:
                    assert isinstance(deadline, ast.Constant), name
                    assert deadline.value is None, name


def test_suite_patience_is_long() -> None:
    """What has to come may take half a minute on a busy machine."""
    assert PATIENCE >= LEAST_PATIENCE


# n06: after an operator's edits


SHIPPED = re.compile(
    r'(?:ROOT|REPOSITORY|parent|parents\[\d\]) */ *"policies"|(?:settings|policies) import .*\bSHIPPED\b'
)


def test_n06_only_tests_about_the_shipped_policies_read_them() -> None:
    """All others have copies of their own (tests/data/policies)."""
    readers = {
        path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py") if SHIPPED.search(path.read_text("utf-8"))
    }
    assert readers == {
        "deploy/test_containers.py",
        "e2e/test_topics.py",
        "policies.py",
        "policy/test_commands.py",
        "policy/test_docs.py",
        "policy/test_shipped.py",
        "server/ops/test_metrics.py",
        "test_package.py",
        "test_settings.py",
    }


def repository(folder: Path) -> Path:
    """A copy of all that the tests of the policies need."""
    for name in ("proxy", "policies", "tests", "docs", "bench", "tools", "fuzz"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules", ".hypothesis")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, symlinks=True)
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / name for name in ("pyproject.toml", "Makefile", "Dockerfile", "LICENSE")),
    ):
        shutil.copy(path, folder)
    return folder


def test_n06_the_tests_pass_after_edits_of_the_policies(tmp_path: Path) -> None:
    """README's `sed -i` on a shipped policy, a file of one's own, one removed: the tests that failed once pass, and so
    do those that look at the shipped policies."""
    folder = repository(tmp_path / "repository")
    (sed,) = re.findall(r"^(sed -i.*) && sleep 1$", README, re.MULTILINE)
    sed = sed.replace("my-policies/demo.yaml", "policies/more/starter.yaml")
    subprocess.run(["bash", "-ec", sed], cwd=folder, check=True, timeout=PATIENCE)
    assert "[address]" in (folder / "policies/more/starter.yaml").read_text("utf-8")
    own = "version: 1\npolicy: own\nrules: [{id: a, words: [b], action: block}]\n"
    (folder / "policies/own.yaml").write_text(own, "utf-8")
    (folder / "policies/secrets.yaml").unlink()  # README copies chat-markers.yaml with `init`
    tests = [
        "tests/policy/test_commands.py",
        "tests/policy/test_docs.py::test_shipped_policies_follow_the_schema_and_name_it",
        "tests/policy/test_shipped.py",
    ]
    tests += ["tests/test_readme.py::test_the_commands_do_what_is_said", "tests/test_settings.py"]
    tests += ["tests/test_cli.py::test_the_demo_needs_no_terminal_and_no_network"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", *tests],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
