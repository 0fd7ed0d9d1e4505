"""What the chat templates that model servers show say of a model: little, but for those that stand for none."""

from __future__ import annotations

from typing import Final

from proxy.alignment.claims import Evidence, Signal

NO_TEMPLATE: Final = "{{ .Prompt }}"
"""What Ollama shows for a model without a chat template."""
LLAMA_CPP_DEFAULT: Final = (
    "{%- for message in messages -%}\n"
    "  {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "  {{- '<|im_start|>assistant\n' -}}\n"
    "{%- endif -%}"
)
"""What llama.cpp uses for a model without one (common/chat.cpp, CHATML_TEMPLATE_SRC)."""
OWN_TEMPLATE: Final = Evidence(Signal.TEMPLATE, None, "it is the model's own, as a base model may have one too")
