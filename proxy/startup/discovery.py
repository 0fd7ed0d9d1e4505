"""Which model server to stand in front of, when nobody has said."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import httpx

from proxy.demo.backend import DemoBackend
from proxy.errors import SettingsError
from proxy.settings import Settings

DEMO = "demo"
PATIENCE = 0.5  # seconds for each look; on the loopback a server that is there answers in a few milliseconds


class Backend(NamedTuple):
    """A model server: what it is, where, one of its models as far as that is known, and something to ask it."""

    name: str
    url: str
    model: str | None = None
    answers: bool = True
    prompt: str = "Hello!"


KNOWN = (
    ("Ollama", "http://127.0.0.1:11434", "/api/version", "version"),
    ("LM Studio", "http://127.0.0.1:1234", "/v1/models", "data"),
)


def find(own: str) -> Backend | None:
    """The first of the usual model servers that answers as itself; `own` is this proxy's URL, which is none."""
    for name, url, path, key in KNOWN:
        if url != own and key in _get(url + path):
            return look_at(url, name)
    return None


def upstream_url(settings: Settings, stack: ExitStack) -> str:
    """The model server that was named, or one that is found; `demo` is the demo model, which `stack` ends.

    Raises SettingsError when none was named and none is found: an answer nobody asked a model for is no answer.
    """
    if settings.upstream == DEMO:
        return stack.enter_context(DemoBackend(settings.demo_pace)).url
    if settings.upstream:
        return settings.upstream
    found = find(own=f"http://{settings.listen}")
    if found is None:
        looked = " nor ".join(f"{name} at {url}" for name, url, *_ in KNOWN)
        raise SettingsError(
            f"no model server: neither {looked} answers. Start one, or name it in SAFETY_PROXY_UPSTREAM "
            "(demo: the demo model with scripted answers)"
        )
    return found.url


def look_at(url: str, name: str = "", key: str | None = None) -> Backend:
    """A model server whose address is given: does it answer, and what can be asked for?"""
    found = _get(f"{url}/v1/models", key)
    models = found.get("data")
    first = models[0] if isinstance(models, list) and models else None
    model = first.get("id") if isinstance(first, dict) else None
    return Backend(name, url, model if isinstance(model, str) else None, bool(found))


def _get(url: str, key: str | None = None) -> dict[str, object]:
    """The JSON object at a URL; empty when there is none in time."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        found = httpx.get(url, headers=headers, timeout=PATIENCE, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
