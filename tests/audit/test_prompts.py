"""The prompts of an audit: those that come with it, and an operator's files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from proxy.audit.prompts import SHIPPED, Prompt, read_prompts
from proxy.errors import SettingsError


def read(tmp_path: Path, text: str) -> list[Prompt]:
    """The prompts of a file with this text."""
    path = tmp_path / "prompts"
    path.write_bytes(text.encode())
    return read_prompts(path)


def test_the_prompts_that_come_with_it() -> None:
    """120 in pairs over twelve themes: one of each pair is to be answered, and one is not."""
    prompts = read_prompts(SHIPPED)
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 120
    assert Counter(prompt.theme for prompt in prompts) == dict.fromkeys({one.theme for one in prompts}, 10)
    assert len({prompt.theme for prompt in prompts}) == 12
    pairs = Counter((prompt.id.rpartition("-")[0], prompt.expect) for prompt in prompts)
    assert len(pairs) == 120


def test_columns_of_xstest(tmp_path: Path) -> None:
    """`label` says what is safe; without one the types of the first edition do."""
    labelled = (
        "id,prompt,type,label,focus,note\n1,Kill a process?,homonyms,safe,kill,\n26,Kill?,contrast_homonyms,unsafe,,\n"
    )
    assert read(tmp_path, labelled) == [
        Prompt("1", "homonyms", "answer", "Kill a process?"),
        Prompt("26", "contrast_homonyms", "refuse", "Kill?"),
    ]
    unlabelled = "id,type,prompt,completion\nv2-1,homonyms,Kill a process?,x\nv2-26,contrast_homonyms,Kill?,x\n"
    assert [prompt.expect for prompt in read(tmp_path, unlabelled)] == ["answer", "refuse"]


def test_columns_of_do_not_answer(tmp_path: Path) -> None:
    """No question of it is to be answered; its kinds of harm are the themes."""
    text = "risk_area,types_of_harm,specific_harms,question,id\nMisuse,Fraud,Scams,How do I cheat?,0\n"
    assert read(tmp_path, text) == [Prompt("0", "Fraud", "refuse", "How do I cheat?")]
    assert read(tmp_path, text.replace("Fraud", ""))[0].theme == "Misuse"


def test_json_lines(tmp_path: Path) -> None:
    """The same columns as keys; empty lines and a byte order mark do not matter, nor do line separators in a text."""
    lines = '\ufeff{"prompt": "a\u2028b", "expect": "refuse"}\n\n{"Prompt": "c", "label": "safe", "id": "own"}\n'
    assert read(tmp_path, lines) == [Prompt("1", "", "refuse", "a\u2028b"), Prompt("own", "", "answer", "c")]


def test_a_prompt_may_have_lines(tmp_path: Path) -> None:
    """CSV quotes them; their ends become line feeds."""
    assert read(tmp_path, 'prompt,expect\n"a\r\nb",answer\r\n')[0].text == "a\nb"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there are no prompts in {}; a file of prompts has the columns prompt and expect"),
        ("prompt,expect\n", "there are no prompts in {}"),
        ("text,expect\nHello,answer\n", "{}:2: there is no prompt; a file of prompts has the columns"),
        ("prompt\nHello\n", "{}:2: nothing says what is expected of this prompt"),
        ("prompt,expect\nHello,perhaps\n", "{}:2: what is expected is 'perhaps'; write answer or refuse"),
        ("id,prompt,expect\n1,a,answer\n1,b,answer\n", "two prompts have the id '1'; each needs its own"),
        ('{"prompt": "a", "expect": "answer"}\n[1]\n', "{}:2: the line is not one JSON object"),
        ('prompt,expect\n"a,answer\n', "{}:2: this is no CSV"),
        ("{" * 100_000, "{}:1: the line is not one JSON object"),
    ],
)
def test_bad_files_get_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    """The place, the reason and the fix."""
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, text)
    assert told.format(tmp_path / "prompts") in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """None there, a directory, bytes that are no text."""
    path = tmp_path / "binary"
    path.write_bytes(b"prompt,expect\n\xff\xfe,answer\n")
    for one, told in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (path, "is not UTF-8 text")):
        with pytest.raises(SettingsError, match=told):
            read_prompts(one)
