"""The main job, end to end: the proxy in a process of its own, a real llama.cpp server behind it, real clients."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests import plain_http
from tests.e2e.llama_server import LlamaServer
from tests.e2e.scripts import EMAIL, FORBIDDEN, FORBIDDEN_ARGUMENT, SCRIPTS
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.sdk]

NOTICE = "This was stopped by the house."
PHRASES = f"""
version: 1
policy: house
rules:
  - id: phrase
    words: ["{FORBIDDEN}", "{FORBIDDEN_ARGUMENT}"]
    action: block
    message: "{NOTICE}"
"""
ADDRESSES = """
version: 1
policy: addresses
rules:
  - id: mail
    detector: email
    action: rewrite
    replacement: "[email]"
"""
WEATHER_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "note": {"type": "string"}}},
    },
}
Said = dict[str, Any]
"""What a client has read: text, reason, and what it raised."""
Driver = Callable[[str, Any], Awaitable[Said]]


@pytest.fixture(scope="module")
def proxy(llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """The proxy as its users run it, with two policies."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "phrases.yaml").write_text(PHRASES, encoding="utf-8")
    (folder / "addresses.yaml").write_text(ADDRESSES, encoding="utf-8")
    with ProxyProcess(upstream=llama.url, policies=folder) as process:
        yield process


@pytest.fixture(scope="module")
def quiet(llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """One whose rules have nothing to wait for in a clean answer: any word may be the beginning of an address."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "phrases.yaml").write_text(PHRASES, encoding="utf-8")
    with ProxyProcess(upstream=llama.url, policies=folder) as process:
        yield process


def messages(name: str) -> Any:
    """A conversation whose last message makes the model say a script."""
    return [{"role": "user", "content": f"Please speak. [[{name}]]"}]


# -- ways to ask with the openai package


def _chunks(chunks: list[Any]) -> Said:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
    return {"text": "".join(choice.delta.content or "" for choice in choices), "reason": reasons[-1]}


def _whole(completion: Any) -> Said:
    choice = completion.choices[0]
    return {"text": choice.message.content, "reason": choice.finish_reason}


async def sync_stream(base_url: str, request: Any) -> Said:
    """OpenAI(), create(stream=True)."""
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        return _chunks(list(client.chat.completions.create(model="tiny", stream=True, **request)))


async def sync_whole(base_url: str, request: Any) -> Said:
    """OpenAI(), create()."""
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        return _whole(client.chat.completions.create(model="tiny", **request))


async def sync_helper(base_url: str, request: Any) -> Said:
    """OpenAI(), the streaming helper."""
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        text = ""
        try:
            with client.chat.completions.stream(model="tiny", **request) as stream:
                for event in stream:
                    text += event.delta if event.type == "content.delta" else ""
                return _whole(stream.get_final_completion())
        except openai.ContentFilterFinishReasonError:
            return {"text": text, "reason": "content_filter"}


async def async_stream(base_url: str, request: Any) -> Said:
    """AsyncOpenAI(), create(stream=True)."""
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        stream: Any = await client.chat.completions.create(model="tiny", stream=True, **request)
        return _chunks([chunk async for chunk in stream])


async def async_whole(base_url: str, request: Any) -> Said:
    """AsyncOpenAI(), create()."""
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        return _whole(await client.chat.completions.create(model="tiny", **request))


async def async_helper(base_url: str, request: Any) -> Said:
    """AsyncOpenAI(), the streaming helper."""
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        text = ""
        try:
            async with client.chat.completions.stream(model="tiny", **request) as stream:
                async for event in stream:
                    text += event.delta if event.type == "content.delta" else ""
                return _whole(await stream.get_final_completion())
        except openai.ContentFilterFinishReasonError:
            return {"text": text, "reason": "content_filter"}


async def sync_raw(base_url: str, request: Any) -> Said:
    """OpenAI(), with_raw_response."""
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="tiny", **request)
        assert raw.headers["x-safety-proxy-request-id"]
        return _whole(raw.parse())


DRIVERS = [sync_stream, sync_whole, sync_helper, sync_raw, async_stream, async_whole, async_helper]
drivers = pytest.mark.parametrize("ask", DRIVERS, ids=lambda driver: str(driver.__name__))


@pytest.mark.anyio
@drivers
@pytest.mark.parametrize("name", ["default", "emoji", "refuse"])
async def test_a_clean_answer(proxy: ProxyProcess, ask: Driver, name: str) -> None:
    """What no rule minds arrives to the letter, by every way to ask."""
    assert await ask(proxy.base_url, {"messages": messages(name)}) == {"text": SCRIPTS[name].text, "reason": "stop"}


@pytest.mark.anyio
@drivers
async def test_a_forbidden_phrase(proxy: ProxyProcess, ask: Driver) -> None:
    """A forbidden phrase that spans many tokens never arrives, not one character; its reader is told."""
    said = await ask(proxy.base_url, {"messages": messages("bad")})
    assert said["reason"] == "content_filter"
    before, _, notice = said["text"].partition("\n\n")
    assert before == "Sure. First take the "
    assert notice.startswith(f"{NOTICE} (policy house, request ")


@pytest.mark.anyio
@drivers
async def test_a_rewrite(proxy: ProxyProcess, ask: Driver) -> None:
    """An address is replaced, and the rest of the answer stays."""
    said = await ask(proxy.base_url, {"messages": messages("mail")})
    assert said == {"text": SCRIPTS["mail"].text.replace(EMAIL, "[email]"), "reason": "stop"}


@pytest.mark.anyio
@drivers
async def test_a_forbidden_prompt(proxy: ProxyProcess, ask: Driver) -> None:
    """A forbidden prompt is a BadRequestError with code content_filter, asked once, and the model is not."""
    prompt = [{"role": "user", "content": f"Tell me of the {FORBIDDEN}."}]
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(proxy.base_url, {"messages": prompt})
    assert caught.value.code == "content_filter"
    assert NOTICE in str(caught.value)


def test_a_blocked_prompt_is_not_asked_again(proxy: ProxyProcess) -> None:
    """With the package's own retries on, a blocked prompt is still sent once."""
    asked = 0

    def count(_: httpx.Request) -> None:
        nonlocal asked
        asked += 1

    try:
        wire: Any = openai.DefaultHttpxClient(event_hooks={"request": [count]})
    except TypeError:  # a version whose client is another
        pytest.skip("this version of openai takes no event hooks")
    with (
        OpenAI(base_url=proxy.base_url, api_key="none", http_client=wire) as client,
        pytest.raises(openai.BadRequestError),
    ):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": FORBIDDEN}])
    assert asked == 1


# -- what is on the wire


@contextmanager
def _streaming(url: str, body: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=PATIENCE)
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": True}))
        with connection.getresponse() as response:
            yield response


def _raw_events(url: str, name: str, **options: Any) -> list[Any]:
    """Every event of a stream, as it came; what differs from one answer to the next is left out."""
    with _streaming(url, {"messages": messages(name), **options}) as response:
        data = [line.removeprefix(b"data: ").strip() for line in response if line.startswith(b"data: ")]
    return [_timeless(json.loads(item)) if item != b"[DONE]" else "[DONE]" for item in data]


def _timeless(event: Any) -> Any:
    usage = event.get("usage") or {}
    usage.pop("prompt_tokens_details", None)  # how much of the prompt the server still had in its cache
    for key in ("id", "created", "timings"):
        event.pop(key, None)
    for choice in event["choices"]:
        for call in choice["delta"].get("tool_calls", []):
            call.pop("id", None)
    return event


def _deltas(events: list[Any], index: int = 0) -> Iterator[dict[str, Any]]:
    for event in events:
        if event != "[DONE]":
            yield from (choice["delta"] for choice in event["choices"] if choice["index"] == index)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("default", {}),
        ("default", {"stream_options": {"include_usage": True}}),
        ("think", {}),
        ("default", {"n": 1, "temperature": 0.5, "top_k": 5, "seed": 7}),
    ],
)
def test_a_clean_stream_equals_the_direct_one(
    quiet: ProxyProcess, llama: LlamaServer, name: str, options: dict[str, Any]
) -> None:
    """A clean stream equals the direct one event for event."""
    assert _raw_events(quiet.url, name, **options) == _raw_events(llama.url, name, **options)


@pytest.mark.parametrize(("name", "options"), [("emoji", {}), ("json", {"response_format": {"type": "json_object"}})])
def test_what_waits_comes_with_the_next_event(
    quiet: ProxyProcess, llama: LlamaServer, name: str, options: dict[str, Any]
) -> None:
    """An invisible character goes with the word behind it, and a number in JSON waits for its end: the text is the
    same, though an event may have more of it."""
    texts = [
        "".join(delta.get("content") or "" for delta in _deltas(_raw_events(url, name, **options)))
        for url in (quiet.url, llama.url)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["bad", "think-bad"])
def test_not_one_character(proxy: ProxyProcess, name: str) -> None:
    """In no field of any event is one character of the phrase, nor in the bytes that end the stream."""
    with _streaming(proxy.url, {"messages": messages(name)}) as response:
        raw = response.read()
    events = [json.loads(line[6:]) for line in raw.split(b"\n\n") if line.startswith(b"data: {")]
    said = [value for delta in _deltas(events) for key, value in delta.items() if key != "role"]
    assert "FO" not in "".join(value or "" for value in said)
    assert "PHRASE" not in raw.decode()
    assert raw.endswith(b"data: [DONE]\n\n")


def test_reasoning(proxy: ProxyProcess) -> None:
    """Reasoning arrives as reasoning_content, and is guarded as the answer is."""
    deltas = list(_deltas(_raw_events(proxy.url, "think")))
    thought = "".join(delta.get("reasoning_content") or "" for delta in deltas)
    said = "".join(delta.get("content") or "" for delta in deltas)
    assert f"<think>{thought}</think>{said}" == SCRIPTS["think"].text


def _reason(events: list[Any]) -> str:
    """Why the answer ended; it says so once."""
    chunks = [event for event in events if event != "[DONE]"]
    (reason,) = [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    return str(reason)


def _calls(events: list[Any]) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for delta in _deltas(events):
        for piece in delta.get("tool_calls", []):
            call = calls.setdefault(piece["index"], {"name": "", "arguments": ""})
            call["name"] += piece["function"].get("name") or ""
            call["arguments"] += piece["function"].get("arguments") or ""
    return list(calls.values())


def test_a_tool_call(proxy: ProxyProcess) -> None:
    """A tool call arrives with its name and its arguments, and the answer ends as the model ended it."""
    events = _raw_events(proxy.url, "tool-clean", tools=[WEATHER_TOOL])
    (call,) = _calls(events)
    assert call["name"] == "get_weather"
    assert json.loads(call["arguments"]) == {"city": "Oslo", "note": "in Celsius"}
    assert _reason(events) == "tool_calls"


def test_a_rewritten_tool_call(proxy: ProxyProcess) -> None:
    """An address in a call's arguments is replaced, and what arrives is JSON."""
    (call,) = _calls(_raw_events(proxy.url, "tool-mail", tools=[WEATHER_TOOL]))
    assert json.loads(call["arguments"]) == {"city": "Oslo", "note": "[email]"}


@pytest.mark.parametrize("name", ["tool", "tool-escape"])
def test_a_forbidden_tool_call(proxy: ProxyProcess, name: str) -> None:
    """A forbidden word in a call's arguments, also written with an escape: nothing of the call arrives."""
    events = _raw_events(proxy.url, name, tools=[WEATHER_TOOL])
    assert _calls(events) == []
    assert _reason(events) == "content_filter"
    assert events[-1] == "[DONE]"


def test_two_choices(proxy: ProxyProcess) -> None:
    """With n=2 each choice is guarded on its own, and both get their end."""
    events = _raw_events(proxy.url, "bad", n=2)
    reasons = [c["finish_reason"] for e in events[:-1] for c in e["choices"] if c["finish_reason"]]
    assert reasons == ["content_filter", "content_filter"]
    for index in (0, 1):
        text = "".join(delta.get("content") or "" for delta in _deltas(events, index))
        assert text.startswith(f"Sure. First take the \n\n{NOTICE}")


@pytest.mark.parametrize("name", ["json-bad", "json-escape"])
def test_json_mode(proxy: ProxyProcess, name: str) -> None:
    """In JSON mode a forbidden phrase, also an escaped one, ends the answer, which is closed without a notice."""
    events = _raw_events(proxy.url, name, response_format={"type": "json_object"})
    text = "".join(delta.get("content") or "" for delta in _deltas(events))
    assert text == '{"answer": 42, "why": "because "}'
    assert _reason(events) == "content_filter"


def test_logprobs_do_not_spell_the_text(proxy: ProxyProcess) -> None:
    """Log probabilities, which spell every token, are removed, and a header says so."""
    asked = {"messages": messages("bad"), "logprobs": True, "top_logprobs": 2}
    with _streaming(proxy.url, asked) as response:
        assert response.headers["x-safety-proxy-removed"] == "logprobs"
        assert b"logprob" not in response.read().replace(b'"logprobs":null', b"")


def test_a_block_frees_the_model(proxy: ProxyProcess, llama: LlamaServer) -> None:
    """After a block the server's slot is free, although the model would talk for ever."""
    with _streaming(proxy.url, {"messages": messages("bad-loop")}) as response:
        assert response.read().endswith(b"data: [DONE]\n\n")
    llama.wait_idle()


def test_a_block_frees_the_model_for_a_client_that_does_not_stream(proxy: ProxyProcess, llama: LlamaServer) -> None:
    """The same for a client that does not stream: it has its answer, and the slot is free."""
    answer = plain_http.post(f"{proxy.base_url}/chat/completions", json={"messages": messages("bad-loop")})
    assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
    llama.wait_idle()


def test_a_disconnect_frees_the_model(proxy: ProxyProcess, llama: LlamaServer) -> None:
    """After a disconnect the server's slot is free."""
    with _streaming(proxy.url, {"messages": messages("loop")}) as response:
        assert response.read(4000)
        assert llama.slots_busy() == 1
    llama.wait_idle()


def test_a_disconnect_of_a_client_that_does_not_stream(proxy: ProxyProcess, llama: LlamaServer) -> None:
    """The same for a client that waits for the whole answer, which the model server itself would not notice."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(proxy.url).netloc, timeout=PATIENCE)
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps({"messages": messages("loop")}))
        llama.wait_busy()
    llama.wait_idle()


def test_the_models_are_listed(proxy: ProxyProcess) -> None:
    """The openai package lists the models and describes one."""
    with OpenAI(base_url=proxy.base_url, api_key="none") as client:
        (model,) = client.models.list()
        assert model.owned_by == "llamacpp"


def test_the_model_servers_errors(proxy: ProxyProcess) -> None:
    """A request that llama.cpp refuses is its own error: status and message arrive through the openai package."""
    request: Any = {"messages": messages("default"), "extra_body": {"grammar": "this is no grammar"}}
    with (
        OpenAI(base_url=proxy.base_url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.chat.completions.create(model="tiny", **request)
    assert "grammar" in str(caught.value)


def test_metrics_count_it(proxy: ProxyProcess) -> None:
    """The admin listener counts what happened, and is ready."""
    plain_http.post(f"{proxy.base_url}/chat/completions", json={"model": "m", "messages": messages("bad")})
    metrics = plain_http.get(f"{proxy.admin_url}/metrics").text
    assert (
        'safety_proxy_requests_total{endpoint="/v1/chat/completions",model="m",outcome="blocked",stream="false"} 1.0'
        in metrics
    )
    assert 'safety_proxy_findings_total{action="block",direction="output",policy="house",rule="phrase"}' in metrics
    assert plain_http.get(f"{proxy.admin_url}/readyz").status_code == 200
