"""The golden answers are complete, described, and what the dialects' tests take them for."""

from __future__ import annotations

import json

import pytest

from tests.dialects.golden_files import FOLDER, Golden, golden, golden_names, table

STREAMS = [name for name in golden_names() if name.endswith("_stream")]
CUT_SHORT = [name for name in STREAMS if name.endswith("_engine_killed_stream")]
LAST_FRAMES = {
    "/v1/chat/completions": b"data: [DONE]\n\n",
    "/v1/completions": b"data: [DONE]\n\n",
    "/v1/messages": b"message_stop",
    "/v1/responses": b"response.completed",
    "/api/chat": b'"done":true',
    "/api/generate": b'"done":true',
}


def test_every_file_is_described() -> None:
    """The index, the README's table and the folder name the same files."""
    assert golden_names() == sorted(path.stem for path in FOLDER.glob("*.txt"))
    assert table() in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_frames(name: str) -> None:
    """Each stream is a row of whole frames: JSON objects, [DONE], and the null that llama.cpp begins some with."""
    answer = golden(name)
    assert answer.content_type in ("text/event-stream", "application/x-ndjson") or answer.status != 200
    assert b"".join(answer.frames) == answer.body
    for frame in answer.frames:
        data = frame.split(b"data: ", 1)[-1].strip()
        assert data in (b"[DONE]", b"null") or isinstance(json.loads(data), dict)


@pytest.mark.parametrize("name", sorted(set(STREAMS) - set(CUT_SHORT)))
def test_streams_end_as_their_dialect_does(name: str) -> None:
    """A stream that was not cut short ends with its dialect's own last frame."""
    answer = golden(name)
    assert LAST_FRAMES[answer.path] in answer.frames[-1]


@pytest.mark.parametrize("name", CUT_SHORT)
def test_streams_of_a_killed_engine_have_no_end(name: str) -> None:
    """Where the engine was killed no last frame is there, and only Ollama's own dialect tells of it."""
    answer = golden(name)
    assert LAST_FRAMES[answer.path] not in answer.body
    assert (b"error" in answer.frames[-1]) == answer.path.startswith("/api/")


def test_a_body_that_is_not_a_stream_is_one_frame() -> None:
    """An answer of any other type is one frame."""
    answer = Golden("x", "y", "GET /", 403, {}, b"a\n\nb\n")
    assert (answer.frames, answer.content_type, answer.path) == ([b"a\n\nb\n"], "", "/")
