"""What the policies that come with the proxy change, and what they cost: parts of bench.detection."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.detection_data import Run
from proxy.checks.markers import find
from proxy.core.gate import Gate
from proxy.core.types import Direction, Kind
from proxy.dialects.request import Options
from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from proxy.policy.policyset import PolicySet
from proxy.server.routing.routes import RouteTable
from proxy.settings import SHIPPED

PIECE = re.compile(r" ?[^\W\d_]{1,7}|\d{1,3}|\s+| ?[^\w\s]{1,3}|.")  # about as a language model's tokens are
PERSONAL = "personal-data.yaml"
STREAMED = 200  # answers, some 100,000 tokens


def changes(run: Run) -> Iterator[str]:
    """What the policies that apply without a setting change: prompts, arguments of calls, answers. And personal-data,
    which leaves addresses in code alone."""
    policies = compile_policies(read_directory(SHIPPED), hash_key=b"key")
    texts = list(_request_texts(run.requests))
    prompts_ = [(row["prompt"], "user", Kind.CONTENT) for row in run.rows("clean")]
    said = [(text, None, kind) for text, _, kind in texts if kind is Kind.TOOL_ARGUMENTS]
    answers = [(row["text"], None, Kind.CONTENT) for row in run.rows("clean")]
    rows_ = (
        ("texts in requests of clients", [_changes(policies, Direction.INPUT, *one) for one in texts]),
        ("clean prompts", [_changes(policies, Direction.INPUT, *one) for one in prompts_]),
        ("arguments of calls", [_changes(policies, Direction.OUTPUT, *one) for one in said]),
        ("clean answers", [_changes(policies, Direction.OUTPUT, *one) for one in answers]),
    )
    personal = compile_policies([s for s in read_directory(SHIPPED / "more") if s.base == PERSONAL], hash_key=b"key")
    rows_ += (("clean answers, under personal-data", [_changes(personal, Direction.OUTPUT, *one) for one in answers]),)
    yield "| under the default policies | texts | changed |\n|---|---|---|"
    for title, changed in rows_:
        yield f"| {title} | {len(changed):,} | {sum(changed)} |"


def _request_texts(folder: Path | None) -> Iterator[tuple[str, str | None, Kind]]:
    """Every text of the requests that a policy judges, with its role and kind; not those that hold a marker."""
    for path in sorted(folder.glob("*.json")) if folder else ():
        request = json.loads(path.read_text("utf-8"))
        route = RouteTable().find(request["method"], request["path"].partition("?")[0]).route
        assert route is not None
        body = json.dumps(request["body"]).encode()
        for text in route.dialect.parse(body, Options(allow_images=True)).texts if route.dialect else ():
            if not list(find(text.text)):
                yield text.text, text.role, text.kind


def _changes(policies: PolicySet, direction: Direction, text: str, role: str | None, kind: Kind) -> bool:
    checks = policies.plan(direction, model="m", role=role).checks(kind)
    return Gate(checks).feed(text, final=True) != text


def speed(run: Run) -> Iterator[str]:
    """CPU time of a token in a stream, and megabytes of whole texts in a second; this process's own clock."""
    every_answer = [row["text"] for row in run.rows("clean")]
    answers, others = every_answer[:STREAMED], every_answer[STREAMED : 2 * STREAMED]
    every = (*read_directory(SHIPPED), *read_directory(SHIPPED / "more"))
    strict = [source for source in every if source.base == "strict.yaml"]
    yield "| policies | CPU for a token, us: first text | new text | text as before | whole texts, MB/s |"
    yield "|---|---|---|---|---|"
    for title, files in (("default", read_directory(SHIPPED)), ("strict", strict), ("all shipped", every)):
        policies = compile_policies(files, hash_key=b"key")
        first, new, again = (_stream(policies, texts) for texts in (answers, others, others))
        yield f"| {title} | {first:.2f} | {new:.2f} | {again:.2f} | {_whole(policies, answers):.2f} |"


def _stream(policies: PolicySet, answers: Sequence[str]) -> float:
    """Microseconds a token. What tokens lead to is remembered from one call to the next."""
    checks = policies.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT)
    spent, tokens = 0.0, 0
    for answer in answers:
        pieces = PIECE.findall(answer)
        gate = Gate(checks)
        start = time.process_time()
        for piece in pieces:
            gate.feed(piece)
        gate.feed("", final=True)
        spent += time.process_time() - start
        tokens += len(pieces)
    return spent / tokens * 1e6


def _whole(policies: PolicySet, answers: Sequence[str]) -> float:
    checks = policies.plan(Direction.INPUT, model="m", role="user").checks(Kind.CONTENT)
    start = time.process_time()
    for answer in answers:
        Gate(checks).feed(answer, final=True)
    return sum(len(answer.encode()) for answer in answers) / 1e6 / (time.process_time() - start)
