"""Plug-ins are found at the start: in packages, and in the directory that a setting names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.checks.registry import Registry
from proxy.errors import SettingsError
from proxy.settings import Settings
from proxy.startup.plugins import MODULES, find_registry

GOOD = """
from proxy.plugins import CheckKind, DetectorKind, Finding, Progress

class Nothing:
    hold = 0
    def open(self):
        return self
    def feed(self, text, final=False):
        return Progress(0)

KIND = CheckKind("nothing", "finds nothing", lambda rule, options: Nothing(), version="2.1")
BADGE = DetectorKind("badge", "badge numbers", "HR-[0-9]{3}", ("HR-123",), ("HR",))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty directory for .py files; their modules are forgotten afterwards."""
    place = tmp_path / "plugins"
    place.mkdir()
    yield place
    for name in [name for name in sys.modules if name.startswith(MODULES)]:
        del sys.modules[name]


def found(folder: Path) -> Registry:
    """The kinds, with this directory as the setting `plugins`."""
    return find_registry(Settings(plugins=folder))


def refused(folder: Path) -> str:
    """Why the start fails; one line."""
    with pytest.raises(SettingsError) as caught:
        found(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_kind_of_every_file_is_found(folder: Path) -> None:
    """With its file as origin; files that begin with `_` or a dot are left out, and so is all that is no .py file."""
    (folder / "good.py").write_text(GOOD)
    for name in ("_helper.py", ".hidden.py", "notes.txt"):
        (folder / name).write_text("raise ValueError")
    assert [(e.kind.name, e.what, e.version, e.origin) for e in found(folder).plugins] == [
        ("nothing", "check", "2.1", f"file {folder / 'good.py'}"),
        ("badge", "detector", "", f"file {folder / 'good.py'}"),
    ]


def test_without_plug_ins_there_are_the_built_in_kinds() -> None:
    """No setting, no directory."""
    assert find_registry(Settings()).plugins == ()


WRONG = [
    ("def broken(:\n", "bad.py: it cannot be imported (line 1: invalid syntax): fix the file or move it away"),
    ("x = 1\ny = 1 / 0\n", "it cannot be imported (bad.py:2: ZeroDivisionError: division by zero): fix the file"),
    (
        "import no_such_thing\n",
        "it cannot be imported (bad.py:1: ModuleNotFoundError: No module named",
    ),
    ("import sys\nsys.exit(3)\n", "it cannot be imported (bad.py:2: SystemExit: 3): fix the file or move it away"),
    ("KIND = 'a check'\n", "bad.py: it has no kind; assign a proxy.plugins.CheckKind or DetectorKind to a name of the"),
    (GOOD.replace('"badge",', '"email",'), "bad.py: the name `email` is taken (built in); rename the kind"),
    (GOOD.replace('("HR-123",)', '("HR",)'), "bad.py: the detector `badge` finds nothing in its own example 'HR'"),
]


@pytest.mark.parametrize(("code", "says"), WRONG)
def test_what_cannot_be_used_stops_the_start(folder: Path, code: str, says: str) -> None:
    """With the file, the line, the reason and the fix."""
    (folder / "bad.py").write_text(code)
    assert refused(folder).startswith(f"plug-in {folder / 'bad.py'}: ")
    assert says in refused(folder)


def test_two_files_cannot_have_one_name(folder: Path) -> None:
    """The second one is named, with who has the name."""
    (folder / "a.py").write_text(GOOD)
    (folder / "b.py").write_text(GOOD)
    assert refused(folder) == (
        f"plug-in {folder / 'b.py'}: the name `nothing` is taken (file {folder / 'a.py'}); "
        "rename the kind, or remove one of the two"
    )


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As the setting's fault."""
    assert refused(tmp_path / "none").startswith(
        f"the setting plugins: {tmp_path / 'none'} cannot be read (No such file"
    )


def install(place: Path, point: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip leaves it: a module, and metadata with an entry point."""
    info = place / "guard_words-1.4.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guard-words\nVersion: 1.4\n")
    (info / "entry_points.txt").write_text(f"[safety_proxy.checks]\n{point}\n")
    (place / "guard_words.py").write_text(code)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "guard_words", raising=False)


def test_packages_are_found_by_their_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package as origin, and its version where the kind has none."""
    code = GOOD.replace(', version="2.1"', "")
    install(tmp_path / "site", "nothing = guard_words:KIND", code, monkeypatch)
    assert [(e.kind.name, e.version, e.origin) for e in find_registry(Settings()).plugins] == [
        ("nothing", "1.4", "package guard-words")
    ]


@pytest.mark.parametrize(
    ("point", "code", "says"),
    [
        ("nothing = guard_words:KIND", "1 / 0", "it cannot be imported (guard_words.py:1: ZeroDivisionError: division"),
        ("nothing = guard_words:NONE", GOOD, "it cannot be imported (__init__.py:"),
        ("nothing = guard_words:Nothing", GOOD, "it is type; the entry point has to name a proxy.plugins.CheckKind or"),
        ("other = guard_words:KIND", GOOD, "its kind is named 'nothing'; give both the same name"),
    ],
)
def test_a_package_that_cannot_be_used_stops_the_start(
    point: str, code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the package and the object that its entry point names."""
    install(tmp_path / "site", point, code, monkeypatch)
    with pytest.raises(SettingsError) as caught:
        find_registry(Settings())
    name, _, value = point.partition(" = ")
    assert str(caught.value).startswith(f"plug-in {name} (guard-words, {value}): {says}")
