"""Embeddings: texts in, numbers out. What the endpoints of all vendors share.

The texts are judged like any prompt; of the answer nothing but numbers, and what was counted, goes out.
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import orjson

from proxy.core.events import Frame, Release
from proxy.core.guard import Guard
from proxy.dialects.answer import Answer, Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.answer_fields import LEFT_OUT, Shape, array
from proxy.dialects.common.limits import limit
from proxy.dialects.common.request_fields import (
    STRING,
    Object,
    Report,
    by_type,
    list_of,
)
from proxy.dialects.common.unknown_numbers import UnknownNumbers
from proxy.dialects.request import InputText, Options, Request
from proxy.dialects.wire.json_body import parse_request, parse_upstream
from proxy.errors import ClientError, UpstreamBroken, UpstreamError

INPUT = by_type("a string or an array of strings (token ids cannot be read)", string=STRING, array=list_of(STRING))


def vector(value: Any) -> Any:
    """An array of nothing but numbers, or base64 of 32-bit floats."""
    if isinstance(value, str):
        return value if _is_floats(value) else LEFT_OUT
    whole = isinstance(value, list) and all(type(item) in (int, float) for item in value)
    return value if whole else LEFT_OUT


def _is_floats(value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) % 4 == 0
    except (binascii.Error, ValueError):
        return False


VECTORS = array(vector)


class EmbeddingsDialect(ABC):
    """What the four endpoints share; see `proxy.dialects.base.Dialect`."""

    name: str
    path: str
    key: str = "input"  # where the texts stand
    fields: Object
    answer_fields: Shape
    vectors: str  # where the answer has them
    stream_type = "application/json"
    keep_alive = b""
    upstream_message = staticmethod(upstream_errors.upstream_message)

    @abstractmethod
    def error(self, error: ClientError | UpstreamError, request_id: str) -> bytes:
        """An error body in the shape that this endpoint's clients expect."""

    @abstractmethod
    def blocked(self, message: str, request_id: str) -> bytes:
        """The 400 body for a text that a rule refuses."""

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a request. Arrays of token ids are refused: nobody here can read them."""
        report = Report()
        clean = self.fields(parse_request(body), "", report)
        request = Request(
            model=clean.get("model", ""),
            body=clean,
            path=self.path,
            texts=self._texts(clean),
            dropped=tuple(report.dropped),
        )
        self._limit(request, options)
        return request

    def _limit(self, request: Request, options: Options) -> None:
        limit(request, options)

    def _texts(self, body: dict[str, Any]) -> list[InputText]:
        given = body[self.key]
        if isinstance(given, str):
            return [InputText("user", given, self.key, body, self.key)]
        return [InputText("user", item, f"{self.key}[{i}]", given, i, group=i) for i, item in enumerate(given)]

    def instruct(self, request: Request, before: str, after: str) -> None:
        """What is measured is the client's text alone, so the operator's words have no place in it."""
        return

    def upstream_body(self, request: Request) -> bytes:
        """What goes upstream. There is no stream of numbers."""
        return orjson.dumps(request.body)

    def answer(self, request: Request, guard: Guard, notice: Notice) -> EmbeddingsAnswer:
        """See Dialect."""
        return EmbeddingsAnswer(self, request, guard, notice)

    def clean_answer(self, body: bytes, guard: Guard) -> bytes:
        """The answer's numbers. Raises UpstreamBroken for anything that is not such an answer."""
        value = parse_upstream(body)
        clean = self.answer_fields(value)
        if clean is LEFT_OUT or len(clean[self.vectors]) != len(value[self.vectors]):
            raise UpstreamBroken("the model server's embeddings are not numbers", "protocol")
        if clean.get("model") and not guard.admits(clean["model"]):
            clean["model"] = "withheld"
        unknown = UnknownNumbers(guard.admits)
        if isinstance(clean.get("usage"), dict):
            clean["usage"] |= unknown.statistics(value["usage"], "usage")
        return orjson.dumps(unknown.beside(value, clean))


class EmbeddingsAnswer(Answer):
    """One exchange: the whole answer at once, or none."""

    def __init__(self, dialect: EmbeddingsDialect, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._dialect = dialect
        self._parts: list[bytes] = []
        self._clean = b""

    def _frames(self, data: bytes) -> Iterator[Frame]:
        self._parts.append(data)
        yield from ()

    def _last_frames(self) -> Iterator[Frame]:
        return self._whole_frames(b"".join(self._parts))

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        yield Frame(self._dialect.clean_answer(body, self.guard), finishes=(0,))

    def result(self) -> bytes:
        return self._clean

    def _body(self, frame: Frame) -> bytes:
        return frame.raw

    def _collect(self, body: bytes) -> None:
        self._clean = body

    def _settle(self, out: list[bytes]) -> None:
        self.done = True

    def _is_complete(self) -> bool:
        return False  # it was done with its only frame

    def _put_terminal(self, out: list[bytes]) -> None:
        self.done = True

    def _write(self, frame: Frame, release: Release) -> Iterator[bytes]:
        return iter(())  # no text is in it

    def _encode(self, body: bytes) -> bytes:
        return body

    def _error_event(self, error: UpstreamError) -> bytes:
        return b""
