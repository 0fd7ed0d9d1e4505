"""The demo model's answers."""

from __future__ import annotations

import re

import pytest

from proxy.demo import script


@pytest.mark.parametrize("scripted", script.ANSWERS)
def test_a_scenes_own_prompt_calls_for_it(scripted: script.ScriptedAnswer) -> None:
    """The prompts that the help text offers lead to different answers."""
    assert script.answer_for(scripted.prompt) is scripted
    assert scripted.prompt in script.HELP.answer


@pytest.mark.parametrize("message", ["", "Hello!", "What can you do?"])
def test_anything_else_gets_the_help(message: str) -> None:
    """The default tells what to try."""
    assert script.answer_for(message) is script.HELP


@pytest.mark.parametrize("scripted", [*script.ANSWERS, script.HELP])
def test_the_pieces_are_the_answer(scripted: script.ScriptedAnswer) -> None:
    """Cut like tokens, nothing added and nothing lost."""
    cut = list(script.tokens(scripted.answer))
    assert "".join(cut) == scripted.answer
    assert max(len(piece.strip()) for piece in cut) <= 5


def test_one_answer_has_a_key_of_the_real_form_and_the_code_has_none() -> None:
    """The key is put together at run time, so that a scanner of this repository finds nothing."""
    key = r"ghp_[A-Za-z0-9]{36}\b"
    assert re.search(key, script.answer_for("a key").answer)
    assert script.__file__ is not None
    with open(script.__file__, encoding="utf-8") as source:
        assert not re.search(key, source.read())
