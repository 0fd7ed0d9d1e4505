"""A masked record holds nothing that the client did not get: at any cut, with any beginning, as text and as JSON."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.guard import NO_PREFILLS
from proxy.core.steps import in_one_go
from proxy.core.types import Channel, Direction, Kind
from proxy.dialects.request import Request
from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from proxy.server.exchange.transcript import RecordingGuard, Transcript
from proxy.server.ops.recorded_texts import recorded

POLICIES = compile_policies(read_directory(Path(__file__).parent.parent / "data" / "policies"), hash_key=b"key")
CONTENT = Channel(0, Kind.CONTENT, "content")
SECRETS = (
    "bob.miller@example.com",
    "4111 1111 1111 1111",
    "_".join(("ghp", "8bc520jIIHeCB198GDibaDjB6FGhajeF90f1")),
    "Project Zorblax",
)
WORDS = ("hello", "the", " ", "\n", "`code`", "```\n", "x@", "\u200b", "<|im_start|>", '{"a":"', "\\u0040", '"}', ". ")
TEXTS = st.lists(st.sampled_from([*SECRETS, *WORDS, " ", ", "]), min_size=1, max_size=12).map("".join)


@given(TEXTS, st.lists(st.integers(1, 30), min_size=60, max_size=60), st.booleans(), st.booleans(), st.data())
def test_what_the_client_did_not_get_is_not_recorded(
    text: str, sizes: list[int], as_json: bool, ends: bool, data: st.DataObject
) -> None:
    """Policies that rewrite and block, an answer that ends or breaks off anywhere, and what the model was made to
    continue: no secret stands in the record that is not in what was sent."""
    begun = data.draw(st.sampled_from(["", "bob.mil", "4111 1111 "]))
    prefills = {Kind.CONTENT: begun} if begun else NO_PREFILLS
    request = cast(Request, SimpleNamespace(json_content=as_json, prefills=lambda: prefills))
    transcript = Transcript()
    guard = RecordingGuard(POLICIES.plan(Direction.OUTPUT, model="m"), request, transcript)
    sent = "".join(pieces(guard, text, sizes, ends))
    guard.end()
    for kept in transcript.answer.values():
        record: Any = in_one_go(recorded(kept, "masked"))
        for secret in SECRETS:
            assert secret not in (record["text"] or "") or secret in sent


def pieces(guard: RecordingGuard, text: str, sizes: list[int], ends: bool) -> list[str]:
    """What the client gets of a text that comes in pieces of these sizes."""
    sent: list[str] = []
    for size in [*sizes, len(text)]:
        piece, text = text[:size], text[size:]
        if not piece or guard.blocked_choices:
            break
        release = guard.release_delta(CONTENT, piece)
        sent += [piece] if release is None else [*(t for _, t in release.earlier), *release.texts]
    if ends and not guard.blocked_choices:
        sent += [text for _, text in guard.finish()[0]]
    return sent
