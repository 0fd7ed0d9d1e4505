"""Recorded texts, for `replay`: lines of one's own, and records of the decision log (docs/log.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from proxy.core.types import Direction, Kind
from proxy.dialects.common.request_texts import SYSTEM
from proxy.policy.explain import BadRecord, Outcome, Sample, outcome
from proxy.policy.policyset import PolicySet


class Recorded(NamedTuple):
    """A recorded text.

    id:     of the request; "" for a line of one's own
    rules:  which rules found something in it then; None: nobody knows
    masked: what they found is not in the text any more
    """

    sample: Sample
    id: str = ""
    rules: tuple[str, ...] | None = None
    masked: bool = False


class Difference(NamedTuple):
    """A text in which today's policies find something else than those then. `new`, `gone`: names of rules."""

    line: int
    recorded: Recorded
    new: tuple[str, ...]
    gone: tuple[str, ...]
    after: Outcome


def read_line(line: str) -> Iterator[Recorded]:
    """The texts of a line of JSONL: a string, an object with `text` and what else a Sample has, or a record of the
    decision log, which has a text for each part of an exchange, or none. Raises BadRecord."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise BadRecord(f"not JSON ({error})") from None
    if isinstance(record, str):
        yield Recorded(Sample(record))
    elif isinstance(record, dict) and "record_text" in record:
        yield from _texts_of(record)
    elif isinstance(record, dict) and isinstance(record.get("text"), str):
        yield Recorded(_sample(record))
    else:
        raise BadRecord('neither a string nor an object with a "text", nor a record of the decision log')


def difference(line: int, recorded: Recorded, policies: PolicySet) -> Difference | None:
    """What these policies find in a text that they did not then, or no longer find; None: nothing. What was masked
    cannot be found again."""
    after = outcome(policies, recorded.sample)
    now = tuple(dict.fromkeys(finding.rule.name for finding in after.findings))
    before = recorded.rules or ()
    new = now if recorded.masked else tuple(name for name in now if name not in before)
    gone = () if recorded.masked else tuple(name for name in before if name not in now)
    return Difference(line, recorded, new, gone, after) if new or gone else None


def _texts_of(record: dict[str, Any]) -> Iterator[Recorded]:
    texts = record.get("texts") or {}
    told = [text["text"] or "" for text in texts.get("prompt", ()) if text["role"] in SYSTEM]
    system = "\n".join(told)
    for direction, key in ((Direction.INPUT, "prompt"), (Direction.OUTPUT, "answer")):
        for text in texts.get(key, ()):
            if isinstance(text.get("text"), str):
                yield _recorded(record, direction, text, system)


def _recorded(record: dict[str, Any], direction: Direction, text: dict[str, Any], system: str) -> Recorded:
    given = {"text": text["text"], "direction": direction, "channel": text["channel"], "model": record["model"]}
    if direction is Direction.INPUT:
        given["role"] = text["role"]
    else:
        given["system"] = system
    sample = _sample(given)._replace(escaped=bool(text.get("json")))
    rules = tuple(dict.fromkeys(f"{found['policy']}/{found['rule']}" for found in text["findings"]))
    return Recorded(sample, record["id"], rules, record["record_text"] == "masked")


def _sample(record: dict[str, Any]) -> Sample:
    known = {name: record[name] for name in Sample._fields if isinstance(record.get(name), str)}
    try:
        return Sample(
            **{
                **known,
                "direction": Direction(record.get("direction", Direction.OUTPUT)),
                "kind": Kind(record.get("channel", Kind.CONTENT)),
            }
        )
    except ValueError as error:
        raise BadRecord(str(error).replace("Kind", "channel").replace("Direction", "direction")) from None
