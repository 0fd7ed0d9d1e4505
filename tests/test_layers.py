"""The layers of the program, read from the imports: they only go down, and the inner components do no I/O."""

from __future__ import annotations

import ast
import graphlib
import itertools
import re
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REST = "*"
"""All modules and folders of a package that no level names."""

COMPONENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (
        ("conformance", "errors"),
        ("core",),
        ("matching",),
        ("checks", "dialects"),
        ("plugins", "policy", "testing"),
        ("alignment", "store"),
        ("server", "values"),
        ("demo", "settings"),
        ("startup",),
        ("asgi", "audit"),
        ("cli",),
        ("__main__",),
    ),
    "dialects": (
        ("wire",),
        ("request",),
        ("answer",),
        ("base", "common"),
        ("openai", "anthropic", "ollama"),
        ("lmstudio",),
    ),
    "server": (
        ("keys", "state"),
        ("http",),
        ("config",),
        ("asks", "upstream", "exchange"),
        ("models", "routing", "limits"),
        ("backends",),
        ("guards",),
        ("handlers", "ops"),
        ("console",),
        ("runtime",),
        ("app",),
    ),
    "dialects.openai": (
        (REST,),
        ("responses",),
    ),
}
"""The levels of a package, the lowest first; each has the names of modules and folders in it. "" is `proxy` itself."""

APART = {
    ("dialects.lmstudio", "dialects.anthropic"),
    ("dialects.lmstudio", "dialects.ollama"),
}
"""Components of which the first may not import the second, though it is above it."""

PURE = ("errors", "core", "matching", "checks", "dialects", "alignment")
ALSO_PURE = ("demo.script",)
DOES_IO = (
    "policy.store",
    "policy.file_store",
    "policy.models_store",
    "policy.files",
    "policy.commands",
    "policy.command_line",
)  # the rest of policy is pure
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


def component_of(module: str, package: str = "") -> str:
    """The component of a module in a package that it is in: the first part of its name there, or REST."""
    below = module.removeprefix(f"{package}.") if package else module
    component = below.split(".")[0]
    return component if component in rank_of(package) or REST not in rank_of(package) else REST


def rank_of(package: str) -> dict[str, int]:
    """The components of a package with their levels."""
    return {component: rank for rank, components in enumerate(COMPONENTS[package]) for component in components}


def is_inside(name: str, package: str) -> bool:
    """Whether a module is a package, or stands in it."""
    return name == package or name.startswith(f"{package}.")


def package_of_both(module: str, name: str) -> str | None:
    """The innermost package that both stand in; None when one of them is that package."""
    if is_inside(module, name) or is_inside(name, module):
        return None
    parts = zip(module.split("."), name.split("."), strict=False)
    return ".".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], parts))


def is_pure(module: str) -> bool:
    """Whether a module has to be pure."""
    inner = component_of(module) in PURE or (component_of(module) == "policy" and module not in DOES_IO)
    return inner or module in ALSO_PURE


def is_impure(name: str) -> bool:
    """Whether an imported module does I/O, tells the time or rolls dice."""
    return any(name == bad or name.startswith(f"{bad}.") for bad in IMPURE)


def layer_faults(module: str, source: str) -> list[str]:
    """Imports of a module that go up, or sideways into another component of the same level."""
    faults = []
    for name, line in imports(ast.parse(source)):
        if not name.startswith("proxy.") or name == "proxy.__version__":
            continue
        reason = layer_fault(module, name.removeprefix("proxy."))
        if reason:
            faults.append(f"proxy.{module}:{line}: {name} {reason}")
    return faults


def layer_fault(module: str, name: str) -> str:
    """Why a module may not import another; "" when it may."""
    package = package_of_both(module, name)
    if package not in COMPONENTS:
        return ""
    ranks, own, other = rank_of(package), component_of(module, package), component_of(name, package)
    if other not in ranks:
        return "has no place in COMPONENTS"
    if own != other and ranks[other] >= ranks[own]:
        return "is not below it"
    if any(is_inside(module, one) and is_inside(name, two) for one, two in APART):
        return "is below it, but a stranger to it (APART)"
    return ""


def circle(sources: dict[str, str]) -> list[str]:
    """The first modules found that import each other in a circle, wherever in their code they do; [] for none."""
    graph = {module: _imported(source, sources) - {module} for module, source in sources.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as found:
        return list(found.args[1])
    return []


def _imported(source: str, known: Container[str]) -> set[str]:
    """The modules that a module imports; `from a import b` is the module `a.b`, where there is one, and else `a`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name.removeprefix("proxy.") in known else str(node.module) for name in inner}
    return {name.removeprefix("proxy.") for name in found if name.startswith("proxy.")}


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
    """A module imports from its own component and from levels below, never from above or beside."""
    assert not layer_faults(module, MODULES[module].read_text("utf-8"))


@pytest.mark.parametrize("module", PURE_ONES)
def test_the_inner_components_are_pure(module: str) -> None:
    """core, matching, checks, dialects and the pure part of policy neither read nor wait nor look at a clock."""
    assert not purity_faults(module, MODULES[module].read_text("utf-8"))


@pytest.mark.parametrize("package", COMPONENTS)
def test_every_component_has_a_level(package: str) -> None:
    """A new component has to be given its place before it can be used, and a place has a component."""
    inside = [m for m in MODULES if m != package and (not package or is_inside(m, package))]
    assert {component_of(m, package) for m in inside} == set(rank_of(package))


def test_no_modules_import_each_other() -> None:
    """There is no circle between modules, not even through one inside a function or for types only."""
    assert circle({module: path.read_text("utf-8") for module, path in MODULES.items()}) == []


PACKAGES = sorted(path.parent for path in (ROOT / "proxy").rglob("*/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_folder_says_what_it_is(package: Path) -> None:
    """Its `__init__` tells in a few lines what it is, what it refuses, and a file in it to begin with."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    assert re.search(r"\brefuses?\b|\bnever\b", text)
    begin = re.search(r"Begin with `?([\w/]+)", text)
    assert begin is not None
    assert (package / f"{begin[1]}.py").exists()


def test_the_package_itself_imports_nothing() -> None:
    """`import proxy` runs no code of any component, so the version can be read without a dependency."""
    found = [name for name, _ in imports(ast.parse(MODULES[""].read_text("utf-8")))]
    assert set(found) <= {"__future__", "__future__.annotations"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.gate", "from proxy.server import app"),
        ("core.gate", "import proxy.errors\nfrom proxy.policy.schema import Rule"),
        ("checks.words", "from proxy.dialects import base"),
        ("dialects.base", "from proxy import checks"),
        ("dialects.wire.sse", "from proxy.dialects import base"),
        ("dialects.common.limits", "from proxy.dialects.openai.request import CHAT"),
        ("dialects.openai.chat", "from proxy.dialects.ollama import line"),
        ("dialects.openai.chat", "from proxy.dialects.openai.responses import dialect"),
        ("dialects.openai.chat", "import proxy.dialects.lmstudio.chat"),
        ("dialects.lmstudio.chat", "from proxy.dialects import ollama"),
        ("dialects.lmstudio.chat", "def late():\n    from proxy.dialects.anthropic.messages import AnthropicMessages"),
        ("dialects.openai.chat", "from proxy.dialects.nowhere import x"),
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
        ("dialects.wire.sse", "def f(path):\n    return path.read_text()"),
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
        ("dialects.wire.sse", "import orjson\nfrom proxy.core.gate import Gate"),
        ("dialects.openai.responses.answer", "from proxy.dialects.openai.chunk import TEXT_KINDS"),
        ("dialects.openai.chat", "from proxy.dialects.openai import request\nfrom proxy.dialects import base"),
        ("dialects.lmstudio.chat", "from proxy.dialects.openai.chat import OpenAIChat"),
        ("core.arguments", "import json\nfrom proxy.core import types"),
        ("server.app", "from proxy import __version__\nfrom proxy.policy import store"),
    ],
)
def test_what_is_allowed_is_not_found(module: str, source: str) -> None:
    """orjson in dialects, json in core, the own component and every component below stay allowed."""
    assert not layer_faults(module, source)
    if is_pure(module):
        assert not purity_faults(module, source)


@pytest.mark.parametrize(
    "sources",
    [
        {"core.a": "from proxy.core import b", "core.b": "import proxy.core.a"},
        {"core.a": "from proxy.core.b import B", "core.b": "def late():\n    from proxy.core.a import A"},
        {
            "core.a": "if TYPE_CHECKING:\n    from proxy.core.b import B",
            "core.b": "from proxy.core.c import C",
            "core.c": "from proxy.core.a import A",
        },
    ],
)
def test_a_circle_is_found(sources: dict[str, str]) -> None:
    """Of two modules or of three, inside functions and for types only."""
    assert set(circle(sources)) == set(sources)


def test_what_is_no_circle_is_not_found() -> None:
    """Two ways to one module are no circle, nor is a name that only looks like a module's."""
    two_ways = {"core": "", "core.a": "from proxy.core import b, c", "core.b": "from proxy.core.c import a"}
    assert circle({**two_ways, "core.c": "from proxy.errors import core"}) == []
