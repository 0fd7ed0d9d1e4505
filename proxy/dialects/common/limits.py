"""What an operator has to allow before it is forwarded, in dialects of more than one backend."""

from __future__ import annotations

from proxy.dialects.base import Options, Request
from proxy.dialects.common.request_fields import NULL, NUMBER, OPTIONAL_NUMBER, STRING, Take, by_type
from proxy.errors import BadRequest

CONTROL: dict[str, Take] = {
    "keep_alive": by_type("a string or a number", string=STRING, number=NUMBER, null=NULL),
    "ttl": OPTIONAL_NUMBER,
}


def limit(request: Request, options: Options) -> None:
    """Refuse models that run elsewhere, and take out what pins or evicts models."""
    if not options.allow_cloud_models:
        refuse_cloud(request.model)
    if not options.allow_model_control:
        for key in CONTROL:
            if request.body.pop(key, None) is not None:
                request.dropped += (key,)


def refuse_cloud(model: str) -> None:
    """Ollama sends prompts for such names to a remote service, blanks or not (internal/modelref/modelref.go)."""
    source = model.rpartition(":")[2].strip().lower()
    if source == "cloud" or source.endswith("-cloud"):
        raise BadRequest(
            f"The model {model[:80]!a} runs in the cloud: prompts would leave this machine (see allow_cloud_models)",
            "model",
            "cloud_model",
        )


def drop_logprobs(request: Request, options: Options, *keys: str) -> None:
    """Token probabilities repeat the text: they are asked for only when they may pass."""
    if options.logprobs:
        return
    asked = [key for key in keys if request.body.pop(key, None)]
    if asked:
        request.removed += ("logprobs",)
