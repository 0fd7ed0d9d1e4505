"""The layers of the house, read from the imports: they only go down, and the inner rooms do no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = (
    ("errors",),
    ("core",),
    ("matching",),
    ("checks", "dialects"),
    ("policy", "alignment"),
    ("server", "values"),
    ("demo", "settings"),
    ("cli",),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(LEVELS) for room in rooms}

PURE = ("errors", "core", "matching", "checks", "dialects")
ALSO_PURE = ("demo.script",)
DOES_IO = ("policy.store", "policy.files", "policy.commands")  # the rest of policy is pure
IMPURE = {
    "aiohttp",
    "anyio",
    "asyncio",
    "concurrent",
    "datetime",
    "httpx",
    "httpx_aiohttp",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "prometheus_client",
    "random",
    "secrets",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "starlette",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid",
    "uvloop",
    "watchfiles",
}
NO_ORJSON = ("errors", "core", "matching", "checks")
IO_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint"}
PATH_IO = {"read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "glob", "rglob", "exists", "stat"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the program: its name below `proxy`, and its file."""
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        parts = path.relative_to(ROOT / "proxy").with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module with its line; `from a import b` counts as `a.b` and as `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides its layer"
            assert node.module is not None
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def room_of(module: str) -> str:
    """The room of a module below `proxy`."""
    return module.split(".")[0]


def is_pure(module: str) -> bool:
    """Whether a module has to be pure."""
    inner = room_of(module) in PURE or (room_of(module) == "policy" and module not in DOES_IO)
    return inner or module in ALSO_PURE


def is_impure(name: str) -> bool:
    """Whether an imported module does I/O, tells the time or rolls dice."""
    return any(name == bad or name.startswith(f"{bad}.") for bad in IMPURE)


def layer_faults(module: str, source: str) -> list[str]:
    """Imports of a module that go up, or sideways into another room of the same level."""
    rank = RANK[room_of(module)]
    faults = []
    for name, line in imports(ast.parse(source)):
        if not name.startswith("proxy.") or name == "proxy.__version__":
            continue
        room = room_of(name.removeprefix("proxy."))
        if room not in RANK:
            faults.append(f"proxy.{module}:{line}: {name} has no place in LEVELS")
        elif room != room_of(module) and RANK[room] >= rank:
            faults.append(f"proxy.{module}:{line}: imports {name}, which is not below it")
    return faults


def purity_faults(module: str, source: str) -> list[str]:
    """What a pure module may not do: I/O, clocks, chance, tasks."""
    tree = ast.parse(source)
    faults = [f"proxy.{module}:{line}: imports {name}" for name, line in imports(tree) if is_impure(name)]
    if module.startswith(NO_ORJSON):
        faults += [f"proxy.{module}:{line}: imports {name}" for name, line in imports(tree) if name == "orjson"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            faults.append(f"proxy.{module}:{node.lineno}: is asynchronous")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO_CALLS:
            faults.append(f"proxy.{module}:{node.lineno}: calls {node.func.id}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PATH_IO:
            faults.append(f"proxy.{module}:{node.lineno}: calls .{node.func.attr}")
    return faults


MODULES = dict(modules())
PURE_ONES = [m for m in MODULES if is_pure(m)]


@pytest.mark.parametrize("module", [m for m in MODULES if m])
def test_imports_go_down(module: str) -> None:
    """A module imports from its own room and from levels below, never from above or beside."""
    assert not layer_faults(module, MODULES[module].read_text("utf-8"))


@pytest.mark.parametrize("module", PURE_ONES)
def test_the_inner_rooms_are_pure(module: str) -> None:
    """core, matching, checks, dialects and the pure part of policy neither read nor wait nor look at a clock."""
    assert not purity_faults(module, MODULES[module].read_text("utf-8"))


def test_every_room_has_a_level() -> None:
    """A new room has to be given its place before it can be used."""
    assert {room_of(m) for m in MODULES if m} <= set(RANK)


def test_the_package_itself_imports_nothing() -> None:
    """`import proxy` runs no code of any room, so the version can be read without a dependency."""
    found = [name for name, _ in imports(ast.parse(MODULES[""].read_text("utf-8")))]
    assert set(found) <= {"__future__", "__future__.annotations"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.gate", "from proxy.server import app"),
        ("core.gate", "import proxy.errors\nfrom proxy.policy.schema import Rule"),
        ("checks.words", "from proxy.dialects import base"),
        ("dialects.sse", "from proxy import checks"),
        ("server.app", "def late():\n    from proxy.cli import main"),
        ("errors", "from proxy.core import types"),
        ("core.gate", "from proxy.nowhere import x"),
    ],
)
def test_an_import_up_or_sideways_is_found(module: str, source: str) -> None:
    """The layer test itself sees what it is there to see, also inside functions."""
    assert layer_faults(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.gate", "import asyncio"),
        ("core.gate", "from time import monotonic"),
        ("core.gate", "import orjson"),
        ("checks.words", "words = open('list.txt')"),
        ("matching.nfa", "async def feed(): ..."),
        ("dialects.sse", "def f(path):\n    return path.read_text()"),
        ("checks.words", "import os.path"),
        ("core.gate", "from urllib.request import urlopen"),
    ],
)
def test_impurity_is_found(module: str, source: str) -> None:
    """The purity test itself sees clocks, files, tasks and sockets."""
    assert purity_faults(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dialects.sse", "import orjson\nfrom proxy.core.gate import Gate"),
        ("core.arguments", "import json\nfrom proxy.core import types"),
        ("server.app", "from proxy import __version__\nfrom proxy.policy import store"),
    ],
)
def test_what_is_allowed_is_not_found(module: str, source: str) -> None:
    """orjson in dialects, json in core, and every room below stay allowed."""
    assert not layer_faults(module, source)
    if is_pure(module):
        assert not purity_faults(module, source)
