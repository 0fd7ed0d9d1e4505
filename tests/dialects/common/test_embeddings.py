"""Embeddings: every text is found, and of the answer only numbers go out."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ollama import EmbeddingsResponse, EmbedResponse
from openai.types import CreateEmbeddingResponse

from proxy.core.guard import Guard
from proxy.dialects.lmstudio.embeddings import LMStudioEmbeddings
from proxy.dialects.ollama.embeddings import OllamaEmbed, OllamaEmbeddings
from proxy.dialects.openai.embeddings import OpenAIEmbeddings
from proxy.dialects.request import Options
from proxy.errors import BadRequest, UpstreamBroken, UpstreamTimeout
from tests.phrases import PhrasePlan, block

OPENAI = OpenAIEmbeddings()
LMSTUDIO = LMStudioEmbeddings()
EMBED = OllamaEmbed()
OLD = OllamaEmbeddings()
GUARD = Guard(PhrasePlan())
Dialect = OpenAIEmbeddings | OllamaEmbed

OPENAI_ANSWER = {
    "object": "list",
    "data": [
        {"object": "embedding", "embedding": [0.5, -1, 2.25e-8], "index": 0},
        {"object": "embedding", "embedding": [1.0, 2.0, 3.0], "index": 1},
    ],
    "model": "text-embedding-nomic-embed-text-v1.5@q4_k_m",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
EMBED_ANSWER = {
    "model": "all-minilm",
    "embeddings": [[0.5, -1.0], [1.5, 2.0]],
    "total_duration": 14143917,
    "load_duration": 1019500,
    "prompt_eval_count": 8,
}
ANSWERS: list[tuple[Dialect, dict[str, Any]]] = [
    (OPENAI, OPENAI_ANSWER),
    (LMSTUDIO, OPENAI_ANSWER),
    (EMBED, EMBED_ANSWER),
    (OLD, {"embedding": [0.5, -1.0]}),
]


def ask(dialect: Dialect, given: Any, **more: Any) -> bytes:
    """A client's request for `given`."""
    return json.dumps({"model": "m", dialect.key: given, **more}).encode()


@pytest.mark.parametrize(("dialect", "answer"), ANSWERS)
def test_every_text_is_found(dialect: Dialect, answer: dict[str, Any]) -> None:
    """One text or many: each is found, and writing to it changes what goes upstream."""
    given: Any = "one" if dialect is OLD else ["one", "two"]
    request = dialect.parse(ask(dialect, given), Options())
    assert [t.text for t in request.texts] == (["one"] if dialect is OLD else ["one", "two"])
    assert len({t.group for t in request.texts}) == len(request.texts)
    for text in request.texts:
        text.put("clean")
    sent = json.loads(dialect.upstream_body(request))
    assert sent == {"model": "m", dialect.key: "clean" if dialect is OLD else ["clean", "clean"]}
    assert request.path == dialect.path
    assert not request.stream


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]], ["a", 1], 7, None, {"text": "x"}])
@pytest.mark.parametrize("dialect", [OPENAI, EMBED, OLD])
def test_token_ids_are_refused(dialect: Dialect, given: Any) -> None:
    """What cannot be read as text is refused with the field's name."""
    with pytest.raises(BadRequest) as refused:
        dialect.parse(ask(dialect, given), Options())
    assert str(refused.value.param).startswith(dialect.key)


@pytest.mark.parametrize("dialect", [OPENAI, EMBED, OLD])
def test_what_is_not_known_does_not_go_upstream(dialect: Dialect) -> None:
    """Unknown keys are dropped and reported; spellings that Go would read as known ones are refused."""
    request = dialect.parse(ask(dialect, "x", user="u", extra={"prompt": "y"}), Options())
    assert set(request.dropped) == {"user", "extra"}
    assert set(json.loads(dialect.upstream_body(request))) == {"model", dialect.key}
    with pytest.raises(BadRequest):
        dialect.parse(ask(dialect, "x", **{dialect.key.title(): "evil"}), Options())


def test_model_control_is_left_out() -> None:
    """Embedding models are not pinned, evicted or reloaded either, and none runs elsewhere."""
    more = {"keep_alive": 0, "options": {"num_ctx": 9, "seed": 1}, "truncate": True, "dimensions": 4}
    request = EMBED.parse(ask(EMBED, "x", **more), Options())
    assert set(request.dropped) == {"keep_alive", "options.num_ctx"}
    sent = json.loads(EMBED.upstream_body(request))
    assert sent == {"model": "m", "input": "x", "options": {"seed": 1}, "truncate": True, "dimensions": 4}
    allowed = EMBED.parse(ask(EMBED, "x", **more), Options(allow_model_control=True))
    assert json.loads(EMBED.upstream_body(allowed)) == {"model": "m", "input": "x", **more}
    with pytest.raises(BadRequest) as refused:
        OPENAI.parse(b'{"model":"m:cloud","input":"x"}', Options())
    assert refused.value.code == "cloud_model"


@pytest.mark.parametrize(("dialect", "answer"), ANSWERS)
def test_numbers_pass_unchanged(dialect: Dialect, answer: dict[str, Any]) -> None:
    """A good answer passes whole, as a handler feeds it too, whatever the upstream's framing."""
    body = json.dumps(answer).encode()
    assert json.loads(dialect.clean_answer(body, GUARD)) == answer
    request = dialect.parse(ask(dialect, "x"), Options())
    whole = dialect.answer(request, Guard(PhrasePlan([block("=")])), lambda finding: "")
    assert whole.whole(body) == b""
    pieces = dialect.answer(request, Guard(PhrasePlan()), lambda finding: "")
    assert b"".join(pieces.feed(body[i : i + 7]) for i in range(0, len(body), 7)) + pieces.finish() == b""
    for got in (whole, pieces):
        assert got.failed is None
        assert got.done
        assert json.loads(got.result()) == answer


def test_the_clients_can_read_it() -> None:
    """The openai and ollama packages read what is left."""
    body = OPENAI.clean_answer(json.dumps(OPENAI_ANSWER).encode(), GUARD)
    assert CreateEmbeddingResponse.model_validate_json(body).data[1].embedding == [1.0, 2.0, 3.0]
    assert (
        EmbedResponse.model_validate_json(
            EMBED.clean_answer(json.dumps(EMBED_ANSWER).encode(), GUARD)
        ).prompt_eval_count
        == 8
    )
    assert EmbeddingsResponse.model_validate_json(OLD.clean_answer(b'{"embedding":[0.5]}', GUARD)).embedding == [0.5]


def base64_answer(value: str) -> bytes:
    """An answer whose one vector is a text."""
    return json.dumps({**OPENAI_ANSWER, "data": [{"object": "embedding", "index": 0, "embedding": value}]}).encode()


def test_packed_numbers_pass() -> None:
    """The openai package asks for base64 of 32-bit floats by itself."""
    packed = base64.b64encode(struct.pack("<3f", 0.5, -1.0, 2.0)).decode()
    assert json.loads(OPENAI.clean_answer(base64_answer(packed), GUARD))["data"][0]["embedding"] == packed


@pytest.mark.parametrize("value", ["FORBIDDEN", "FORBIDDEN words", "QUJD", "QUJDR A==", "é"])
def test_other_text_is_no_vector(value: str) -> None:
    """A text that does not hold whole 32-bit floats is an error, not an answer."""
    with pytest.raises(UpstreamBroken):
        OPENAI.clean_answer(base64_answer(value), GUARD)


@pytest.mark.parametrize(("dialect", "answer"), ANSWERS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_text_passes(dialect: Dialect, answer: dict[str, Any], data: st.DataObject) -> None:
    """A sentence in the place of any value, or under any unknown key, does not go out."""
    prose = "FORBIDDEN words, of a model"
    changed = json.loads(json.dumps(answer))
    node: Any = changed
    while True:
        keys = [*node, "unknown"] if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if key == "unknown" or not node[key] or not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = data.draw(st.sampled_from([prose, [prose], {"a": prose}]))
            break
        node = node[key]
    try:
        out = dialect.clean_answer(json.dumps(changed).encode(), GUARD)
    except UpstreamBroken:
        return
    assert b"FORBIDDEN" not in out


@pytest.mark.parametrize("dialect", [OPENAI, EMBED, OLD])
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"<html>", b'{"error":"x"}', b'{"data":[],"embedding":3}', b"\xff"]
)
def test_what_is_no_answer_is_an_error(dialect: Dialect, body: bytes) -> None:
    """Anything else is an error of the model server."""
    if dialect is OPENAI and b"data" in body:
        assert json.loads(dialect.clean_answer(body, GUARD)) == {"data": []}
        return
    with pytest.raises(UpstreamBroken):
        dialect.clean_answer(body, GUARD)
    answer = dialect.answer(dialect.parse(ask(dialect, "x"), Options()), Guard(PhrasePlan()), lambda finding: "")
    assert answer.whole(body) == b""
    assert answer.failed is not None


def test_a_broken_connection_is_an_error() -> None:
    """Half an answer is none."""
    answer = OPENAI.answer(OPENAI.parse(ask(OPENAI, "x"), Options()), Guard(PhrasePlan()), lambda finding: "")
    answer.feed(b'{"object":"list","data":[')
    error = UpstreamTimeout("the model server was silent", "timeout")
    assert answer.finish(error) == b""
    assert answer.failed is error


def test_errors_have_the_endpoints_shape() -> None:
    """OpenAI's object on its paths, Ollama's string on its own, for refusals and for blocks."""
    problem = BadRequest("input is missing", "input", "missing_field")
    assert json.loads(OPENAI.error(problem, "r1"))["error"]["param"] == "input"
    assert json.loads(OPENAI.blocked("no", "r1"))["error"]["code"] == "content_filter"
    assert json.loads(OPENAI.blocked("no", "r1"))["error"]["param"] == "input"
    assert json.loads(EMBED.error(problem, "r1")) == {"error": "input is missing"}
    assert json.loads(OLD.blocked("no", "r1")) == {"error": "no"}


def test_the_operators_words_are_not_measured() -> None:
    """A policy's system prompt has no place in a text that is only measured."""
    request = EMBED.parse(ask(EMBED, "x"), Options())
    EMBED.instruct(request, "A", "Z")
    assert json.loads(EMBED.upstream_body(request)) == {"model": "m", "input": "x"}


@pytest.mark.parametrize(
    ("dialect", "answer"), [(OPENAI, OPENAI_ANSWER), (LMSTUDIO, OPENAI_ANSWER), (EMBED, EMBED_ANSWER)]
)
def test_a_models_name_that_a_rule_minds(dialect: Dialect, answer: dict[str, Any]) -> None:
    """It is withheld, as in every other dialect; the numbers pass."""
    body = json.dumps({**answer, "model": "forbidden"}).encode()
    got = dialect.answer(
        dialect.parse(ask(dialect, "x"), Options()), Guard(PhrasePlan([block("bidden")])), lambda f: ""
    )
    assert got.whole(body) == b""
    assert json.loads(got.result()) == {**answer, "model": "withheld"}
