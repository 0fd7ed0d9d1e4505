"""How a model server of each dialect speaks, and what a client of it understands.

Written from the public documents of OpenAI, Anthropic and Ollama. It never repairs what it reads: what a client could
not read is told as such. Begin with `base`; `openai` is the first.
"""

from __future__ import annotations

from proxy.conformance.dialects.anthropic import Messages
from proxy.conformance.dialects.base import Dialect
from proxy.conformance.dialects.ollama import Chat, Generate
from proxy.conformance.dialects.openai import Completions, OpenAI
from proxy.conformance.dialects.responses import Responses

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OpenAI(), Chat(), Messages(), Completions(), Generate(), Responses())
}
"""By the names that `--dialect` takes."""

__all__ = ["DIALECTS", "Dialect"]
