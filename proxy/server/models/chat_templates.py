"""What the model server tells of a model's chat template: which markers mean something to it, and whether it has one.

Ollama: GET /api/tags for the digest, POST /api/show once for each digest (Ollama, docs/api.md).
llama.cpp: GET /props (llama.cpp, tools/server/README.md). LM Studio tells nothing of templates.

A request uses what is known when it comes. It starts a look when that is not fresh any more, and never waits for it:
until it is known, all markers count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from proxy.checks.markers import LISTED, standing_in
from proxy.policy.names import normalise_model
from proxy.policy.plan import UNKNOWN, ChatTemplate
from proxy.server.models.api import ModelServerApi, entry

FRESH = 30.0  # seconds for which what is known is not asked anew
KEPT = 600.0  # seconds after which it is not believed any more
MOST_MODELS = 100

NO_TEMPLATE = "{{ .Prompt }}"
"""What Ollama shows of a model without a chat template."""
LLAMA_CPP_DEFAULT = (
    "{%- for message in messages -%}\n"
    "  {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "  {{- '<|im_start|>assistant\n' -}}\n"
    "{%- endif -%}"
)
"""What llama.cpp takes for a model without one (common/chat.cpp, CHATML_TEMPLATE_SRC)."""
SENTENCE_PIECE = ("llama",)
"""tokenizer.ggml.model of tokenizers whose texts end with `</s>`, or with Gemma's word for it."""
ENDS = frozenset(("<s>", "</s>", "<bos>", "<eos>", "[BOS]", "[EOS]", "[EOT]"))
"""What may begin or end a text and stands in no template, where `bos_token` and `eos_token` mean it."""
RENDERED = ChatTemplate(None, exists=True)
"""A model of which nobody tells the template, but that it has one."""
_SAYS_ENDS = re.compile(r"\b[be]os_token\b")


@dataclass(slots=True)
class _Known:
    template: ChatTemplate
    digest: str
    at: float


class Templates:
    """Remembers models by name, and asks again when the digest has changed."""

    def __init__(self, inquiry: ModelServerApi, clock: Callable[[], float] = monotonic) -> None:
        self._inquiry = inquiry
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._looking = False
        self._is_ollama = False  # as of the last look

    def of(self, name: str) -> ChatTemplate:
        """What is known now. Starts a look in the background when it is time for one."""
        model = normalise_model(name)
        known = self._known.get(model)
        age = KEPT if known is None else self._clock() - known.at
        if (known is None or age >= FRESH) and not self._looking:
            self._looking = True
            self._inquiry.start(self._look(model, name))
        return UNKNOWN if known is None or age >= KEPT else known.template

    async def _look(self, model: str, name: str) -> None:
        try:
            digest, template = await self._ask(model, name)
            self._known.pop(model, None)
            while len(self._known) >= MOST_MODELS:
                del self._known[next(iter(self._known))]  # the one looked at longest ago
            self._known[model] = _Known(template, digest, self._clock())
        finally:
            self._looking = False

    async def _ask(self, model: str, name: str) -> tuple[str, ChatTemplate]:
        if not self._is_ollama:
            props = await self._inquiry.get("/props")
            if isinstance(props.get("chat_template"), str):
                return "", of_llama_cpp(props)
        listed = entry(await self._inquiry.get("/api/tags"), "models", model, "name", "model")
        digest = str(listed.get("digest") or "")
        self._is_ollama = bool(digest)  # llama.cpp has this path too, and leaves the digest empty
        if not digest:
            return "", UNKNOWN
        known = self._known.get(model)
        if known is not None and known.digest == digest and known.template is not UNKNOWN:
            return digest, known.template
        return digest, of_ollama(await self._inquiry.post("/api/show", {"model": listed.get("name") or name}))


def of_llama_cpp(props: dict[str, Any]) -> ChatTemplate:
    """What GET /props says. A base model is served with a default template, which is none of its own."""
    template = props["chat_template"]
    ends = frozenset(t for key in ("bos_token", "eos_token") if (t := props.get(key)) in LISTED)
    if "eos_token" not in props:
        ends = ENDS
    exists = template.strip() != LLAMA_CPP_DEFAULT
    return ChatTemplate(standing_in(template) | ends, exists)


def of_ollama(shown: dict[str, Any]) -> ChatTemplate:
    """What POST /api/show says. It tells no token's text: where `</s>` may end a text, it is taken to."""
    template = shown.get("template")
    if not isinstance(template, str):
        return UNKNOWN
    if shown.get("renderer"):  # the template is in Ollama's own code (model/renderers), and what is shown is not it
        return RENDERED
    info, parameters = shown.get("model_info"), shown.get("parameters")
    tokenizer = info.get("tokenizer.ggml.model") if isinstance(info, dict) else None
    ends = ENDS if tokenizer is None or tokenizer in SENTENCE_PIECE or _SAYS_ENDS.search(template) else frozenset()
    stops = standing_in(parameters) if isinstance(parameters, str) else frozenset()
    return ChatTemplate(standing_in(template) | stops | ends, template.strip() != NO_TEMPLATE)
