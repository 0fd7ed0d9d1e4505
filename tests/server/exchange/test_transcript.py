"""Texts that are recorded, from real exchanges to the file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from proxy.server.exchange.record import Exchange
from proxy.server.ops.decision_log import DecisionLog
from proxy.server.ops.drops import Drops
from proxy.server.ops.record_file import RecordFile
from tests.fakes import Answer, FakeUpstream, reply, sse
from tests.server.running import Policies, chunk, running, said

pytestmark = pytest.mark.anyio

RULES = """version: 1
policy: p
rules:
- {id: mail, detector: email, action: rewrite}
- {id: word, words: [zorblaxium], action: block}
- {id: flag, words: [yonder], action: flag}
"""


async def exchange(folder: Path, mode: str, answer: Answer, rules: str = RULES, **body: Any) -> Exchange:
    """What happened in an exchange under these rules."""
    (folder / "p.yaml").write_text(rules, "utf-8")
    policies = cast(Policies, compile_policies(read_directory(folder), hash_key=b"key"))
    async with FakeUpstream(answer) as upstream, running(upstream, policies, record_text=mode) as proxy:
        await proxy.chat(**body)
        return await proxy.exchange()


def written(folder: Path, mode: str, done: Exchange) -> Any:
    """Its record, as it stands in the file."""
    drops = Drops()
    file = RecordFile(folder / "log.jsonl", drops, size=1 << 30, age=1e9, keep=1)
    with DecisionLog([file], drops, mode) as decisions:
        decisions.end(done)
    return json.loads((folder / "log.jsonl").read_text("utf-8"))


def texts(record: Any, part: str) -> list[tuple[str, str]]:
    """Channels and texts of the prompt or the answer."""
    return [(text["channel"], text["text"]) for text in record["texts"][part]]


async def test_none_is_the_default(tmp_path: Path) -> None:
    """Nothing is kept, and the record has no texts."""
    done = await exchange(tmp_path, "none", reply(sse(*said("Hello"))))
    assert done.transcript is None
    assert "texts" not in written(tmp_path, "none", done)


async def test_a_rule_masks_texts_in_which_it_does_not_look(tmp_path: Path) -> None:
    """A rule for answers masks prompts, one for prompts masks answers, and one for some roles masks all: what is
    recorded does not depend on who has said it. With full texts the record has what the rules found there."""
    (tmp_path / "p.yaml").write_text(
        """version: 1
policy: p
rules:
- {id: out, words: [apricot], action: rewrite, directions: [output]}
- {id: in, words: [banana], action: flag, directions: [input]}
- {id: tool, words: [cherry], action: flag, directions: [input], roles: [tool]}
""",
        "utf-8",
    )
    policies = cast(Policies, compile_policies(read_directory(tmp_path), hash_key=b"key"))
    all_three = "An apricot, a banana, a cherry."
    messages = [{"role": "system", "content": all_three}, {"role": "user", "content": all_three}]
    answer = reply(sse(*said("An apri", "cot, a ban", "ana, a cherry.")))
    for mode, shown, found in (
        ("masked", "An [p/out], a [p/in], a [p/tool].", [["out", "in", "tool"]] * 3),
        ("full", all_three, [["in"], ["in"], ["out"]]),
    ):
        async with FakeUpstream(answer) as upstream, running(upstream, policies, record_text=mode) as proxy:
            await proxy.chat(messages=messages)
            (tmp_path / "log.jsonl").unlink(missing_ok=True)
            record = written(tmp_path, mode, await proxy.exchange())
        recorded = [*record["texts"]["prompt"], *record["texts"]["answer"]]
        assert [text["text"] for text in recorded] == [shown] * 3
        assert [[one["rule"] for one in text["findings"]] for text in recorded] == found


async def test_a_rule_masks_channels_in_which_it_does_not_look(tmp_path: Path) -> None:
    """A rule that leaves the arguments of calls alone masks them in the record."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to": "amy@example.com"}'}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]
    rules = RULES.replace("policy: p\n", "policy: p\napplies_to: {channels: [content]}\n")
    done = await exchange(tmp_path, "masked", reply(sse(*said("Hello"))), rules, messages=messages)
    assert ("tool_arguments", '{"to": "[p/mail]"}') in texts(written(tmp_path, "masked", done), "prompt")


@pytest.mark.parametrize("stream", [True, False])
async def test_masked(tmp_path: Path, stream: bool) -> None:
    """What rules find in the prompt and in the answer is gone, whatever they do; the rest is there, by channel."""
    events = [
        chunk(delta={"reasoning_content": "over yonder "}),
        *said("Write to bob.mil", "ler@example.com, ", "soon.")[1:],
    ]
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "I am amy@example.com"}]
    done = await exchange(tmp_path, "masked", reply(sse(*events)), messages=messages, stream=stream)
    record = written(tmp_path, "masked", done)
    assert texts(record, "prompt") == [("content", "Be kind."), ("content", "I am [p/mail]")]
    assert texts(record, "answer") == [
        ("reasoning", "over [p/flag] "),
        ("content", "Write to [p/mail], soon."),
    ]
    assert record["texts"]["answer"][1]["findings"] == [
        {"policy": "p", "rule": "mail", "start": 9, "end": 31, "length": 22}
    ]


async def test_what_was_blocked(tmp_path: Path) -> None:
    """A blocked prompt ends in the record at the block, and so does a blocked answer; of the model's text behind it
    nothing is there."""
    done = await exchange(tmp_path, "masked", reply(sse(*said("no"))), content="Is zorblaxium real? my zorb")
    assert texts(written(tmp_path, "masked", done), "prompt") == [("content", "Is [p/word]")]
    done = await exchange(tmp_path, "masked", reply(sse(*said("It is zorblaxium", " and more"))))
    (tmp_path / "log.jsonl").unlink()
    assert texts(written(tmp_path, "masked", done), "answer") == [("content", "It is [p/word]")]


async def test_full(tmp_path: Path) -> None:
    """The texts as they came, before any rule."""
    done = await exchange(
        tmp_path, "full", reply(sse(*said("Write to ", "bob@example.com"))), content="amy@example.com"
    )
    record = written(tmp_path, "full", done)
    assert texts(record, "prompt") == [("content", "amy@example.com")]
    assert texts(record, "answer") == [("content", "Write to bob@example.com")]


async def test_what_the_model_was_made_to_continue(tmp_path: Path) -> None:
    """A match that begins in the client's beginning of the answer is masked as far as the answer goes."""
    messages = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "It is zorbla"}]
    done = await exchange(tmp_path, "masked", reply(sse(*said("xium, yes"))), messages=messages)
    assert texts(written(tmp_path, "masked", done), "answer") == [("content", "[p/word]")]


async def test_two_calls_are_apart(tmp_path: Path) -> None:
    """Names are plain text, and arguments are JSON, each call's its own."""
    calls = [
        {"index": i, "id": f"c{i}", "type": "function", "function": {"name": f"f{i}", "arguments": f'{{"n": {i}}}'}}
        for i in range(2)
    ]
    events = [chunk(delta={"tool_calls": [call]}) for call in calls]
    done = await exchange(tmp_path, "masked", reply(sse(*events, chunk(finish="tool_calls"), "[DONE]")))
    found = written(tmp_path, "masked", done)["texts"]["answer"]
    assert {text["text"] for text in found if text["json"]} == {'{"n": 0}', '{"n": 1}'}
    assert {"f0", "f1"} <= {text["text"] for text in found if not text["json"]}


async def test_calls_are_json(tmp_path: Path) -> None:
    """The arguments of a call are masked as JSON source, values with escapes too."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "send", "arguments": ""}}
    piece = {"index": 0, "function": {"arguments": '{"to": "bob\\u0040example.com"}'}}
    events = [chunk(delta={"tool_calls": [call]}), chunk(delta={"tool_calls": [piece]}), chunk(finish="tool_calls")]
    done = await exchange(tmp_path, "masked", reply(sse(*events, "[DONE]")))
    (text,) = (one for one in written(tmp_path, "masked", done)["texts"]["answer"] if "{" in (one["text"] or ""))
    assert "example.com" not in text["text"]
    assert (text["json"], text["findings"][0]["rule"]) == (True, "mail")


async def test_masking_lets_others_run(tmp_path: Path) -> None:
    """It is done in steps on the event loop, and what is not done when the log closes is done then."""
    text = "Write to bob@example.com. " * 2000
    done = await exchange(tmp_path, "masked", reply(sse(*said("Hello"))), content=text)
    turns = 0
    drops = Drops()
    file = RecordFile(tmp_path / "log.jsonl", drops, size=1 << 30, age=1e9, keep=1)
    with DecisionLog([file], drops, "masked") as decisions:
        decisions.end(done)
        while decisions._masking:
            turns += 1
            await asyncio.sleep(0)
        decisions.end(done)
    first, second = map(json.loads, (tmp_path / "log.jsonl").read_text("utf-8").splitlines())
    assert turns > 10
    assert first["texts"] == second["texts"]
    assert "example.com" not in first["texts"]["prompt"][0]["text"]


async def test_a_long_conversation_is_not_kept_whole(tmp_path: Path) -> None:
    """Of a prompt some hundred thousand characters are recorded; of texts behind them their length."""
    roles = ("assistant", "user")
    messages = [{"role": roles[n % 2], "content": f"{n} " * 20_000} for n in range(10)]
    done = await exchange(tmp_path, "full", reply(sse(*said("Hello"))), messages=messages)
    found = written(tmp_path, "full", done)["texts"]["prompt"]
    assert [text["left_out"] > 0 for text in found] == [False] * 7 + [True] * 3
    assert (found[-1]["text"], found[-1]["left_out"]) == ("", 40_000)
