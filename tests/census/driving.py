"""One exchange of the census: a dialect, the guard and the real matcher, with a model server and an app around them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from proxy.core.guard import Guard
from proxy.core.types import Direction, Finding
from proxy.dialects.answer import Answer
from proxy.dialects.request import Options
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.plan import Plan
from proxy.policy.policyset import PolicySet
from tests.census.doors import Door
from tests.census.planting import BAD, LABEL, NOTICE, PLAIN

BLOCK, REWRITE = "block", "rewrite"
RULES = (BLOCK, REWRITE)
APART = r"z[oö]rb\s+laxium"
_RULES = {
    BLOCK: f"{{id: stop, words: ['{BAD}', '{PLAIN}'], action: block}}, {{id: far, pattern: '{APART}', action: block}}",
    REWRITE: f"{{id: hide, pattern: '{APART}|{PLAIN}', action: rewrite, replacement: '{LABEL}'}}",
}
DEFAULTS = Options()
ALLOWED = Options(
    allow_remote_images=True,
    allow_cloud_models=True,
    allow_raw_prompts=True,
    allow_stateful=True,
    allow_server_tools=True,
    allow_model_control=True,
)
"""All that an operator can allow while a policy looks at answers: token probabilities then never pass."""
TAKEN = [0]
"""How many rows were tried."""


@cache
def policies(rule: str) -> PolicySet:
    """A policy with one rule."""
    text = f"version: 1\npolicy: census\nrules: [{_RULES[rule]}]\n"
    return compile_policies([Source("census.yaml", text.encode())], hash_key=b"key")


@cache
def plan(rule: str, direction: Direction = Direction.OUTPUT, role: str | None = None) -> Plan:
    """What the policy asks for."""
    return policies(rule).plan(direction, model="m", role=role)


def notice(finding: Finding) -> str:
    """What stands for a policy's message."""
    return NOTICE


@dataclass(frozen=True)
class Carried:
    """What an app got: all bytes of a stream, or the one body."""

    answer: Answer
    out: bytes


def carry(
    door: Door,
    sent: Iterable[bytes] | bytes,
    rule: str,
    *,
    stream: bool,
    more: Mapping[str, object] | None = None,
    options: Options = DEFAULTS,
) -> Carried:
    """One row: pieces are a stream of the model server, bytes its one body."""
    TAKEN[0] += 1
    dialect = door.dialect
    request = dialect.parse(json.dumps({**door.script.request, "stream": stream, **(more or {})}).encode(), options)
    answer = dialect.answer(request, Guard(plan(rule), request.json_content, request.prefills()), notice)
    if isinstance(sent, bytes):
        out = answer.whole(sent)
    else:
        out = b"".join([*map(answer.feed, sent), answer.finish()])
    assert answer.done
    if not request.stream:
        out = dialect.error(answer.failed, "request-1") if answer.failed else answer.result()
    return Carried(answer, out)
