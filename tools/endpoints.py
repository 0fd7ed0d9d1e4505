"""Print docs/endpoints.md: each path of Ollama, LM Studio and llama.cpp, and what the route table says of it.

Usage: python -m tools.endpoints > docs/endpoints.md
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.dialects.anthropic import request as anthropic_request
from proxy.dialects.lmstudio import request as lmstudio_request
from proxy.dialects.ollama import models as ollama_models
from proxy.dialects.ollama import request as ollama_request
from proxy.dialects.openai import completions as openai_completions
from proxy.dialects.openai import request as openai_request
from proxy.dialects.openai.responses import request as responses_request
from proxy.server.routing.routes import TABLE, Access, Route, RouteTable
from tools import inner_parts

OLLAMA = (
    *("POST /api/chat", "POST /api/generate", "POST /api/embed", "POST /api/embeddings", "POST /v1/chat/completions"),
    *("POST /v1/completions", "POST /v1/responses", "POST /v1/messages", "POST /v1/audio/transcriptions"),
    *("POST /v1/embeddings", "GET /v1/models", "GET /v1/models/{model}", "GET /api/tags", "HEAD /api/tags"),
    *("POST /api/show", "GET /api/ps", "GET /", "HEAD /", "GET /api/version", "HEAD /api/version", "GET /api/status"),
    *("POST /api/pull", "POST /api/push", "POST /api/create", "POST /api/copy", "DELETE /api/delete"),
    *("POST /api/blobs/{digest}", "HEAD /api/blobs/{digest}", "POST /api/me", "POST /api/signout"),
    *("DELETE /api/user/keys/{key}", "POST /api/experimental/web_search", "POST /api/experimental/web_fetch"),
    "GET /api/experimental/model-recommendations",
)
"""Source: Ollama's server/routes.go, GenerateRoutes."""

LM_STUDIO = (
    *("POST /v1/chat/completions", "POST /v1/completions", "POST /v1/responses", "POST /v1/embeddings"),
    *("POST /v1/messages", "GET /v1/models", "GET /api/v0/models", "GET /api/v0/models/{model}"),
    *("POST /api/v0/chat/completions", "POST /api/v0/completions", "POST /api/v0/embeddings", "POST /api/v1/chat"),
    *("GET /api/v1/models", "POST /api/v1/models/load", "POST /api/v1/models/unload"),
    *("POST /api/v1/models/download", "GET /api/v1/models/download/status", "GET /lmstudio-greeting"),
    *(f"GET /{name}" for name in ("llm", "embedding", "system", "diagnostics", "files", "repository")),
    *("GET /plugins", "GET /runtime"),
)
"""Source: LM Studio's REST docs and its SDK (the last paths are WebSockets)."""

LLAMA_CPP = (
    *("GET /health", "GET /v1/health", "GET /metrics", "GET /props", "POST /props", "GET /models", "GET /v1/models"),
    *("POST /completion", "POST /completions", "POST /v1/completions"),
    *(f"POST {v1}/chat/completions{more}" for v1 in ("", "/v1") for more in ("", "/control", "/input_tokens")),
    *(f"POST {v1}/responses{more}" for v1 in ("", "/v1") for more in ("", "/input_tokens")),
    *("POST /v1/messages", "POST /v1/messages/count_tokens", "POST /infill", "POST /embedding", "POST /embeddings"),
    *("POST /v1/embeddings", "POST /rerank", "POST /reranking", "POST /v1/rerank", "POST /v1/reranking"),
    *("POST /tokenize", "POST /detokenize", "POST /apply-template", "GET /lora-adapters", "POST /lora-adapters"),
    *("GET /slots", "POST /slots/{id}", "POST /audio/transcriptions", "POST /v1/audio/transcriptions"),
    *("GET /v1/stream", "DELETE /v1/stream", "POST /v1/streams/lookup", "GET /cors-proxy", "POST /cors-proxy"),
    *("GET /tools", "POST /tools", "POST /models", "DELETE /models", "POST /models/load", "POST /models/unload"),
    "GET /models/sse",
)
"""Source: llama.cpp's tools/server/server.cpp."""

BACKENDS = {"Ollama": OLLAMA, "LM Studio": LM_STUDIO, "llama.cpp": LLAMA_CPP}
WORDS = {
    Access.GUARDED: "guarded",
    Access.READ_ONLY: "read-only",
    Access.OWN: "own",
    Access.ADMIN: "admin",
    Access.REFUSED: "refused",
}

HEAD = """# Endpoints

Every path that Ollama, LM Studio and llama.cpp offer, and what the proxy makes of it. `python -m tools.endpoints`
prints this page from the table in `proxy/server/routing/routes.py`. A path that is not in it is answered with 404, and
nothing goes to the model server.

| word | meaning |
|---|---|
| guarded | prompt and answer pass the policies, in every field that carries text; everything else is left out |
| read-only | asked from the model server, and shown field by field: numbers, and short texts of a known form |
| own | answered by the proxy itself |
| admin | 404: it manages models, which is for whoever runs the model server; ask that directly |
| refused | 404: it could not be guarded, or no chat needs it |

Another method on a path of the table is 405 with an `Allow` header. HEAD is answered where GET is; OPTIONS answers
browsers (CORS). WebSockets are refused with 400 on every path.

What no rule looks at on the paths that are open:

* **Names of models** that are one plain word, in requests and in read-only lists. A name with spaces or in another
  script is shown if no rule minds it, and if it has no control, format or bidirectional characters and at most 256
  characters; a name that is not shown is said in the log, once.
* **Pictures, sound and film** in prompts: nobody here reads them. A policy may refuse them.
* **Stop sequences, samplers** and the like: the model server compares or obeys them, and no chat template shows them to
  the model.

## What becomes of a request's parts

Each dialect has a table of what may stand in a request, at any depth. What stands there is one of:

| word | meaning | such as |
|---|---|---|
| judged and passed | a rule sees every text in it | messages, tools of the client, schemas, `chat_template_kwargs` |
| | | and words that a template may show: `reasoning_effort`, `verbosity`, an unknown role |
| passed | it has nothing that a rule could find | numbers, switches, names of samplers, `reasoning_format` |
| left out | the rest makes sense without it | what stands in no table, a value of another form |
| refused | 400: the rest makes none, or nobody can read it | broken JSON, token ids as a prompt, keys in another case |

What is left out is named in `x-safety-proxy-dropped`.

Parts are left out first; then exactly what is sent is judged. Left out unless a setting allows it:

| part | setting |
|---|---|
| tools that the client does not run (with a server's address, `type: mcp`, `web_search`) | `allow_server_tools` |
| a `tool_choice` that names such a tool, `integrations`, `web_search_options` | `allow_server_tools` |
| `keep_alive`, `ttl`, Ollama's options that load a model anew, `shift` | `allow_model_control` |
| an endless `num_predict`, and `truncate: true`, which cuts the head off a long prompt | `allow_model_control` |
| `options.num_ctx`, `context_length`: up to the setting they pass, over it they are lowered to it | `max_context` |
| `logprobs` (named in `x-safety-proxy-removed`) | `logprobs` |

Refused unless a setting allows it, since the rest would mean something else: `raw`, `template`, `context`, `suffix`
(`allow_raw_prompts`), `previous_response_id` (`allow_stateful`), pictures and sound that lie elsewhere
(`allow_remote_images`), models that run elsewhere, which Ollama tells of under any name (`allow_cloud_models`).

Known keys that are never sent:

"""
TABLES = {
    "`/v1/chat/completions`, `/v1/completions`": openai_request.CHAT,
    "`/v1/completions`": openai_completions.COMPLETIONS,
    "`/api/chat`": ollama_request.CHAT,
    "its `options`": ollama_request.OPTIONS,
    "`/api/show`": ollama_models.SHOW_REQUEST,
    "`/api/v1/chat`": lmstudio_request.CHAT,
    "`/v1/messages`": anthropic_request.MESSAGES,
    "`/v1/responses`": responses_request.RESPONSES,
}
"""Allow-lists whose own keys people look for; each is a row of that page."""


def row(door: str) -> Route:
    """What the table says of a path of a model server. KeyError when it does not speak of it."""
    method, path = door.split(" ")
    found = RouteTable().find(method, path.replace("{", "").replace("}", "")).route
    if found is None:
        raise KeyError(f"{door} has no row in proxy/server/routing/routes.py")
    return found


ANSWERS = """\
## What becomes of an answer's parts

A client gets what the model server sent, byte for byte, as far as no rule minds it. What is not understood is left out.

| part | what becomes of it |
|---|---|
| text, thinking, refusals | judged and passed, each as it comes |
| tool calls: name, id, arguments; calls of custom tools | judged, and sent whole when they are complete |
| usage, timings, `prompt_progress`, LM Studio's `stats` | their numbers pass, on the chunk on which they came |
| numbers, booleans and nulls under keys that are not known | pass, a few, if no rule minds them: see below |
| the reason for the end | known ones pass, others of the form `[a-z_]{1,32}` if no rule minds them; else the usual |
| a reason `error` | an error: the model server says that it has failed |
| ids, names of models | shown if no rule minds them |
| signatures, `redacted_thinking`, `encrypted_content` | base64 passes if no rule minds it or what it spells |
| plain text in their place | judged, left out if a rule minds it; Ollama's copy of the thinking is what was shown |
| `logprobs` | left out while a policy looks at answers; else the setting of that name |
| Ollama's `context` | left out: token ids of the prompt and the answer, which no rule can read |

* A kind of text is decided and released before another begins: the end of the thinking comes before the answer.
* Calls are told apart by their id, then by their index. A new id begins a new call; so does a new name after complete
  arguments. An index that is null, missing, repeated or far off does no harm: clients get them numbered from 0.
* **Keys that are not known.** Numbers, booleans and nulls pass under a key of the form `[A-Za-z_][A-Za-z0-9_-]{0,39}`,
  in events, choices, deltas, blocks, lines, statistics and results, as long as what they stand in goes out unchanged,
  if no rule minds `key: value`. An object passes if it holds nothing else; in statistics its numbers pass. Left out:
  texts, lists, whole numbers under keys whose last word is `id`, `token`, `char`, `code`, `byte` or the like, and keys
  that mean something to a client in another case. A key may have 4 values in an answer, and one more with its end; an
  answer may have 64. A value that is the same as the last counts once. After one too many a key stays out to the end.
* A number that is written with other digits than its value has, and a key that stands twice, are written anew.
* After every choice has ended nothing but a count is waited for. A `[DONE]` without an end is an error.
* A block is the end of an answer. The notice is a paragraph of its own where text was shown before it. What is
  [JSON](policies.md#json) stays JSON.
* LM Studio's own stream ends with `chat.end` also after an error; `stats.stop_reason` is then `failed`.
"""


def left_out() -> Iterator[str]:
    """The table of keys that are never sent: a row for each reason of a path."""
    yield "| path | keys | because |\n|---|---|---|"
    shared = openai_request.CHAT.always_left_out()
    for path, table in TABLES.items():
        reasons: dict[str, list[str]] = {}
        for key, reason in table.always_left_out().items():
            if table is not openai_completions.COMPLETIONS or key not in shared:
                reasons.setdefault(reason, []).append(f"`{key}`")
        yield from (f"| {path} | {', '.join(keys)} | {reason} |" for reason, keys in reasons.items())
    yield ""


def lines() -> Iterator[str]:
    """The page."""
    yield HEAD.rstrip("\n") + "\n"
    yield from left_out()
    yield from inner_parts.section()
    yield ANSWERS
    for backend, doors in BACKENDS.items():
        yield f"## {backend}\n\n| path | | |\n|---|---|---|"
        yield from (f"| `{door}` | {WORDS[row(door).access]} | {row(door).note} |" for door in doors)
        yield ""
    known = {(route.method, route.path) for doors in BACKENDS.values() for route in map(row, doors)}
    yield "## The proxy's own, and others\n\n| path | | |\n|---|---|---|"
    others = (route for route in TABLE if (route.method, route.path) not in known)
    yield from (f"| `{route.method} {route.path}` | {WORDS[route.access]} | {route.note} |" for route in others)
    yield ""


def page() -> str:
    """The page as one text."""
    return "\n".join(lines()).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(page(), end="")
