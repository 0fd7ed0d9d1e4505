"""The documents: what they must hold, that their links lead somewhere, and what must never stand in them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.arguments import grammar, parse
from tools import architecture
from tools.settings_table import rows

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = [*DOCS, *(ROOT / name for name in ("Dockerfile", "Makefile", "pyproject.toml"))]
FORBIDDEN = re.compile(r"/root/|/home/|/tmp/\w|file://", re.IGNORECASE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
IN_CODE = re.compile(r"```.*?```|^ {4}.*$|`[^`]*`", re.DOTALL | re.MULTILINE)


def name_of(path: Path) -> str:
    """A file's name in a test's id."""
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """The fragments that a document's headings offer, spelled as GitHub spells them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}


def test_every_setting_stands_in_the_docs_as_it_is() -> None:
    """docs/settings.md has exactly one row for each setting: its flag, variable, default and meaning."""
    text = (ROOT / "docs/settings.md").read_text("utf-8")
    found = [line for line in text.splitlines() if re.match(r"\| `\w+` \| `--", line)]
    assert found == list(rows()), "run: python -m tools.settings_table"


def test_the_architecture_is_drawn_as_it_is() -> None:
    """docs/architecture.md holds the imports that there are, and the files that a token and a policy edit enter."""
    command = [sys.executable, "-m", "tools.architecture", "--print"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    assert printed == page, "run: python -m tools.architecture"


def test_a_drawing_has_levels_and_no_arrow_that_follows() -> None:
    """A component stands above all that it imports; what it reaches through another one needs no arrow."""
    graph = {"a": frozenset("bcd"), "b": frozenset("c"), "c": frozenset(), "d": frozenset()}
    assert architecture.levels(graph) == [["a"], ["b"], ["c", "d"]]
    assert architecture.direct(graph) == {**graph, "a": frozenset("bd")}


def test_every_command_stands_in_the_docs() -> None:
    """docs/settings.md names each command of safety-proxy."""
    text = (ROOT / "docs/settings.md").read_text("utf-8")
    for command in grammar()[1]:
        assert f"`safety-proxy {command}" in text


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_commands_are_spelled_right(path: Path) -> None:
    """Every line with safety-proxy in a block of commands is one that it takes, and Python can read the Python."""
    text = path.read_text("utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.findall(r"(?:^|/bin/)safety-proxy (.*)", block, re.MULTILINE):
            parse(shlex.split(line, comments=True))
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        compile(block, str(path), "exec")


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file that is there, and a heading in it."""
    for link in LINK.findall(IN_CODE.sub("", path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, fragment = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{link} leads nowhere"
        assert file.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert not fragment or fragment in anchors(file), f"{link}: {name_of(file)} has no such heading"


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_no_path_of_a_machine_stands_in_a_document(path: Path) -> None:
    """What is written down is true on every machine."""
    assert not FORBIDDEN.search(path.read_text("utf-8"))


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=name_of)
def test_every_document_is_in_the_index(path: Path) -> None:
    """docs/README.md links every document below docs."""
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text("utf-8"))}
    assert path == index or path in linked


def test_the_licence_is_the_one_that_the_package_names() -> None:
    """LICENSE holds the whole text of Apache-2.0."""
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text("utf-8")
