"""The quick path of Ollama's lines."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.ollama.line import LineSkeleton
from tests.dialects.ollama.lines import (
    CHAT,
    WHEN,
    answering,
    line,
)


def test_lines_of_one_form_need_no_tree() -> None:
    """After the first line the skeleton reads every other line that differs in time and text only."""
    answer = answering(CHAT)
    frames = list(answer._frames(line("first")))
    skeleton = LineSkeleton.of(frames[0])
    assert skeleton is not None
    quick = skeleton.frame(line('a "quoted" \\ é 語'))
    assert quick is not None
    assert quick.deltas[0].text == 'a "quoted" \\ é 語'
    assert skeleton.frame(line("x", done=True)) is None
    assert skeleton.frame(line("x", message={"thinking": "y"})) is None
    assert skeleton.frame(line("").replace(b'"content":""', b'"content":"')) is None


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from([True, False]))
@settings(max_examples=200, deadline=None)
def test_the_quick_path_reads_what_json_reads(text: str, other: str, quoted: bool) -> None:
    """Whatever the skeleton reads as a text is what a JSON reader finds there, and nothing else is in the line."""
    skeleton = LineSkeleton.of(next(iter(answering(CHAT)._frames(line("first")))))
    assert skeleton is not None
    raw = line(text)
    if quoted:
        raw = raw.replace(b'"},"done"', other.encode("utf-8", "surrogatepass") + b'"},"done"')
    quick = skeleton.frame(raw)
    got = quick.deltas[0].text if quick is not None else None
    if got is not None:
        assert json.loads(raw) == {
            "model": "tiny",
            "created_at": WHEN,
            "message": {"role": "assistant", "content": got},
            "done": False,
        }
