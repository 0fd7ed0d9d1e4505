"""OpenAI's completions: the shared conformance tests, the requests that are understood, and what is its own."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from proxy.core.guard import Guard
from proxy.dialects.base import Dialect
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.request import Options
from proxy.errors import BadRequest, ClientError
from tests.dialects.conformance import BAD, NOTICE, Conformance, Deltas, Stream, Told, Wire, notice
from tests.dialects.golden_files import golden
from tests.phrases import PhrasePlan, block

DIALECT = OpenAICompletions()


class CompletionsWire(Wire):
    """An upstream and a client of /v1/completions."""

    dialect: ClassVar[Dialect] = DIALECT
    streams = (
        Stream("llama_completions_stream", False, "token probabilities repeat the text and are dropped"),
        Stream(
            "llama_completions_two_prompts_stream",
            False,
            "an event that is only `null` is dropped",
            asks={"prompt": ["hi", "ho"]},
        ),
        Stream("ollama_v1_completions_stream"),
    )
    streamed = ("text",)
    content = "text"
    finish = "stop"
    blocked = "content_filter"

    def request(self, **extra: Any) -> bytes:
        return json.dumps({"model": "m", "prompt": "hi", **extra}).encode()

    def json_mode(self) -> dict[str, Any]:
        return {"response_format": {"type": "json_object"}}

    def speak(self, deltas: Deltas) -> bytes:
        chunks = [_chunk({"text": text, "index": 0, "finish_reason": None}) for _, text in deltas]
        return b"".join([*chunks, _chunk({"text": "", "index": 0, "finish_reason": "stop"}), b"data: [DONE]\n\n"])

    def speak_whole(self, deltas: Deltas) -> bytes:
        choices = [{"text": "".join(text for _, text in deltas), "index": 0, "finish_reason": "stop"}]
        return json.dumps({"id": "x", "object": "text_completion", "model": "m", "choices": choices}).encode()

    def read(self, data: bytes) -> Told:
        told = Told()
        *events, rest = data.split(b"\n\n")
        assert rest == b""
        done = False
        for event in events:
            assert not done, "something follows [DONE]"
            done = event == b"data: [DONE]"
            if event.startswith(b"data: {"):
                self._read_chunk(json.loads(event[6:]), told)
        if not done:
            told.finish.clear()
        assert done != told.failed
        return told

    def _read_chunk(self, chunk: dict[str, Any], told: Told) -> None:
        if "error" in chunk:
            assert set(chunk["error"]) >= {"message", "type", "param", "code"}
            told.failed = True
            return
        assert not told.failed
        assert chunk["object"] == "text_completion"
        for choice in chunk["choices"]:
            told.say((choice["index"], "text"), choice["text"])
            if choice["finish_reason"]:
                told.finish[choice["index"]] = choice["finish_reason"]

    def read_whole(self, data: bytes) -> Told:
        told = Told()
        self._read_chunk(json.loads(data), told)
        return told


def _chunk(choice: dict[str, Any]) -> bytes:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"


class TestConformance(Conformance):
    """What every dialect has to do."""

    wire = CompletionsWire()


def _parse(options: Options | None = None, **body: Any) -> Any:
    return DIALECT.parse(json.dumps(body).encode(), options or Options())


def test_a_string_prompt() -> None:
    """One prompt is one text of the user and one choice; what goes upstream asks for a stream with usage."""
    request = _parse(model="m", prompt="once upon", n=2, echo=True, stream=False, x_odd=1)
    assert [(t.role, t.text, t.param) for t in request.texts] == [("user", "once upon", "prompt")]
    assert (request.choices, request.stream, request.dropped) == (2, False, ("x_odd",))
    request.texts[0].put("twice")
    assert json.loads(DIALECT.upstream_body(request)) == {
        "model": "m",
        "prompt": "twice",
        "n": 2,
        "echo": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_list_of_prompts() -> None:
    """Each prompt is a text of its own, in a group of its own, and brings `n` choices."""
    request = _parse(model="m", prompt=["a", "b"], n=3)
    assert [(t.text, t.param) for t in request.texts] == [("a", "prompt[0]"), ("b", "prompt[1]")]
    assert len({t.group for t in request.texts}) == 2
    assert request.choices == 6
    request.texts[1].put("c")
    assert request.body["prompt"] == ["a", "c"]


@pytest.mark.parametrize(
    ("prompt", "place"),
    [([1, 2], "prompt[0]"), ([[1], [2]], "prompt[0]"), (["a", 1], "prompt[1]"), ({"prompt_string": "a"}, "prompt")],
)
def test_prompts_that_cannot_be_read(prompt: Any, place: str) -> None:
    """Token ids and anything else that is not text is refused, by its place."""
    with pytest.raises(BadRequest) as caught:
        _parse(model="m", prompt=prompt)
    assert caught.value.param == place


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"prompt": None}, {"prompt": []}, {"prompt": "a", "n": 0}, {"prompt": ["a"] * 100, "n": 2}),
        *({"PROMPT": "a"}, {"prompt": "a", "model": "x:cloud"}),
        {"prompt": "a", "suffix": 1},
    ],
)
def test_requests_that_are_refused(body: dict[str, Any]) -> None:
    """Malformed requests are the client's error, with the place of it."""
    with pytest.raises(ClientError) as caught:
        _parse(**body)
    assert caught.value.param


def test_suffix() -> None:
    """An empty suffix is none; another one needs the operator's leave, and is then judged."""
    assert "suffix" not in _parse(prompt="a", suffix="").body
    assert "suffix" not in _parse(prompt="a", suffix=None).body
    with pytest.raises(BadRequest, match="allow_raw_prompts"):
        _parse(prompt="a", suffix="b")
    request = _parse(Options(allow_raw_prompts=True), prompt="a", suffix="b")
    assert [t.text for t in request.texts] == ["a", "b"]
    assert request.texts[0].group != request.texts[1].group


def test_what_is_not_forwarded() -> None:
    """Token probabilities, the best of several and keep_alive are left out, and the client is told."""
    request = _parse(prompt="a", logprobs=2, best_of=3, keep_alive=-1)
    assert set(request.body) == {"prompt"}
    assert request.removed == ("logprobs",)
    assert set(request.dropped) == {"best_of", "keep_alive"}
    assert _parse(Options(logprobs=True), prompt="a", logprobs=2).body["logprobs"] == 2


def test_the_operators_words() -> None:
    """They stand before each prompt, and an echo would show them."""
    request = _parse(prompt=["a", "b"], echo=True)
    DIALECT.instruct(request, "Be kind.", "Be short.")
    assert request.body["prompt"] == ["Be kind.\n\nBe short.\n\na", "Be kind.\n\nBe short.\n\nb"]
    assert request.removed == ("echo",)
    request = _parse(prompt="a")
    DIALECT.instruct(request, "", "Be short.")
    assert request.body == {"prompt": "Be short.\n\na"}


def test_one_of_two_choices_is_blocked() -> None:
    """Only the choice that said it is ended; the other one goes on to its end, and the stream to its [DONE]."""
    body = golden("llama_completions_two_prompts_stream").body
    request = _parse(prompt=["a", "b"], stream=True)
    answer = DIALECT.answer(request, Guard(PhrasePlan((block("can't"),))), notice)
    told = CompletionsWire().read(answer.feed(body) + answer.finish())
    assert told.finish == {0: "stop", 1: "content_filter"}
    assert told.texts == {
        (0, "text"): "Sure. First take the FORBIDDEN-PHRASE and then mix it quickly.",
        (1, "text"): "I'm sorry, but I \n\n" + NOTICE,
    }
    assert answer.failed is None


def test_an_echoed_prompt_is_judged() -> None:
    """With echo the prompt is text of the answer like any other."""
    wire = CompletionsWire()
    answer, out = wire.stream([wire.speak([("text", f"the prompt says {BAD}"), ("text", " and on")])], block(BAD))
    assert answer.failed is None
    assert wire.read(out).texts == {(0, "text"): "the prompt says \n\n" + NOTICE}


def test_usage_in_the_last_chunk() -> None:
    """llama.cpp counts in the last chunk: a client that waits gets the numbers, and they pass in a stream."""
    wire = CompletionsWire()
    body = golden("llama_completions_stream").body
    _, whole = wire.collect([body])
    assert json.loads(whole)["usage"]["completion_tokens"] == 3
    assert json.loads(whole)["choices"][0] == {"index": 0, "text": "Sure", "logprobs": None, "finish_reason": "length"}
    assert b'"completion_tokens":3' in wire.stream([body])[1]


def test_logprobs_of_a_token_that_comes_again() -> None:
    """A whole answer has probabilities for each token, also where one is said twice with the same ones."""
    sent = _chunk({"text": "ha", "index": 0, "logprobs": {"tokens": ["ha"]}, "finish_reason": None}) * 3
    request = _parse(Options(logprobs=True), prompt="a", logprobs=1)
    answer = DIALECT.answer(request, Guard(PhrasePlan()), notice)
    answer.feed(sent + CompletionsWire().speak([]))
    assert json.loads(answer.result())["choices"][0]["logprobs"] == {"tokens": ["ha"] * 3}


@pytest.mark.parametrize("name", ["llama_completions", "ollama_v1_completions"])
def test_whole_answers_of_real_servers(name: str) -> None:
    """A JSON answer of a real server says the same to both kinds of client."""
    wire = CompletionsWire()
    body = golden(name).body
    wire.asks = {"prompt": ["hi", "ho"]} if len(json.loads(body)["choices"]) == 2 else {}
    for stream in (True, False):
        answer, told = wire.whole_to(body, stream=stream)
        assert answer.failed is None
        assert told == wire.read_whole(body)


def test_an_engine_that_died() -> None:
    """Ollama shows the death of its engine as an empty chunk and an ordinary end: the client gets an error."""
    wire = CompletionsWire()
    answer, out = wire.stream([golden("ollama_v1_completions_engine_killed_stream").body])
    assert answer.failed is not None
    assert answer.failed.reason == "truncated"
    told = wire.read(out)
    assert told.failed
    assert told.texts == {(0, "text"): " more round"}
    assert b'"model":""' not in out


def test_blocked_prompts_name_their_place() -> None:
    """The 400 of a refused prompt blames `prompt`."""
    error = json.loads(DIALECT.blocked("no", "r1"))["error"]
    assert (error["param"], error["code"], error["request_id"]) == ("prompt", "content_filter", "r1")
