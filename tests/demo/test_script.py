"""The demo model's answers."""

from __future__ import annotations

import re

import pytest

from proxy.demo import script


@pytest.mark.parametrize("scene", script.SCENES)
def test_a_scenes_own_prompt_calls_for_it(scene: script.Scene) -> None:
    """The prompts that the help text offers lead to different answers."""
    assert script.scene_for(scene.prompt) is scene
    assert scene.prompt in script.HELP.answer


@pytest.mark.parametrize("message", ["", "Hello!", "What can you do?"])
def test_anything_else_gets_the_help(message: str) -> None:
    """The default tells what to try."""
    assert script.scene_for(message) is script.HELP


@pytest.mark.parametrize("scene", [*script.SCENES, script.HELP])
def test_the_pieces_are_the_answer(scene: script.Scene) -> None:
    """Cut like tokens, nothing added and nothing lost."""
    cut = list(script.pieces(scene.answer))
    assert "".join(cut) == scene.answer
    assert max(len(piece.strip()) for piece in cut) <= 5


def test_one_answer_has_a_key_of_the_real_form_and_the_code_has_none() -> None:
    """The key is put together at run time, so that a scanner of this repository finds nothing."""
    key = r"ghp_[A-Za-z0-9]{36}\b"
    assert re.search(key, script.scene_for("a key").answer)
    assert script.__file__ is not None
    with open(script.__file__, encoding="utf-8") as source:
        assert not re.search(key, source.read())
