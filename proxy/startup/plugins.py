"""Plug-ins are found and imported here, once, at the start: their code has all the rights of the proxy.

Where they come from is for whoever starts the proxy to say: packages of its environment with an entry point, and the
directory that the setting `plugins` names. A policy file only names kinds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from proxy.checks.kinds import CheckKind, DetectorKind
from proxy.checks.plugin_pass import Budget
from proxy.checks.registry import Plugin, Registry, RegistryError, make_registry
from proxy.errors import SettingsError
from proxy.settings import Settings
from proxy.startup.guard_formats import find_formats

GROUP = "safety_proxy.checks"
MODULES = "safety_proxy_plugins"  # before the names of the modules that are made of files
KINDS = "a proxy.plugins.CheckKind or DetectorKind"


def find_registry(settings: Settings) -> Registry:
    """The kinds of checks for these settings. Raises SettingsError for a plug-in, or a guard's format, that cannot be
    used."""
    budget = Budget(settings.plugin_budget, _clock)
    plugins = [*_of_packages(), *(_of_directory(settings.plugins) if settings.plugins else ())]
    known: list[Plugin] = []
    for place, plugin in plugins:
        try:
            make_registry([*known, plugin])
        except RegistryError as error:
            raise SettingsError(f"plug-in {place}: {error}") from None
        known.append(plugin)
    folder = [str(settings.plugins)] if settings.plugins else []
    worker = (sys.executable, "-m", "proxy.startup.worker", *folder)
    return replace(make_registry(known, budget, find_formats(settings.guard_formats)), worker=worker)


def _clock() -> tuple[float, float]:
    return time.thread_time(), time.perf_counter()


def _of_packages() -> Iterator[tuple[str, Plugin]]:
    """The plug-ins of installed packages, each with its place."""
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        package, version = (point.dist.name, point.dist.version) if point.dist is not None else ("", "")
        place = f"{point.name} ({package or 'a package'}, {point.value})"
        kind = _loaded(point, place)
        if not isinstance(kind, CheckKind | DetectorKind):
            raise SettingsError(f"plug-in {place}: it is {type(kind).__name__}; the entry point has to name {KINDS}")
        if kind.name != point.name:
            raise SettingsError(f"plug-in {place}: its kind is named {kind.name!r}; give both the same name")
        yield place, Plugin(kind, f"package {package}" if package else "a package", kind.version or version)


def _loaded(point: EntryPoint, place: str) -> Any:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise _not_imported(place, error, "fix or uninstall the package") from None


def _of_directory(folder: Path) -> Iterator[tuple[str, Plugin]]:
    """The plug-ins of a directory's .py files, but for those whose names begin with `_` or a dot."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".py" and path.name[0] not in "._")
    except OSError as error:
        message = f"{folder} cannot be read ({error.strerror}): give a directory of .py files"
        raise SettingsError(f"the setting plugins: {message}") from None
    for path in files:
        module = _imported(path)
        kinds = [value for value in vars(module).values() if isinstance(value, CheckKind | DetectorKind)]
        if not kinds:
            raise SettingsError(f"plug-in {path}: it has no kind; assign {KINDS} to a name of the module")
        for kind in {id(kind): kind for kind in kinds}.values():
            yield str(path), Plugin(kind, f"file {path}", kind.version)


def _imported(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"{MODULES}.{path.stem}", path)
    assert isinstance(spec, ModuleSpec)
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # msgspec looks a Struct's module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(spec.name, None)
        raise _not_imported(str(path), error, "fix the file or move it away") from None
    return module


def _not_imported(place: str, error: BaseException, hint: str) -> SettingsError:
    line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else _line_of(error)
    reason = error.msg if isinstance(error, SyntaxError) else f"{type(error).__name__}: {error}"
    return SettingsError(f"plug-in {place}: it cannot be imported ({line}{' '.join(reason.split())}): {hint}")


def _line_of(error: BaseException) -> str:
    """The last line of the traceback, which is where it went wrong."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    if step is None or step.tb_frame.f_code.co_filename.startswith("<"):
        return ""
    return f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}: "
