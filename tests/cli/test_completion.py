"""`safety-proxy completion`: scripts that the shells take, and that know every command and flag."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from proxy.cli import main
from proxy.cli.arguments import grammar
from proxy.cli.completion import flags, script
from tests.waiting import PATIENCE

COMMANDS = grammar()[1]
TAB = 'COMP_WORDS=({words}); COMP_CWORD={place}; _safety_proxy; echo "${{COMPREPLY[@]}}"'


def completed(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    quoted = " ".join(f"'{word}'" for word in ("safety-proxy", *words))
    code = script("bash", COMMANDS) + TAB.format(words=quoted, place=len(words))
    done = subprocess.run([bash, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return set(done.stdout.split())


def test_commands_are_completed() -> None:
    """The first word is a command."""
    assert completed("") == {*COMMANDS, "--help", "--version"}
    assert completed("doc") == {"doctor"}


@pytest.mark.parametrize("command", ["serve", "key", "doctor"])
def test_flags_are_completed(command: str) -> None:
    """All that the command has, and no other's."""
    assert completed(command, "--") == set(flags(COMMANDS[command]))
    assert completed(command, "--nonesuch") == set()


def test_files_are_completed() -> None:
    """Where no flag begins."""
    assert "/etc" in completed("check", "/et")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names every command; the shell itself finds no mistake, where it is installed."""
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    if program := shutil.which(shell):
        done = subprocess.run(
            [program, "-n"], input=text, text=True, capture_output=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
