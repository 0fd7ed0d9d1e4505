"""`chat_template_kwargs`: variables for llama.cpp's chat templates, which print their texts. In three dialects.

Source: llama.cpp's server README, and tools/server/server-chat.cpp for what /v1/messages and /v1/responses take over.
"""

from __future__ import annotations

from proxy.dialects.common.request_fields import NULL, by_type, judged, lenient, map_of

_OWN = ("messages", "tools", "functions", "bos_token", "eos_token", "add_generation_prompt")
"""Variables of a template that the model server sets from the rest of the request, which is judged as what it is."""

TEMPLATE_ARGUMENTS = lenient(
    by_type("an object", object=map_of(judged(), named=r"[A-Za-z_]\w{0,63}", without=_OWN), null=NULL)
)
