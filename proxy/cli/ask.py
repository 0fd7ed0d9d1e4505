"""Asks guards and services what `explain` wants to know, as a running proxy would."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack

from proxy.checks.http_check import HttpQuestion
from proxy.checks.isolated import ProcessQuestion
from proxy.cli.config import effective_settings
from proxy.cli.logs import logging_to
from proxy.errors import SettingsError
from proxy.server.asks.desk import About, Desk
from proxy.server.asks.http import HttpAnswerer
from proxy.server.asks.process import ProcessAnswerer
from proxy.server.backends.choice import Backends
from proxy.server.guards.service import Guards
from proxy.server.ops.drops import Drops
from proxy.settings import Settings
from proxy.startup.configuration import server_config
from proxy.startup.discovery import upstream_url
from proxy.startup.plugins import find_registry


def ask(args: argparse.Namespace, questions: Sequence[Hashable]) -> Mapping[Hashable, object]:
    """The answers by question; a CheckFailed where there is none."""
    settings = effective_settings(args).settings
    with logging_to(sys.stderr, settings.log_format, "warning", Drops()), ExitStack() as stack:
        return asyncio.run(_ask(settings, stack, questions))


async def _ask(settings: Settings, stack: ExitStack, questions: Sequence[Hashable]) -> dict[Hashable, object]:
    worker = find_registry(settings).worker
    desk = Desk({HttpQuestion: HttpAnswerer(), ProcessQuestion: ProcessAnswerer(worker)})
    backends = await _backends(settings, stack)
    if backends is not None:
        desk.answerers.update(Guards(backends).answerers)
    try:
        return {question: await desk.answer(question, About()) for question in questions}
    finally:
        await desk.aclose()
        if backends is not None:
            await backends.aclose()


async def _backends(settings: Settings, stack: ExitStack) -> Backends | None:
    """The model servers of the settings; None where there are none, which is told."""
    try:
        url = await upstream_url(settings, stack)
    except SettingsError as error:
        print(f"safety-proxy: no guard is asked: {error}", file=sys.stderr)
        return None
    return Backends(server_config(settings, url), admits=lambda _: True)
