"""The first load of a directory of policies."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from proxy.checks.registry import BUILT_IN_ONLY, Registry
from proxy.policy.models_store import ModelsStore
from proxy.policy.store import PolicyStore
from proxy.settings import DEMO_POLICIES, SHIPPED, Settings

FORGED_TURNS = (
    "no rule makes chat markers plain text, so a prompt can forge turns (docs/threats.md). To prevent that, copy "
    "chat-markers.yaml from the shipped policies, or add a rule with `detector: turn_markers`, `action: rewrite` and "
    "`directions: [input]`"
)

log = logging.getLogger("safety_proxy.policies")


def policy_folder(settings: Settings, *, is_demo: bool) -> Path:
    """The directory of the policies. Where none was named, the demo model gets policies of its own."""
    return DEMO_POLICIES if is_demo and settings.policies == SHIPPED else settings.policies


async def load(
    folder: Path,
    *,
    hash_key: str | None = None,
    shadow: bool = False,
    allow_empty: bool = False,
    registry: Registry = BUILT_IN_ONLY,
) -> PolicyStore:
    """A store with its policies in force. Raises PolicyError; the caller shows its lines."""
    key = sha256(hash_key.encode()).digest() if hash_key else secrets.token_bytes(32)
    store = PolicyStore(folder, hash_key=key, shadow=shadow, allow_empty=allow_empty, registry=registry)
    with _errors_not_logged():
        await store.load()
    has_template = folder != DEMO_POLICIES  # the demo model has no chat template, so nobody forges a turn
    if has_template and not shadow and not store.current.guards_turns:
        log.warning("%s: %s", folder, FORGED_TURNS)
    return store


async def load_reviews(settings: Settings, folder: Path) -> ModelsStore:
    """What the operator has found out of models: the file that was named, or the one in the policies' folder.

    Raises PolicyError; the caller shows its lines.
    """
    reviews = ModelsStore.beside(folder, settings.models_file)
    await reviews.load()
    return reviews


@contextmanager
def _errors_not_logged() -> Generator[None, None, None]:
    """The caller shows the errors of the first load, so the log does not repeat them."""

    def below_error(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR

    policies = logging.getLogger("safety_proxy.policies")
    policies.addFilter(below_error)
    try:
        yield
    finally:
        policies.removeFilter(below_error)
