"""What an operator has to allow before it is forwarded, in dialects of more than one backend."""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.request_fields import NULL, NUMBER, PASSED, STRING, Take, by_type, lenient
from proxy.dialects.request import Options, Request
from proxy.errors import BadRequest

CONTROL: dict[str, Take] = {
    "keep_alive": lenient(by_type("a string or a number", string=STRING, number=NUMBER, null=NULL)),
    "ttl": PASSED,
}


def limit(request: Request, options: Options) -> None:
    """Refuse models that run elsewhere, and take out what pins or evicts models."""
    if not options.allow_cloud_models:
        refuse_cloud(request.model)
    if not options.allow_model_control:
        for key in CONTROL:
            if request.body.pop(key, None) is not None:
                request.dropped += (key,)


def cap_context(asked: dict[str, Any], key: str, options: Options) -> bool:
    """Leave out the size of a context, or lower it to the most that the operator allows. Whether it was changed."""
    size, most = asked.get(key), options.max_context
    if size is None or (options.allow_model_control and not most):
        return False
    if most and 0 < size <= most:
        return False
    if most and size > 0:
        asked[key] = most
    else:
        del asked[key]
    return True


def refuse_cloud(model: str) -> None:
    """Ollama sends prompts for such names to a remote service, blanks or not (internal/modelref/modelref.go)."""
    source = model.rpartition(":")[2].strip().lower()
    if source == "cloud" or source.endswith("-cloud"):
        raise cloud_model(model)


def cloud_model(name: str) -> BadRequest:
    """The refusal of a model whose prompts would leave this machine."""
    return BadRequest(
        f"The model {name[:80]!a} runs in the cloud: prompts would leave this machine (see allow_cloud_models)",
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
