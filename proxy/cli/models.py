"""`safety-proxy models`: what each model claims to be, why, and which policies apply to it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from proxy.cli.config import effective_settings
from proxy.cli.logs import logging_to
from proxy.errors import SettingsError
from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from proxy.policy.models_file import Review
from proxy.policy.models_store import ModelsStore
from proxy.policy.policyset import PolicySet
from proxy.server.backends.backend import Backend
from proxy.server.backends.choice import Backends
from proxy.server.models.overview import overview
from proxy.server.ops.drops import Drops
from proxy.settings import Settings
from proxy.startup.configuration import server_config
from proxy.startup.discovery import DEMO, upstream_url
from proxy.startup.plugins import find_registry
from proxy.startup.policies import load_reviews, policy_folder

SHOWN_DIGEST = 12  # characters, as `ollama list` shows them
LONGEST = 100  # characters of a cell
HASH_KEY = b"models"  # nothing is rewritten here
HEAD = ("model", "backend", "status", "kind", "digest", "policies", "why")
LEGEND = "A status is what a model claims, not what it does: docs/alignment.md says what to check."

log = logging.getLogger("safety_proxy.server")


class Found(NamedTuple):
    """What was found.

    models:  a row for each
    silent:  a sentence for each model server that did not say which models it has
    unused:  a sentence for each entry of models.yaml that applies to none of them
    answers: how many model servers said it
    """

    models: list[dict[str, Any]]
    silent: list[str]
    unused: list[str]
    answers: int


def models(args: argparse.Namespace) -> int:
    """Print them. 1: one is not what `--require` says, or a model server does not say which models it has.

    Raises SettingsError if none does, PolicyError for a wrong policy or models.yaml.
    """
    settings = effective_settings(args).settings
    with logging_to(sys.stderr, settings.log_format, "warning", Drops()), ExitStack() as stack:
        found = asyncio.run(_find(settings, stack))
    if not found.answers:
        raise SettingsError("; ".join(found.silent))
    others = [row for row in found.models if not _has(row, args.require)] if args.require else []
    if args.json:
        told = {"models": found.models, "silent": found.silent, "unused_reviews": found.unused}
        print(json.dumps({"ok": not others and not found.silent, **told}, indent=2, ensure_ascii=False))
    else:
        _print(found, others, args.require)
    return 1 if args.require and (others or found.silent) else 0


def _has(row: dict[str, Any], status: str) -> bool:
    """Whether a model has a status. One that embeds says nothing, so it need not have it."""
    return bool(row["status"] == status or row["kind"] == "embedding")


async def _find(settings: Settings, stack: ExitStack) -> Found:
    registry = await asyncio.to_thread(find_registry, settings)
    folder = policy_folder(settings, is_demo=settings.upstream == DEMO)
    sources = read_directory(folder)
    policies = compile_policies(
        sources, hash_key=HASH_KEY, allow_empty=settings.allow_empty, origin=str(folder), registry=registry
    )
    reviews = await load_reviews(settings, folder)
    url = await upstream_url(settings, stack)
    backends = Backends(server_config(settings, url), admits=lambda _: True)
    try:
        return await _look(backends.all, policies, reviews)
    finally:
        await backends.aclose()


async def _look(backends: Sequence[Backend], policies: PolicySet, reviews: ModelsStore) -> Found:
    lapsed: list[Review] = []
    for backend in backends:
        backend.models.alignments.reviews = reviews
        backend.models.alignments.lapsed = lapsed.append
    await asyncio.gather(*(_look_at(backend) for backend in backends))
    rows = [(backend.name, backend.models.alignments.rows()) for backend in backends]
    used = [*lapsed, *(row.review for _, found in rows for row in found)]
    unused = [_unused(review) for review in reviews.current.entries if review not in used]
    table = [line for name, found in rows for line in overview(name, found, policies)]
    silent = [_silence(backend) for backend in backends if not backend.models.alignments.answered]
    return Found(table, silent, unused, len(backends) - len(silent))


async def _look_at(backend: Backend) -> None:
    """What it is, then what its models are."""
    await backend.look()
    if not backend.known.trouble:
        await backend.models.alignments.look_at_all()


def _silence(backend: Backend) -> str:
    trouble = backend.known.trouble or "does not say which models it has"
    return f"the model server at {backend.url} {trouble}"


def _unused(review: Review) -> str:
    what = f"the name {review.model}" if review.model else f"the digest {review.digest[:SHOWN_DIGEST]}"
    return f"{review.place}: no model has {what}, so this review applies to none; correct or remove it"


def _print(found: Found, others: Iterable[dict[str, Any]], required: str | None) -> None:
    print("\n".join(_table([HEAD, *map(_cells, found.models)])) if found.models else "there are no models")
    for line in (*found.silent, *found.unused):
        print(f"safety-proxy: {line}", file=sys.stderr)
    for row in others:
        print(f"safety-proxy: {row['model']} is {row['status']}, not {required}: {row['why']}", file=sys.stderr)
    if found.models:
        print(f"\n{LEGEND}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    kind = row["kind"] if row["local"] else f"{row['kind']}, cloud"
    digest = (row["digest"] or "-")[:SHOWN_DIGEST]
    policies = ", ".join(row["policies"]) or "-"
    return row["model"], row["backend"], row["status"], kind, digest, policies, row["why"]


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Columns as wide as their widest cell; the last one is as long as it is."""
    cleaned = [[_printable(cell)[:LONGEST] for cell in row[:-1]] + [_printable(row[-1])] for row in rows]
    widths = [max(len(row[at]) for row in cleaned) for at in range(len(HEAD) - 1)]
    for row in cleaned:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def _printable(text: str) -> str:
    """A model server chooses names; a terminal must not obey them."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
