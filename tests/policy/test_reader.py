"""Whatever stands in a file: a policy, or problems with their places; never anything else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import PolicyError
from proxy.policy.compile import compile_policies
from proxy.policy.document import Document, Source, Unreadable

WHOLE = """version: 1
policy: house
applies_to: {models: ["llama*"], roles: [user]}
limits: {max_output_characters: 10, repetition: {max: 3}}
rules:
  - id: a
    words: [one, "two three"]
    action: rewrite
    replacement: {mask: "*"}
    examples: {hits: [one], becomes: {"a one": "a ***"}}
  - {id: b, pattern: 'x[0-9]+', action: block, message: "No."}
"""


def load(name: str, data: bytes) -> list[str]:
    """The problems of a file; none when it can be used."""
    try:
        compile_policies([Source(name, data)], hash_key=b"key")
    except PolicyError as error:
        return error.problems
    return []


def test_what_cannot_be_printed_is_escaped() -> None:
    """A key with a tab in it is one line of text all the same, and commands no terminal."""
    assert load("x.yaml", b'"v\\tersion": 1\n')[-1] == "x.yaml:1:1: unknown key `v\\tersion`: did you mean `version`?"


def test_the_whole_is_right() -> None:
    """What the next tests break is a policy that loads."""
    assert load("x.yaml", WHOLE.encode()) == []


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 12), st.text("[]{}:,-'\"&*!#|>%@\\ \n\tax01é\x00", max_size=4))
def test_an_edit_anywhere_gives_problems_with_places_or_a_policy(at: int, length: int, instead: str) -> None:
    """Every problem names the file, and no edit makes the loader fail in another way."""
    for problem in load("x.yaml", (WHOLE[:at] + instead + WHOLE[at + length :]).encode()):
        assert problem.startswith(("x.yaml:", "policies: there is no"))
        assert problem.isprintable()


@given(st.binary(max_size=60), st.sampled_from(["x.yaml", "x.json"]))
def test_any_bytes_give_problems(data: bytes, name: str) -> None:
    """No byte sequence of this length is a policy, and none is trouble."""
    assert load(name, data)


@pytest.mark.parametrize("line", [b"[" * 1_000_000, b"- " * 1_000_000, b"a: " * 1_000_000, b"&a " * 100_000])
def test_a_bomb_is_refused_at_once(line: bytes) -> None:
    """Depth and anchors are bounded by the parser, aliases by the reader."""
    began = time.process_time()
    assert load("x.yaml", line)
    assert time.process_time() - began < 5


def test_aliases_may_share_what_is_written_once() -> None:
    """Anchors are of use where two rules have the same words."""
    rules = "rules: [{id: a, words: &w [x, y], action: flag}, {id: b, words: *w, action: flag}]"
    assert load("x.yaml", f"version: 1\npolicy: p\n{rules}\n".encode()) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_fine(end: str) -> None:
    """Columns and lines count the same."""
    text = WHOLE.replace("\n", end)
    assert load("x.yaml", text.encode()) == []
    (problem,) = load("x.yaml", text.replace("action: block", "action: b").encode())
    assert problem.startswith("x.yaml:11:41: rule b: `b` cannot be `action`")


def test_a_path_leads_to_the_deepest_node_that_is_written() -> None:
    """Problems of things that are left out are shown at what they are missing from."""
    document = Document(Source("x.yaml", WHOLE.encode()))
    assert document.at(("rules", 0, "message")).start_mark.line == 5
    assert document.at(("rules", 9, "message")) is document.at(("rules",))
    assert document.has(("rules", 0, "words"))
    assert not document.has(("rules", 0, "pattern"))
    assert document.where(("rules", 1)) == "rule b"
    assert document.where(("limits",)) == ""


def test_a_file_is_text_before_it_is_anything() -> None:
    """UTF-16 is told by its mark, Latin-1 by its bytes."""
    with pytest.raises(Unreadable, match="byte order mark"):
        Document(Source("x.yaml", WHOLE.encode("utf-16")))
    with pytest.raises(Unreadable, match="byte 0xe9 is not UTF-8"):
        Document(Source("x.yaml", "a: é".encode("latin-1")))
