"""`safety-proxy key new NAME`."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.cli.arguments import main
from proxy.policy.document import Source
from proxy.server.keys.key import Key
from proxy.server.keys.reading import read_keys


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No safety-proxy.toml of the developer's is read."""
    monkeypatch.chdir(tmp_path)


def keys(text: str) -> tuple[Key, ...]:
    """The keys in a text."""
    return read_keys(Source("keys.yaml", text.encode())).keys


def test_the_key_is_shown_once_and_its_entry_has_the_digest(capsys: pytest.CaptureFixture[str]) -> None:
    """The key alone on standard output, for `$(...)`; the entry to paste on standard error, without the key."""
    assert main(["key", "new", "alice", "--admin", "--expires", "2099-01-31"]) == 0
    said = capsys.readouterr()
    token = said.out.strip()
    assert re.fullmatch(r"sp-[\w-]{43}", token, re.ASCII)
    assert token not in said.err
    (key,) = keys("version: 1\nkeys:\n" + said.err[said.err.index("  - name") :])
    assert (key.name, key.digest, key.admin) == ("alice", sha256(token.encode()).digest(), True)
    assert key.expires is not None


def test_it_is_added_to_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is made, readable by its owner alone; one that is there keeps what it says."""
    tokens = []
    for name in ("alice", "bob"):
        assert main(["key", "new", name, "--write", "--keys", "keys.yaml"]) == 0
        tokens.append(capsys.readouterr().out.strip())
        if name == "alice":
            Path("keys.yaml").write_text(Path("keys.yaml").read_text() + "    models: [tiny]  # a comment")
    text = Path("keys.yaml").read_text()
    assert [key.name for key in keys(text)] == ["alice", "bob"]
    assert [key.digest for key in keys(text)] == [sha256(token.encode()).digest() for token in tokens]
    assert "# a comment\n" in text
    assert not [token for token in tokens if token in text]
    assert Path("keys.yaml").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in Path().iterdir()] == ["keys.yaml"]


def test_the_file_may_come_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `serve` finds it; without one, --write says so."""
    assert main(["key", "new", "alice", "--write"]) == 2
    monkeypatch.setenv("SAFETY_PROXY_KEYS", "k.yaml")
    assert main(["key", "new", "alice", "--write"]) == 0
    assert main(["key", "new", "ann", "--admin", "--write"]) == 0
    assert [(key.name, key.admin) for key in keys(Path("k.yaml").read_text())] == [("alice", False), ("ann", True)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alice"], "the same `name` as on line 3"),
        (["b c"], "`b c` cannot be `name`"),
        (["o'neil"], "not YAML"),
        (["bob", "--expires", "soon"], "`soon` is no time"),
        (["bob", "--scrape", "--admin"], "`admin` beside `scrape`"),
    ],
)
def test_a_wrong_one_is_neither_written_nor_shown(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 2, and the file is as it was."""
    main(["key", "new", "alice", "--write", "--keys", "keys.yaml"])
    before = Path("keys.yaml").read_text()
    capsys.readouterr()
    assert main(["key", "new", *arguments, "--write", "--keys", "keys.yaml"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert Path("keys.yaml").read_text() == before


def test_a_file_that_ends_otherwise_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Where an entry at its end would be none of `keys`, the file stays, and the place is told."""
    for text in ("keys:\n- {name: a, sha256: x}\nversion: 1\n", "[]\n"):
        Path("keys.yaml").write_text(text)
        assert main(["key", "new", "bob", "--write", "--keys", "keys.yaml"]) == 2
        assert "keys.yaml:" in capsys.readouterr().err
        assert Path("keys.yaml").read_text() == text
