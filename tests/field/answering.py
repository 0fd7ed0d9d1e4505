"""What is needed to play a model server's answer through a dialect, the guard and real policies, and to read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from proxy.core.guard import Guard
from proxy.core.types import Direction, Finding
from proxy.dialects.answer import Answer
from proxy.dialects.base import Dialect
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.request import Options, Request
from proxy.policy.policyset import PolicySet
from tests.leaks.attack import EMAIL, policies

QUIET = "{id: quiet, pattern: 'matches nothing at all', action: block}"
STOP = "{id: stop, words: [forbidden], action: block}"
NOTICE = "<stopped>"
RULES = (QUIET,)
__all__ = ["EMAIL", "NOTICE", "QUIET", "STOP", "Got", "carried", "events", "told"]


class Got(NamedTuple):
    """What a client got: all bytes of a stream, or the one body; b"" where the exchange failed before a body."""

    answer: Answer
    out: bytes


def carried(
    dialect: Dialect,
    request: Mapping[str, Any],
    sent: Iterable[bytes] | bytes,
    rules: Sequence[str] = RULES,
    options: Options | None = None,
    limits: str = "",
) -> Got:
    """An exchange: pieces are the model server's stream, bytes its one body. `stream` in the request says who asks."""
    asked = dialect.parse(json.dumps(request).encode(), options or Options())
    plan = _policies(*rules, limits=limits).plan(Direction.OUTPUT, model=asked.model)
    answer = dialect.answer(asked, Guard(plan, asked.json_content, asked.prefills()), _notice)
    out = answer.whole(sent) if isinstance(sent, bytes) else b"".join([*map(answer.feed, sent), answer.finish()])
    if asked.stream:
        return Got(answer, out)
    return Got(answer, b"" if answer.failed else answer.result())


def answering(asked: Request, rules: Sequence[str]) -> Answer:
    """The way back of OpenAI's chat under these rules."""
    plan = _policies(*rules).plan(Direction.OUTPUT, model=asked.model)
    return OpenAIChat().answer(asked, Guard(plan, asked.json_content), _notice)


@cache
def _policies(*rules: str, limits: str = "") -> PolicySet:
    return policies(*rules, limits=limits)


def _notice(finding: Finding) -> str:
    return NOTICE


def events(*values: Mapping[str, Any] | str, named: bool = False) -> list[bytes]:
    """Server-sent events; `named`: under the name of their type."""
    return [_event(value, named) for value in values]


def _event(value: Mapping[str, Any] | str, named: bool) -> bytes:
    data = value if isinstance(value, str) else json.dumps(value)
    name = f"event: {value['type']}\n" if named and not isinstance(value, str) else ""
    return f"{name}data: {data}\n\n".encode()


def told(out: bytes) -> list[dict[str, Any]]:
    """The JSON of a stream's events or lines."""
    lines = [line.removeprefix("data: ") for line in out.decode().split("\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]
