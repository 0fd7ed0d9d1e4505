"""A guard's reply as a verdict. It has to fit its grammar as a whole: what cannot be read is an error, never a pass.

Guards in the field are mostly read by looking for a word; then an empty reply, a refusal or `not safe` passes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from proxy.checks.guards.format import PLACEHOLDER, Format, Grammar, Judged, Level

UNKNOWN = "unknown"
"""The category of a verdict that names one which the format does not know."""
Fault = Literal["empty", "cut", "thinking", "contradiction", "grammar"]

_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)
_THOUGHT = re.compile(r"\s*(?:<think>)?(.*?)</think>", re.DOTALL)
_WORD = re.compile(r"\w+")


class Verdict(NamedTuple):
    """What a guard says.

    level:      safe, controversial or unsafe
    categories: codes; () when it is safe, or when the guard does not say which (then it may be any)
    refusal:    whether it takes an answer for a refusal; None: it does not say
    """

    level: Level
    categories: tuple[str, ...] = ()
    refusal: bool | None = None


class VerdictError(ValueError):
    """A reply that says nothing that can be relied on. Its text never holds the reply.

    fault: `empty`, `cut` (it ended for its length), `thinking` (that never ended), `contradiction`, or `grammar`
    """

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def parse_verdict(guard: Format, reply: str, judged: Judged, category: str = "", finished: bool = True) -> Verdict:
    """What a reply says of what was judged. Raises VerdictError.

    category: the code that was asked about; "" when it was all of them
    finished: False when the server ended the reply for its length
    """
    text = _without_thinking(guard.verdict, reply)
    if not finished and not guard.verdict.rest:
        raise VerdictError("cut", "the reply of the guard ended at its longest length: give it more tokens")
    if not text.strip():
        raise VerdictError("empty", "the reply of the guard is empty")
    fields = _of_json(guard.verdict, text, judged) if guard.verdict.json else _of_lines(guard.verdict, text, judged)
    return _verdict(guard, fields, judged, category)


def worst(verdicts: list[Verdict]) -> Verdict:
    """What the verdicts on all pieces and categories say together."""
    level = max((verdict.level for verdict in verdicts), key=_SEVERITY.index)
    bad = [verdict for verdict in verdicts if verdict.level is not Level.SAFE]
    known = tuple(dict.fromkeys(code for verdict in bad for code in verdict.categories))
    is_any = any(verdict.level is level and not verdict.categories for verdict in bad)
    refusals = [verdict.refusal for verdict in verdicts if verdict.refusal is not None]
    return Verdict(level, () if is_any else known, any(refusals) if refusals else None)


_SEVERITY = (Level.SAFE, Level.CONTROVERSIAL, Level.UNSAFE)


def _without_thinking(grammar: Grammar, reply: str) -> str:
    if grammar.thinking and "</think>" in reply:
        found = _THOUGHT.match(reply)
        if found is not None and "<think>" not in found[1]:
            reply = reply[found.end() :]
    if "<think>" in reply:
        raise VerdictError("thinking", "the guard was still thinking when its reply ended: give it more tokens")
    return reply


def _of_lines(grammar: Grammar, text: str, judged: Judged) -> dict[str, str]:
    """The places of a reply in lines."""
    written = [line for line in text.split("\n") if line.strip()]
    if grammar.rest:
        return _of_beginning(grammar, text)
    fields: dict[str, str] = {}
    expected = [line for line in grammar.lines if judged in line.judges]
    for line in expected:
        found = _line(line.text).fullmatch(written[0]) if written else None
        if found is not None and not _is_value_missing(grammar, found):
            fields |= found.groupdict()
            written.pop(0)
        elif not line.optional:
            raise VerdictError("grammar", f"the reply of the guard does not have the line `{line.text}`")
    if written:
        told = [line.text for line in expected if PLACEHOLDER.sub("", line.text).strip()]
        if any(_line(line).fullmatch(left) for line in told for left in written):
            raise VerdictError("contradiction", "the guard gave two verdicts in one reply")
        raise VerdictError("grammar", "the reply of the guard has more in it than a verdict")
    return fields


def _is_value_missing(grammar: Grammar, found: re.Match[str]) -> bool:
    """Whether a line fits, but has no verdict where one belongs."""
    known = {word.casefold() for word in grammar.values}
    places = found.groupdict()
    return any(
        places[name].strip().casefold() not in known for name in ("verdict", "prompt", "answer") if name in places
    )


def _of_beginning(grammar: Grammar, text: str) -> dict[str, str]:
    """The verdict at the beginning of a reply that goes on. No word of the other side may stand behind it."""
    values = {word.casefold(): level for word, level in grammar.values.items()}
    words = [word.casefold() for word in _WORD.findall(text)]
    if not words or words[0] not in values or not text.lstrip().casefold().startswith(words[0]):
        raise VerdictError("grammar", "the reply of the guard does not begin with a verdict")
    if any(values.get(word, values[words[0]]) is not values[words[0]] for word in words):
        raise VerdictError("contradiction", "the guard gave two verdicts in one reply")
    return {"verdict": words[0]}


@lru_cache
def _line(text: str) -> re.Pattern[str]:
    """A line of a grammar as a pattern: blanks may be more, capitals do not matter."""
    parts = PLACEHOLDER.split(text)
    pieces = [r"\s*".join(map(re.escape, part.split())) for part in parts[::2]]
    fields = [rf"(?P<{name}>.*?)" for name in parts[1::2]]
    spelled = [piece for pair in zip(pieces, [*fields, ""], strict=True) for piece in pair if piece]
    return re.compile(r"\s*" + r"\s*".join(spelled) + r"\s*", re.IGNORECASE)


def _of_json(grammar: Grammar, text: str, judged: Judged) -> dict[str, str]:
    """The places of a reply in JSON. Keys that the grammar does not have are let be."""
    fenced = _FENCE.fullmatch(text.strip())
    try:
        found = json.loads(fenced[1] if fenced else text, object_pairs_hook=_once)
    except VerdictError:
        raise
    except (ValueError, RecursionError):
        raise VerdictError("grammar", "the reply of the guard is not JSON") from None
    if not isinstance(found, dict):
        raise VerdictError("grammar", "the reply of the guard is JSON, but no object")
    fields: dict[str, str] = {}
    for key in grammar.json:
        value = found.get(key.key)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = ", ".join(value)
        if isinstance(value, str | int) and not isinstance(value, bool):
            fields[key.field] = str(value)
        elif value is not None or (judged in key.judges and not key.optional):
            raise VerdictError("grammar", f"the reply of the guard has no usable `{key.key}`")
    return fields


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise VerdictError("contradiction", "the guard gave a key twice in one reply")
    return dict(pairs)


def _verdict(guard: Format, fields: dict[str, str], judged: Judged, category: str) -> Verdict:
    values = {word.casefold(): level for word, level in guard.verdict.values.items()}
    levels = {
        name: values.get(fields[name].strip().casefold()) for name in ("verdict", "prompt", "answer") if name in fields
    }
    level = levels.get(judged, levels.get("verdict"))
    if None in levels.values() or level is None or level is Level.NOT_JUDGED:
        raise VerdictError("grammar", "the reply of the guard has no verdict that is known")
    named = tuple(_codes(guard, fields.get("categories", "")))
    if named and not set(levels.values()) & {Level.UNSAFE, Level.CONTROVERSIAL}:
        raise VerdictError("contradiction", "the guard calls a text safe, and names a category")
    refusal = {"yes": True, "no": False}.get(fields.get("refusal", "").strip().casefold())
    if level is Level.SAFE:
        return Verdict(level, (), refusal)
    return Verdict(level, (category,) if category else named, refusal)


def _codes(guard: Format, written: str) -> Iterator[str]:
    """The categories in a list. One that is not known is UNKNOWN, and no less unsafe."""
    if written.strip(" .[]").casefold() in {word.casefold() for word in guard.verdict.none}:
        return
    for name in written.split(","):
        word = name.strip(" .\t\r\"'[]")
        if word:
            known = guard.named(word)
            yield known.code if known else UNKNOWN
