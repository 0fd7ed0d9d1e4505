"""POST /v1/moderations: OpenAI's moderation call, answered by the loaded policies. Nothing goes upstream.

An app can so ask what the policies say of a text without generating anything. A category is a rule's full name,
`policy/rule`. OpenAI's own categories are always there, because its clients require them; they are false unless a
policy has a rule of that name (policy `harassment` with rule `threatening`).

Source: the OpenAI API reference (moderations).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.types import Finding
from proxy.dialects.common.request_fields import OPTIONAL_STRING, STRING, Object, Report, by_type, list_of, tagged
from proxy.dialects.openai import errors as openai_errors
from proxy.dialects.wire.json_body import parse_request
from proxy.errors import BadRequest

MODEL = "safety-proxy"
JOINER = "\n\n"  # between the parts of one input, as between those of a message
OPENAI_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors"),
    *("violence", "violence/graphic"),
)

_PART = tagged("type", {"text": Object({"type": STRING, "text": STRING}, ["text"])})  # nobody reads pictures here
_REQUEST = Object(
    {
        "input": by_type(
            "a string or an array of strings or text parts",
            string=STRING,
            array=list_of(by_type("a string or a text part", string=STRING, object=_PART)),
        ),
        "model": OPTIONAL_STRING,
    },
    ["input"],
)


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """What is to be judged.

    inputs: one entry for each result; its texts are parts of one input, judged joined by JOINER
    """

    inputs: tuple[tuple[str, ...], ...]


def parse(body: bytes) -> ModerationRequest:
    """Read a request; the model's name is of no matter. Raises ClientError, naming the field."""
    given = _REQUEST(parse_request(body), "", Report())["input"]
    if isinstance(given, str):
        return ModerationRequest(((given,),))
    texts = [item for item in given if isinstance(item, str)]
    if not given or len(texts) not in (0, len(given)):
        raise BadRequest("input must be all strings or all text parts, and not empty", "input", "invalid_value")
    if texts:
        return ModerationRequest(tuple((text,) for text in texts))
    return ModerationRequest((tuple(part["text"] for part in given),))


def answer(found: Sequence[Iterable[Finding]], request_id: str, rules: Iterable[str] = ()) -> bytes:
    """The answer: for each input what was found in it.

    rules: full names of all rules, so that those that found nothing stand there too
    """
    known = dict.fromkeys((*OPENAI_CATEGORIES, *rules), False)
    results = [_result(known, list(findings)) for findings in found]
    return orjson.dumps({"id": f"modr-{request_id}", "model": MODEL, "results": results})


def _result(known: dict[str, bool], findings: Sequence[Finding]) -> dict[str, Any]:
    """A rule that only watches (monitor or shadow mode) shows in its category and flags nothing."""
    categories = known | {finding.rule.name: True for finding in findings}
    return {
        "flagged": any(finding.rule.enforced for finding in findings),
        "categories": categories,
        "category_scores": {name: float(hit) for name, hit in categories.items()},
        "category_applied_input_types": {name: ["text"] if hit else [] for name, hit in categories.items()},
    }


error = openai_errors.error
"""An error body, for this endpoint too."""
