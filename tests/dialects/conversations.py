"""Conversations of any shape, as each dialect writes them, and what is new in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from hypothesis import strategies as st

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options

Speaker = Literal["system", "user", "assistant", "call", "tool"]


class Turn(NamedTuple):
    """What somebody says, in parts; "call": the assistant calls a tool, "tool": what it answered."""

    speaker: Speaker
    parts: tuple[str, ...]


Turns = tuple[Turn, ...]
NOTICE = "<stopped>"


def arguments(part: str) -> str:
    """A call's arguments as JSON source; the notice stands in place of all of them."""
    return json.dumps({"notice": part} if part == NOTICE else {"a": part})


def openai(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """The messages of OpenAI's chat."""
    return [_openai(turn) for turn in turns]


def _openai(turn: Turn) -> dict[str, Any]:
    speaker, parts = turn
    if speaker == "call":
        calls = [
            {"id": "i", "type": "function", "function": {"name": "f", "arguments": arguments(part)}} for part in parts
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    content: Any = parts[0] if len(parts) == 1 else [{"type": "text", "text": part} for part in parts]
    return {"role": speaker, "content": content, **({"tool_call_id": "i"} if speaker == "tool" else {})}


def anthropic(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """The messages of Anthropic's dialect: results of tools stand in the user's message, with what the user adds."""
    messages: list[dict[str, Any]] = []
    for speaker, parts in turns:
        if speaker == "call":
            blocks = [{"type": "tool_use", "id": "i", "name": "f", "input": {"a": part}} for part in parts]
            messages.append({"role": "assistant", "content": blocks})
        elif speaker == "tool":
            texts = [{"type": "text", "text": part} for part in parts]
            result = {"type": "tool_result", "tool_use_id": "i", "content": texts}
            messages.append({"role": "user", "content": [result]})
        elif speaker == "user" and messages and messages[-1]["content"][0]["type"] == "tool_result":
            messages[-1]["content"] += [{"type": "text", "text": part} for part in parts]
        else:
            messages.append({"role": speaker, "content": [{"type": "text", "text": part} for part in parts]})
    return messages


def responses(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """The items of OpenAI's responses."""
    items: list[dict[str, Any]] = []
    for speaker, parts in turns:
        kind = "output_text" if speaker == "assistant" else "input_text"
        if speaker == "call":
            items += [
                {"type": "function_call", "call_id": "i", "name": "f", "arguments": arguments(part)} for part in parts
            ]
        elif speaker == "tool":
            output = [{"type": kind, "text": part} for part in parts]
            items.append({"type": "function_call_output", "call_id": "i", "output": output})
        else:
            items.append({"role": speaker, "content": [{"type": kind, "text": part} for part in parts]})
    return items


def ollama(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """The messages of Ollama's chat, in which a message has one part."""
    messages: list[dict[str, Any]] = []
    for speaker, parts in turns:
        if speaker == "call":
            calls = [{"function": {"name": "f", "arguments": {"a": part}}} for part in parts]
            messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        else:
            messages += [{"role": speaker, "content": part} for part in parts]
    return messages


@dataclass(frozen=True)
class Chat:
    """A dialect, and how a conversation is written in it."""

    dialect: Dialect
    key: str
    written: Callable[[Iterable[Turn]], list[dict[str, Any]]]

    def request(self, turns: Iterable[Turn], **more: Any) -> dict[str, Any]:
        """The body of a request."""
        return {"model": "m", self.key: self.written(turns), **more}

    def new(self, turns: Turns) -> set[str]:
        """The parts that are new."""
        request = self.dialect.parse(json.dumps(self.request(turns)).encode(), Options())
        said = {written: part for turn in turns for part in turn.parts for written in (part, arguments(part))}
        return {said[text.text] for text in request.texts if text.newest and text.text in said}


CHATS = {
    "openai": Chat(OpenAIChat(), "messages", openai),
    "anthropic": Chat(AnthropicMessages(), "messages", anthropic),
    "responses": Chat(OpenAIResponses(), "input", responses),
    "ollama": Chat(OllamaChat(), "messages", ollama),
}


def new_parts(turns: Turns) -> set[str]:
    """The definition: what is new in a conversation."""
    left = list(turns)
    new = {part for turn in takewhile(_is_system, left) for part in turn.parts}
    while left and left[-1].speaker in ("assistant", "call"):  # the model goes on with it
        new |= set(left.pop().parts)
    while any(turn.speaker in ("assistant", "call") for turn in left):  # before the last answer
        del left[0]
    last = [turn for turn in left if turn.speaker != "system"]
    while left and left[-1].speaker != "user":  # behind what the user said last, or behind the last answer
        turn = left.pop()
        new |= set(turn.parts) if _is_system(turn) else set()
    if last and last[-1].speaker == "user":
        new.add(last[-1].parts[-1])
    while last and last[-1].speaker == "tool":
        new |= set(last.pop().parts)
    return new


def _is_system(turn: Turn) -> bool:
    return turn.speaker == "system"


@st.composite
def conversations(draw: st.DrawFn, most_parts: int = 3) -> Turns:
    """Turns in any order; every part is another."""
    speakers: st.SearchStrategy[Speaker] = st.sampled_from(
        ["user", "user", "user", "tool", "assistant", "call", "system"]
    )
    sizes = draw(st.lists(st.tuples(speakers, st.integers(1, most_parts)), min_size=1, max_size=6))
    return tuple(Turn(speaker, tuple(f"{i}.{j}" for j in range(size))) for i, (speaker, size) in enumerate(sizes))
