"""W3C Trace Context (www.w3.org/TR/trace-context): a client's trace goes on, and one begins where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from random import getrandbits
from typing import NamedTuple

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
_FORM = re.compile(
    rb"(?:00-(?P<rest>{ids})|(?!00|ff)[0-9a-f]{2}-(?P<later>{ids})(?:-.*)?)".replace(
        b"{ids}", rb"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    )
)
"""Version 00 has four parts, a later one perhaps more. Ids of zeros are invalid, and so is version ff."""


class Trace(NamedTuple):
    """A request's place in a trace. Ids in hex digits.

    parent_id: the client's span; "": the trace begins here
    span_id:   our own
    flags:     01: the trace is sampled
    """

    trace_id: str
    parent_id: str
    span_id: str
    flags: str


def trace_of(headers: Iterable[tuple[bytes, bytes]]) -> Trace:
    """The trace that a request's headers name. One that is not valid is left, as the standard has it."""
    given = [value for name, value in headers if name == TRACEPARENT]
    match = _FORM.fullmatch(given[0].strip()) if len(given) == 1 else None
    own = f"{getrandbits(64) or 1:016x}"
    if match is None:
        return Trace(f"{getrandbits(128) or 1:032x}", "", own, "01")
    trace_id, parent_id, flags = (match["rest"] or match["later"]).decode().split("-")
    return Trace(trace_id, parent_id, own, flags)


def traced(headers: Sequence[tuple[bytes, bytes]], trace: Trace, own_span: bool) -> Sequence[tuple[bytes, bytes]]:
    """The headers of the request to the model server. A client's trace passes as it came, unless we tell of a span of
    our own in it. Where a trace begins here, what the client said of another one is dropped."""
    if trace.parent_id and not own_span:
        return headers
    dropped = (TRACEPARENT,) if trace.parent_id else (TRACEPARENT, TRACESTATE)
    value = f"00-{trace.trace_id}-{trace.span_id}-{trace.flags}".encode()
    return [*(pair for pair in headers if pair[0] not in dropped), (TRACEPARENT, value)]
