"""A client's request as a dialect has read it: what goes upstream, and the texts in it that the model will read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from proxy.core.types import Kind


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator has allowed beyond the defaults. Each is a setting of the same name.

    logprobs:            token probabilities may pass (only while no output rule applies)
    allow_remote_images: image URLs other than data: are forwarded, so the backend fetches them
    allow_images:        pictures and audio in prompts are forwarded; nobody reads them here
    allow_cloud_models:  names that end in :cloud or -cloud, which Ollama sends to a remote service
    allow_raw_prompts:   raw, template, context, suffix: prompts that go around the chat template
    allow_stateful:      store, previous_response_id: the backend remembers what was never checked
    allow_server_tools:  integrations and MCP servers that the backend would call
    allow_model_control: keep_alive, ttl and context sizes: pinning and evicting models
    max_context:         the largest context, in tokens, that a request may ask for (num_ctx, context_length); 0: none
    """

    logprobs: bool = False
    allow_remote_images: bool = False
    allow_images: bool = True
    allow_cloud_models: bool = False
    allow_raw_prompts: bool = False
    allow_stateful: bool = False
    allow_server_tools: bool = False
    allow_model_control: bool = False
    max_context: int = 0


_IN_MESSAGE = re.compile(r"(?:messages|input)\b")
_ARGUMENTS = re.compile(r"(?:messages|input)\b.*\.(?:arguments|input)\b|input\[\d+\]\.(?:actions?|operation|code)\b")
_KINDS = {
    **dict.fromkeys(("reasoning", "reasoning_content", "thinking", "encrypted_content"), Kind.REASONING),
    "refusal": Kind.REFUSAL,
}
_NAMES = frozenset(("name", "tool_name", "id", "tool_call_id", "tool_use_id", "call_id", "status"))


@dataclass(slots=True)
class InputText:
    """One text of a request that the model will read.

    role:    system, developer, user, assistant or tool; a tool's definition counts as system
    newest:  it may be refused; an earlier one is replaced by the notice. See proxy.dialects.common.request_texts
    group:   neighbouring texts of one group are joined by the backend before the model reads them
    param:   where it stands in the body, for error messages
    escaped: it is JSON source (a call's arguments)
    aside:   it stands beside what is said: nothing joins it with the texts before and behind it
    thought: it is reasoning, whatever it is called where it stands
    """

    role: str
    text: str
    param: str
    container: Any
    key: Any
    newest: bool = True
    group: int = 0
    escaped: bool = False
    aside: bool = False
    thought: bool = False

    @property
    def kind(self) -> Kind:
        """What it is to its reader, as a policy's `channels` says it; told by where it stands."""
        if self.thought:
            return Kind.REASONING
        if self.escaped or _ARGUMENTS.match(self.param):
            return Kind.TOOL_ARGUMENTS
        if not _IN_MESSAGE.match(self.param):  # a tool or an argument of the template may call its texts as it likes
            return Kind.CONTENT
        return _KINDS.get(self.param.rpartition(".")[2], Kind.CONTENT)

    @property
    def is_name(self) -> bool:
        """Whether it names something beside what is said: nothing joins it with the texts before and behind it."""
        return self.aside or self.param.rpartition(".")[2] in _NAMES

    def put(self, text: str) -> None:
        """Write another text in its place."""
        self.text = text
        self.container[self.key] = text


@dataclass(slots=True)
class Request:
    """A client's request, parsed and allow-listed.

    body:         what will be sent upstream, as Python objects; `texts` point into it
    path:         where to send it
    choices:      how many answers were asked for
    json_content: the answer's content is to be JSON: it is judged decoded too, and a notice is not put into it
    prefill:      content that the model is made to continue; output is judged from its beginning
    logprobs:     token probabilities, which repeat the text, may pass
    dropped:      keys that are not forwarded, for a response header
    removed:      parts of the answer that were asked for and are kept back, for a response header
    joiner:       what the backend puts between texts of one group
    """

    model: str
    body: dict[str, Any]
    path: str
    stream: bool = False
    texts: list[InputText] = field(default_factory=list)
    choices: int = 1
    include_usage: bool = False
    json_content: bool = False
    prefill: str = ""
    logprobs: bool = False
    dropped: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    joiner: str = "\n\n"

    def prefills(self) -> dict[Kind, str]:
        """By kind, the texts that the model is made to continue."""
        newest = (text for text in self.texts if text.role == "assistant" and text.newest and not text.aside)
        thought = "".join(text.text for text in newest if text.kind is Kind.REASONING)
        begun = {Kind.CONTENT: self.prefill, Kind.REASONING: thought}
        return {kind: text for kind, text in begun.items() if text}
