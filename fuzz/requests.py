"""The requests of every dialect, and those of the two paths that have no dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given

from fuzz.mutations import Mutation, mutate, mutations, numbers, with_odd_value
from proxy.dialects.base import Dialect
from proxy.dialects.ollama import models as ollama_models
from proxy.dialects.openai import moderations
from proxy.dialects.request import Options
from proxy.errors import ClientError
from tests.census.doors import DOORS
from tests.census.driving import BLOCK
from tests.census.go_json import STRUCTS, read, texts
from tests.census.planting import AFTER, BAD, BEFORE, leaks
from tests.census.request_fields import Fate, Row, rows
from tests.census.test_census_requests import REFUSED, STOPPED, asked

TEXT = BEFORE + BAD + AFTER
NOT_READ = frozenset(
    (
        *("model", "draft_model", "stop", "stop_sequences", "samplers", "dry_sequence_breakers", "logit_bias"),
        *("tool_choice", "function_call", "chat_template_kwargs", "display", "verbosity", "images", "data", "format"),
        *("media_type", "source", "image_url", "data_url", "detail", "input_audio"),
    )
)
"""Keys whose texts no model reads."""


def readable(value: Any) -> Any:
    """The part of a request that a model may come to read."""
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items() if key not in NOT_READ}
    return [readable(item) for item in value] if isinstance(value, list) else value


def texts_again(dialect: Dialect, sent: bytes) -> list[str]:
    """The texts of what goes upstream, parsed again. An empty model name counts as none and may be left out."""
    again = json.dumps({"model": "", **json.loads(sent)}).encode()
    return [text.text for text in dialect.parse(again, Options(allow_stateful=True)).texts]


def make_check(path: str, dialect: Dialect) -> Callable[[], None]:
    """The driver for one path."""
    places = [row for row in rows() if row.path == path]

    @given(numbers, numbers, numbers, mutations)
    def check(one: int, two: int, odd: int, applied: Sequence[Mutation]) -> None:
        request = {**_of(places, one, "clean"), **_of(places, two, TEXT)}
        value = with_odd_value(request, odd) if odd % 2 else request
        body = mutate([json.dumps(value, ensure_ascii=odd % 3 == 0).encode()], (), applied)
        sent = asyncio.run(asked(dialect, body, BLOCK))
        if sent in (REFUSED, STOPPED):
            return
        assert not leaks(json.dumps(readable(json.loads(sent))).encode(), BAD)
        judged = [text.text for text in dialect.parse(body, Options()).texts]
        assert [text for text in judged if text] == [text for text in texts_again(dialect, sent) if text]
        if path in STRUCTS:
            assert not any(BAD in text for text in texts(readable(read(sent, STRUCTS[path]))))

    return check


def _of(places: Sequence[Row], number: int, text: str) -> dict[str, Any]:
    row = places[number % len(places)]
    free = row.place.free and row.fate is Fate.JUDGED
    return row.request({"a": text} if free else text)


ASKS = (b'{"input":"a"}', b'{"input":["a","b"]}', b'{"input":[{"type":"text","text":"a"}],"model":"m"}')
SHOWS = (b'{"model":"m"}', b'{"name":"m","model":"","verbose":true,"system":"","options":null}')


@given(numbers, numbers, mutations)
def check_moderations(number: int, odd: int, applied: Sequence[Mutation]) -> None:
    """Some inputs with texts in them, or a refusal."""
    try:
        request = moderations.parse(_some(ASKS, number, odd, applied))
    except ClientError:
        return
    assert request.inputs
    assert all(isinstance(text, str) for parts in request.inputs for text in parts)


@given(numbers, numbers, mutations)
def check_show(number: int, odd: int, applied: Sequence[Mutation]) -> None:
    """A model's name and one flag go upstream, or nothing."""
    try:
        model, body = ollama_models.show_request(_some(SHOWS, number, odd, applied))
    except ClientError:
        return
    sent = json.loads(body)
    assert set(sent) == {"model", "verbose"}
    assert sent["model"] == model


def _some(seeds: Sequence[bytes], number: int, odd: int, applied: Sequence[Mutation]) -> bytes:
    value = json.loads(seeds[number % len(seeds)])
    return mutate([json.dumps(with_odd_value(value, odd) if odd % 2 else value).encode()], (), applied)


CHECKS: dict[str, Callable[[], None]] = {
    **{f"requests: {door.path}": make_check(door.path, door.dialect) for door in DOORS},
    "requests: /v1/moderations": check_moderations,
    "requests: /api/show": check_show,
}
