"""Whatever stands in a request of an agent: it is judged, or it is not sent."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic.blocks import BLOCKS
from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.common.request_fields import Object
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.openai.responses.input_items import ITEMS
from proxy.dialects.request import Options, Request
from proxy.errors import ClientError

TOKEN = re.compile(r"tok\d+en")
"""Each text of a request is another one."""
OF_PICTURES = re.compile(r'"(?:data|url|image_url)": ?"tok\d+en"')
"""What nobody here reads: pictures and sound."""
ALLOWED = Options(allow_server_tools=True, allow_remote_images=True, allow_stateful=True)


KEYS: dict[str, list[str]] = {
    **{kind: sorted(entry._keys) for kind, entry in {**ITEMS, **BLOCKS}.items() if isinstance(entry, Object)},
    **{kind: ["text"] for kind in ("input_text", "output_text", "summary_text", "reasoning_text")},
    **{kind: ["name", "description", "parameters", "input_schema"] for kind in ("function", "custom", "bash_20250124")},
    "text": ["text", "citations", "data"],
    "refusal": ["refusal"],
    "input_image": ["image_url"],
    "content": ["content"],
    "namespace": ["name", "tools"],
    "web_fetch_result": ["url", "content"],
    "tool_definition": ["definition"],
}
"""By kind of block, item, tool, or part of one, the keys that it may have."""
BLOCK_KINDS, ITEM_KINDS = [*BLOCKS, "odd"], [*ITEMS, "odd"]
TOOL_KINDS = ["function", "custom", "bash_20250124", "namespace", "web_search", "odd"]
PART_KINDS = ["input_text", "output_text", "summary_text", "reasoning_text", "refusal", "input_image", "text", "odd"]
INSIDE = {
    "content": [*PART_KINDS, "web_fetch_result", *BLOCK_KINDS],
    "summary": PART_KINDS,
    "output": PART_KINDS,
    "source": ["text", "content", "base64", "url", "odd"],
    "tool": ["tool_reference", "tool_definition", "odd"],
    "tool_changes": ["tool_addition", "tool_removal"],
    "definition": TOOL_KINDS,
    "tools": TOOL_KINDS,
}
"""By key, the kinds that stand below it."""


def holder(random: Random, kinds: Sequence[str], depth: int = 3) -> dict[str, Any]:
    """A block, an item, a tool, or a part of one."""
    kind = random.choice(kinds)
    keys = [key for key in KEYS.get(kind, ["name", "text"]) if key != "type" and random.random() < 0.9]
    odd = ["odd"] if random.random() < 0.1 else []
    return {**{key: value(random, key, depth) for key in [*keys, *odd]}, "type": kind}


def value(random: Random, key: str, depth: int) -> Any:
    """What may stand under a key: most often what fits there."""
    chance = random.random()
    if key == "role":
        return random.choice(["user", "assistant", "developer"])
    if depth and key in INSIDE and chance < 0.85:
        several = [holder(random, INSIDE[key], depth - 1) for _ in range(random.choice([1, 1, 2]))]
        return several[0] if key in ("source", "tool", "definition") or chance < 0.1 else several
    if depth and chance < 0.3:
        return {"odd": value(random, "", depth - 1), "deep": [value(random, "", depth - 1)]}
    return random.choice([None, True, 3, 0.5, [], {}]) if chance > 0.95 else "TEXT"


def several(random: Random, kinds: Sequence[str]) -> list[Any]:
    """Some of one of these kinds."""
    return [holder(random, kinds) for _ in range(random.choice([1, 2, 5]))]


def numbered(value: Any, counter: Any) -> Any:
    """The same with another text in each place, and under another name where any name may stand."""
    if value == "TEXT":
        return f"tok{next(counter)}en"
    if isinstance(value, list):
        return [numbered(item, counter) for item in value]
    if isinstance(value, dict):
        named = {f"tok{next(counter)}en" if key == "odd" else key: item for key, item in value.items()}
        return {key: item if key in ("type", "role") else numbered(item, counter) for key, item in named.items()}
    return value


def parsed(dialect: Dialect, body: dict[str, Any], options: Options) -> Request | None:
    """A request, or None if it is refused."""
    try:
        return dialect.parse(json.dumps(body).encode(), options)
    except ClientError:
        return None


def messages(random: Random) -> dict[str, Any]:
    """A request of Anthropic's messages."""
    said = [{"role": role, "content": several(random, BLOCK_KINDS)} for role in ("user", "assistant", "system")]
    system, tools = several(random, ["text", "odd"]), several(random, TOOL_KINDS)
    return {"messages": [*said, {"role": "user", "content": "hi"}], "system": system, "tools": tools}


def responses(random: Random) -> dict[str, Any]:
    """A request of OpenAI's responses."""
    items = [*several(random, ITEM_KINDS), {"role": "user", "content": several(random, PART_KINDS)}]
    return {"input": items, "tools": several(random, TOOL_KINDS), "tool_choice": holder(random, TOOL_KINDS)}


Shape = Callable[[Random], dict[str, Any]]
CASES = [(AnthropicMessages(), messages), (OpenAIResponses(), responses)]
SEEDS = st.integers(0, 2**32)


def sent_of(dialect: Dialect, shape: Shape, seed: int, options: Options) -> Request | None:
    """What the proxy makes of a request with random parts; None if it is refused."""
    return parsed(dialect, numbered(shape(Random(seed)), itertools.count()), options)


@pytest.mark.parametrize(("dialect", "shape"), CASES, ids=["messages", "responses"])
def test_most_requests_pass(dialect: Dialect, shape: Shape) -> None:
    """The others would prove nothing."""
    requests = [sent_of(dialect, shape, seed, Options()) for seed in range(200)]
    counts = [len(TOKEN.findall(json.dumps(request.body))) for request in requests if request is not None]
    assert len(counts) > 100
    assert sum(counts) > 4 * len(counts)


@pytest.mark.parametrize(("dialect", "shape"), CASES, ids=["messages", "responses"])
@pytest.mark.parametrize("options", [Options(), ALLOWED], ids=["default", "allowed"])
@given(seed=SEEDS)
def test_every_text_that_is_sent_is_judged(dialect: Dialect, shape: Shape, options: Options, seed: int) -> None:
    """Each text and each free key in what goes upstream is among the texts to be judged."""
    request = sent_of(dialect, shape, seed, options)
    if request is not None:
        sent = OF_PICTURES.sub("", json.dumps(request.body))
        judged = " ".join(text.text for text in request.texts)
        assert set(TOKEN.findall(sent)) <= set(TOKEN.findall(judged))


@pytest.mark.parametrize(("dialect", "shape"), CASES, ids=["messages", "responses"])
@given(seed=SEEDS)
def test_what_is_sent_passes_again(dialect: Dialect, shape: Shape, seed: int) -> None:
    """What goes upstream has nothing in it that would be left out, refused or changed."""
    request = sent_of(dialect, shape, seed, Options())
    if request is not None:
        again = parsed(dialect, request.body, Options())
        assert again is not None
        assert (again.body, again.dropped) == (request.body, ())


@pytest.mark.parametrize(("dialect", "shape"), CASES, ids=["messages", "responses"])
@given(seed=SEEDS)
def test_texts_are_written_back_where_they_stand(dialect: Dialect, shape: Shape, seed: int) -> None:
    """A rule that rewrites every text leaves none of them in what goes upstream."""
    request = sent_of(dialect, shape, seed, Options())
    if request is not None:
        for text in request.texts:
            text.put(TOKEN.sub("gone", text.text))
        assert not TOKEN.search(OF_PICTURES.sub("", json.dumps(request.body)))
