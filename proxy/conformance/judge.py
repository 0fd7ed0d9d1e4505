"""Decides: what was wrong with an exchange, in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import zip_longest

from proxy.conformance.cases import Exchange
from proxy.conformance.client import Reply
from proxy.conformance.dialects.base import Dialect
from proxy.conformance.heard import Understood, joined
from proxy.conformance.secrets import Secret
from proxy.conformance.server import Script


def faults(exchange: Exchange, dialect: Dialect, reply: Reply, script: Script) -> list[str]:
    """All that is wrong; [] for nothing."""
    expect = exchange.case.expect
    told = dialect.understood(reply.body, exchange.stream) if reply.status == 200 else Understood()
    found = [*_leaks(exchange, reply, told), *_unseen(exchange, script), *_hung(exchange, reply)]
    if expect.end == "proper":
        found += _improper(exchange, dialect, reply, told)
    if expect.end == "told" and _looks_whole(dialect, reply, told):
        found.append("the client takes it for a whole answer, though the model server failed in the middle")
    if expect.end == "refused":
        found += _not_refused(dialect, reply)
    if expect.same and not found:
        found += _differences(_direct(exchange, dialect, script), told)
    return [*found, *_kept(exchange, told), *_parsed(exchange, told), *_seen_by_the_server(exchange, script)]


def _leaks(exchange: Exchange, reply: Reply, told: Understood) -> Iterator[str]:
    if exchange.secret is None or exchange.case.expect.unseen:
        return
    headers = [f"{name}: {value}" for name, value in reply.headers]
    part = _longest(exchange.secret, [*headers, *joined(reply.body), *told.texts.values(), *told.names.values()])
    if part:
        yield f"the client got {part!r} of the {exchange.secret.name}"


def _longest(secret: Secret, texts: Iterable[str]) -> str:
    return max((secret.leaked(text) for text in texts), key=len, default="")


def _unseen(exchange: Exchange, script: Script) -> Iterator[str]:
    if exchange.secret is None or not exchange.case.expect.unseen:
        return
    texts = [text for asked in script.asked for text in (asked.path, *joined(asked.body))]
    part = _longest(exchange.secret, texts)
    if part:
        yield f"the model server got {part!r} of the {exchange.secret.name} in the prompt"


def _hung(exchange: Exchange, reply: Reply) -> Iterator[str]:
    if reply.hung:
        yield "no end came in time"


def _is_refusal(dialect: Dialect, reply: Reply) -> bool:
    return 400 <= reply.status < 500 and dialect.is_error(reply.json())


def _improper(exchange: Exchange, dialect: Dialect, reply: Reply, told: Understood) -> Iterator[str]:
    may_refuse = exchange.secret is not None and exchange.secret.blocks
    if may_refuse and not reply.cut and _is_refusal(dialect, reply):
        return
    if reply.status != 200:
        yield f"the status is {reply.status}{' (the connection: ' + reply.cut + ')' if reply.cut else ''}"
        return
    if reply.cut:
        yield f"the connection was cut: {reply.cut}"
    if told.failed:
        yield "an error stands in the answer, which ends a chat"
    elif told.odd:
        yield f"no client can read it: {told.odd}"
    elif not (told.ended and told.finish):
        yield "the answer has no end: clients wait, or take it for broken"


def _looks_whole(dialect: Dialect, reply: Reply, told: Understood) -> bool:
    broken = reply.status != 200 or reply.cut or told.failed or told.odd or not told.ended
    return not broken and bool(told.finish) and all(reason in dialect.sane for reason in told.finish.values())


def _not_refused(dialect: Dialect, reply: Reply) -> Iterator[str]:
    if not 400 <= reply.status < 500:
        yield f"the status is {reply.status or reply.cut}, where 4xx is right"
    elif not dialect.is_error(reply.json()):
        yield "the error is not in the form in which clients of the dialect look for a message"


def _direct(exchange: Exchange, dialect: Dialect, script: Script) -> Understood:
    return dialect.understood(b"".join(script.pieces()), exchange.stream)


def _differences(right: Understood, told: Understood) -> Iterator[str]:
    expected, got = _texts(right), _texts(told)
    if not told.of("logprobs"):  # they may be left out
        expected = [text for text in expected if text[1] != "logprobs"]
    for sent, came in zip_longest(expected, got):
        if sent != came:
            yield f"a text is another: {came!r:.300} instead of {sent!r:.300}"
    if list(right.names.values()) != list(told.names.values()):
        yield f"the names of the tools are {told.names!r} instead of {right.names!r}"
    if right.finish != told.finish:
        yield f"the finish reasons are {told.finish!r} instead of {right.finish!r}"
    if right.usage != told.usage:
        yield f"the usage is {told.usage!r} instead of {right.usage!r}"


def _texts(told: Understood) -> list[tuple[int, str, str]]:
    """The texts in the order of choices, fields and calls; numbers of calls may be others. JSON counts by its value."""
    return [(choice, field, _value(field, text)) for (choice, field, _), text in sorted(told.texts.items())]


def _value(field: str, text: str) -> str:
    if field != "arguments":
        return text
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text


def _kept(exchange: Exchange, told: Understood) -> Iterator[str]:
    secret = exchange.secret
    if not exchange.case.expect.keeps or secret is None or secret.blocks:
        return
    sent = "".join(part.text for part in exchange.parts if part.field == "content")
    for text in sent.split(secret.text):
        if text not in told.of("content"):
            yield f"{text!r}, which stands around the {secret.name}, did not arrive"


def _parsed(exchange: Exchange, told: Understood) -> Iterator[str]:
    field = exchange.case.expect.parses
    if field is None or (exchange.secret is not None and exchange.secret.blocks):
        return
    for (_, name, _), text in told.texts.items():
        if name == field and not _is_json(text):
            yield f"{field} is no JSON any more: {text!r:.300}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _seen_by_the_server(exchange: Exchange, script: Script) -> Iterator[str]:
    expect = exchange.case.expect
    if expect.arrives and not script.arrived:
        yield "no text came before the model server had said all: the guard holds harmless text back"
    if expect.cancelled and not script.closed.is_set():
        yield "the model server's connection stayed open: the model goes on working for nobody"
    for key, value in expect.asked.items():
        got = [json.loads(asked.body).get(key) for asked in script.asked]
        if got != [value]:
            yield f"the model server got {key} as {got!r}, where the client said {value!r}"
