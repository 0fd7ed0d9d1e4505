"""The lock of npm's packages names no address."""

from __future__ import annotations

import json
import re

from tests.sdk import npm


def test_the_lock_names_no_address() -> None:
    """npm asks whatever registry it is set to, and checks what comes by its hash."""
    text = npm.LOCK.read_text("utf-8")
    assert not re.search(r"https?:", text)
    packages = json.loads(text)["packages"]
    assert all("integrity" in about for path, about in packages.items() if path)


def test_the_lock_is_the_one_of_the_package_file() -> None:
    """Both name the same packages in the same versions, so `npm ci` takes the lock."""
    wanted = json.loads((npm.FOLDER / "package.json").read_text("utf-8"))["dependencies"]
    assert json.loads(npm.LOCK.read_text("utf-8"))["packages"][""]["dependencies"] == wanted
    assert {name: npm.versions()[name] for name in wanted} == wanted
