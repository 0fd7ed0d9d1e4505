"""What a person types, and in which order."""

from __future__ import annotations

import gc

import pytest

from proxy.cli.arguments import main, parse
from proxy.errors import SettingsError


@pytest.mark.parametrize(
    "words", [["--json", "a", "text"], ["a", "text", "--json"], ["--direction", "input", "a", "text"]]
)
def test_explain_takes_its_flags_before_and_after_the_text(words: list[str]) -> None:
    """Nobody has to know that argparse minds the order."""
    assert parse(["explain", "policies", *words]).text == ["a", "text"]


def test_a_flag_that_explain_does_not_know_is_still_named() -> None:
    """A wrong flag is not taken for a word of the text."""
    with pytest.raises(SettingsError, match="--jsn is not a flag; did you mean --json"):
        parse(["explain", "policies", "--jsn", "a"])


def test_a_start_that_fails_leaves_garbage_collection_on(capsys: pytest.CaptureFixture[str]) -> None:
    """It is off only while what the proxy needs is loaded."""
    assert main(["serve", "--upstream", "127.0.0.1:9", "--listen", "127.0.0.1:8", "--admin", "127.0.0.1:8"]) == 2
    assert "they need two ports" in capsys.readouterr().err
    assert gc.isenabled()
