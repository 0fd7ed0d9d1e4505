"""When every choice has ended the answer ends. Rows of public reports, each with its right value."""

from __future__ import annotations

import json
from typing import Any

from proxy.core.guard import Guard
from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from proxy.errors import UpstreamTimeout
from tests.field.answer_cases import (
    CHAT,
    MESSAGES,
    RESPONSES,
    USAGE,
    both,
    message_events,
    response_events,
)
from tests.field.answering import EMAIL, NOTICE, QUIET, answering, carried, events, told
from tests.leaks.attack import HIDE, chunk, deltas
from tests.leaks.attack import STOP as STOP_HERE
from tests.phrases import PhrasePlan

# -- l02: after every choice has finished, nothing but a count is waited for


@both
def test_l02_a_stream_without_its_end(stream: bool) -> None:
    """OpenAI: the finish, then comments and no [DONE]: the answer says that it has finished, and can be ended."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    out = b""
    for sent, finished in ((chunk({"content": "hi "}), False), (chunk({}, "stop"), True)):
        out += answer.feed(events(sent)[0])
        assert (answer.finished, answer.done) == (finished, False)
    out += answer.feed(b": hb\n\n") + answer.finish()
    assert answer.failed is None
    assert answer.done
    assert not answer.finished
    if stream:
        assert out.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(answer.result())["choices"][0]["finish_reason"] == "stop"


def test_l02_usage_may_still_come() -> None:
    """A count that comes after the finish is the client's."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": False}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    usage = {**chunk({}), "choices": [], "usage": USAGE}
    for event in events(chunk({"content": "hi "}), chunk({}, "stop"), usage):
        answer.feed(event)
    assert answer.finished
    answer.finish()
    assert json.loads(answer.result())["usage"] == USAGE


def test_l02_every_choice_has_to_finish() -> None:
    """With two choices one finish is not enough, though the other has not begun."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "n": 2, "stream": True}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    states = []
    for index in (0, 1):
        for event in events(chunk({"content": "hi "}, index=index), chunk({}, "stop", index=index)):
            answer.feed(event)
        states.append(answer.finished)
    assert states == [False, True]


@both
def test_l02_an_end_with_every_chunk_is_not_waited_behind(stream: bool) -> None:
    """A server that says `stop` beside every text may say more after any pause, so its answer has not finished before
    [DONE]; and once an end was none, no later one is believed without [DONE]."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer, out = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE), b""
    for said in ({"content": "hi "}, {"content": "you "}, {}, {"content": "there"}, {}):
        out += answer.feed(events(chunk(said, "stop"))[0])
        assert not answer.finished
    out += answer.feed(b"data: [DONE]\n\n")
    assert answer.done
    assert answer.failed is None
    if stream:
        assert deltas(out) == "hi you there"
        assert [c["finish_reason"] for event in told(out) for c in event["choices"]].count("stop") == 1
    else:
        assert json.loads(answer.result())["choices"][0]["message"]["content"] == "hi you there"


@both
def test_l02_an_end_beside_the_last_text(stream: bool) -> None:
    """A server that says `stop` beside its last text alone has ended its answer, and the wait for [DONE] is short."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    states = []
    for event in events(chunk({"content": "hi "}), chunk({"content": "you"}, "stop")):
        answer.feed(event)
        states.append(answer.finished)
    assert states == [False, True]


@both
def test_l02_an_answer_of_one_chunk_that_nothing_follows(stream: bool) -> None:
    """Whether an end beside the first text is one cannot be known. When nothing comes until the model server's time is
    over, it was one: the answer is complete."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    out = answer.feed(events(chunk({"content": "hi you"}, "stop"))[0])
    assert not answer.finished
    out += answer.finish(UpstreamTimeout("The model server said nothing for 300 s", "timeout"))
    assert answer.failed is None
    assert deltas(out) == "hi you" if stream else json.loads(answer.result())["choices"]


PAIRED = [
    chunk({"content": text}, "stop", index=index) for text, index in (("a for", 0), ("b", 1), ("bidden c", 0), ("d", 1))
]


@both
def test_an_end_with_every_chunk_of_two_choices(stream: bool) -> None:
    """Two choices that speak in turn, each chunk with an end: all text arrives, what a rule hides is hidden across the
    chunks, and each choice ends once, at the end."""
    got = carried(OpenAIChat(), {**CHAT, "n": 2, "stream": stream}, events(*PAIRED, "[DONE]"), [HIDE])
    if stream:
        ends = [c["finish_reason"] for event in told(got.out) for c in event["choices"]]
        assert [deltas(got.out, index=index) for index in (0, 1)] == ["a # c", "bd"]
        assert ends == [*([None] * (len(ends) - 2)), "stop", "stop"]
    else:
        choices = json.loads(got.out)["choices"]
        assert [c["message"]["content"] for c in choices] == ["a # c", "bd"]
        assert [c["finish_reason"] for c in choices] == ["stop", "stop"]


def test_a_rule_ends_an_answer_that_has_an_end_with_every_chunk() -> None:
    """The model is stopped at once, though the server has said `stop` before."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": True}).encode(), Options())
    answer = answering(asked, [STOP_HERE])
    chunks = [chunk({"content": text}, "stop") for text in ("a ", "forbidden ", "b ", "c ")]
    states = [(answer.feed(event), answer.done)[1] for event in events(*chunks)]
    assert states == [False, False, True, True]


@both
def test_l02_messages(stream: bool) -> None:
    """Anthropic: the same after the event that tells the reason."""
    asked = AnthropicMessages().parse(json.dumps({**MESSAGES, "stream": stream}).encode(), Options())
    answer = AnthropicMessages().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    *begun, end, _ = message_events()
    out, states = b"", []
    for event in (*begun, end):
        out += answer.feed(event)
        states.append(answer.finished)
    assert states == [False, True]
    out += answer.finish()
    assert answer.failed is None
    if stream:
        assert [event["type"] for event in told(out)] == ["message_start", "message_delta", "message_stop"]


@both
def test_l02_done_without_a_finish_is_an_error(stream: bool) -> None:
    """A [DONE] that no finish came before is an answer cut short."""
    got = carried(OpenAIChat(), {**CHAT, "stream": stream}, events(chunk({"content": "hi "}), "[DONE]"))
    assert got.answer.failed is not None
    assert got.answer.failed.reason == "truncated"


# -- texts that come in another shape, or alone


@both
def test_responses_text_that_no_item_came_before(stream: bool) -> None:
    """Some servers send the deltas of a text and no item: they reach the client, judged, and the whole has the text."""
    pieces = ["mail bob@", "example.com", " or so"]
    at = {"item_id": "m1", "output_index": 0, "content_index": 0}
    deltas = [{"type": "response.output_text.delta", **at, "delta": piece} for piece in pieces]
    for rules, shown in (([QUIET], "mail bob@example.com or so"), ([EMAIL], "mail [email] or so")):
        sent = response_events(deltas, output=[])
        got = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, rules)
        assert got.answer.failed is None
        if stream:
            assert "".join(event.get("delta", "") for event in told(got.out)) == shown
        else:
            (item,) = json.loads(got.out)["output"]
            assert item["content"][0]["text"] == shown


@both
def test_a_part_that_stands_alone(stream: bool) -> None:
    """An object in the place of a text is a part; one without text says nothing, and the answer goes on."""
    deltas: list[dict[str, Any]] = [
        {"reasoning": {"text": "well "}},
        {"reasoning": {"effort": 1}},
        {"content": {"type": "text", "text": "hi"}},
    ]
    body = events(*(chunk(delta) for delta in deltas), chunk({}, "stop"), "[DONE]")
    got = carried(OpenAIChat(), {**CHAT, "stream": stream}, body)
    assert got.answer.failed is None
    said = [c.get("delta") or c.get("message") or {} for value in told(got.out) for c in value["choices"]]
    assert "".join(part.get("reasoning") or "" for part in said) == "well "
    assert "".join(part.get("content") or "" for part in said) == "hi"
