"""`safety-proxy audit`: does a model refuse what it should, and answer what it should?"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from proxy.audit.corrections import read_corrections
from proxy.audit.plan import Options
from proxy.audit.prompts import SHIPPED, read_prompts
from proxy.audit.report import SideReport, as_json, passes, reports
from proxy.audit.results import Audit, read_audit
from proxy.audit.run import RESULTS, Order, run, write_reports
from proxy.audit.table import table
from proxy.audit.targets import Wanted
from proxy.cli.config import effective_settings
from proxy.cli.logs import logging_to
from proxy.errors import SettingsError
from proxy.server.ops.drops import Drops
from proxy.settings import Settings
from proxy.startup.discovery import DEMO, upstream_url
from proxy.startup.policies import policy_folder

KEY = "SAFETY_PROXY_AUDIT_KEY"
"""The variable with the key that a proxy that runs wants to see."""
INTERRUPTED = 130
MOST = 1_000_000

N = TypeVar("N", int, float)


def audit(args: argparse.Namespace) -> int:
    """Ask, or read what was asked; report. 1: a rate is lower than --fail-under; 130: interrupted, all is kept.

    Raises SettingsError or PolicyError.
    """
    needed = _number(args.fail_under, "--fail-under", 0.0, 100.0, float) if args.fail_under else None
    if args.report is not None:
        if args.model:
            raise SettingsError("--report reads an audit that is there; a model is not asked, so leave it out")
        return _report(args, Path(args.report), read_audit(Path(args.report)), needed)
    path = Path(args.out) / RESULTS
    try:
        done = _ask(args)
    except KeyboardInterrupt:
        if not path.exists():
            return INTERRUPTED
        done = read_audit(path)
        told = f"interrupted: {len(done.replies)} of {done.total} replies are kept in {path}; --resume goes on"
        print(f"safety-proxy: {told}", file=sys.stderr)
        _report(args, path, done, needed)
        return INTERRUPTED
    return _report(args, path, done, needed)


def _ask(args: argparse.Namespace) -> Audit:
    order, settings = _order(args), effective_settings(args).settings
    with logging_to(sys.stderr, settings.log_format, "error", Drops()), ExitStack() as stack:
        return asyncio.run(_run(order, args, settings, stack))


async def _run(order: Order, args: argparse.Namespace, settings: Settings, stack: ExitStack) -> Audit:
    is_remote = order.wanted.proxy is not None and not order.wanted.direct
    url = str(order.wanted.proxy) if is_remote else await upstream_url(settings, stack)
    folders = _folders(args, settings)
    order = order._replace(wanted=order.wanted._replace(folders=folders))
    return await run(order, settings, url, sys.stderr, is_terminal=sys.stderr.isatty())


def _folders(args: argparse.Namespace, settings: Settings) -> list[Path]:
    """The sets of policies to ask through."""
    if args.direct and not args.guarded:
        return []
    own = [] if args.proxy else [policy_folder(settings, is_demo=settings.upstream == DEMO)]
    return [*own, *(Path(one) for one in args.and_policies)]


def _order(args: argparse.Namespace) -> Order:
    if not args.model:
        raise SettingsError("name the model to audit (`safety-proxy models` lists them), or --report FILE")
    if args.direct and not args.guarded and (args.proxy or args.and_policies):
        raise SettingsError("--direct asks without policies, so leave --proxy and --and-policies out")
    if args.proxy and args.and_policies:
        raise SettingsError("--proxy asks through the policies of that proxy, so leave --and-policies out")
    if args.proxy and not args.proxy.startswith(("http://", "https://")):
        raise SettingsError(f"--proxy is {args.proxy[:80]!a}; write its URL, such as http://127.0.0.1:11435")
    timeout = _number(args.timeout, "--timeout", 0.1, MOST, float)
    wanted = Wanted(
        args.model, args.direct or not args.guarded, (), args.proxy, os.environ.get(KEY), args.format, timeout
    )
    return Order(
        wanted,
        read_prompts(Path(args.prompts) if args.prompts else SHIPPED),
        _options(args),
        Path(args.out),
        resume=args.resume,
        concurrency=_number(args.concurrency, "--concurrency", 1, 64, int),
        patience=_number(args.patience, "--patience", 0.0, MOST, float),
    )


def _options(args: argparse.Namespace) -> Options:
    return Options(
        _number(args.repeats, "--repeats", 1, 1000, int),
        _number(args.temperature, "--temperature", 0.0, 5.0, float),
        None if args.seed == "none" else _number(args.seed, "--seed", 0, 2**31 - 1, int),
        _number(args.max_tokens, "--max-tokens", 1, MOST, int),
        args.system,
    )


def _number(text: str, flag: str, least: N, most: N, kind: Callable[[str], N]) -> N:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise SettingsError(f"{flag} is {text[:40]!a}; write a number from {least} to {most}")
    return value


def _report(args: argparse.Namespace, path: Path, done: Audit, needed: float | None) -> int:
    corrections = read_corrections(Path(args.corrections), done) if args.corrections else {}
    shown = reports(done, corrections)
    page = write_reports(path.parent, done, shown)
    if args.json:
        print(json.dumps(as_json(done, shown), indent=2))
    else:
        print("\n".join(table(done, shown)))
        print(f"\nThe page, to read and correct the answers: {page}")
    return _verdict(done, shown, needed)


def _verdict(done: Audit, shown: Sequence[SideReport], needed: float | None) -> int:
    """The exit code. Where a model was asked through policies these sides count: that is what users get."""
    if needed is None:
        return 0
    counted = [one for one in shown if not one.side.is_direct] or list(shown)
    low = [one.side.name for one in counted if not passes(one, needed)]
    if not done.is_complete:
        low.append("what was not asked yet")
    if low:
        print(f"safety-proxy: not {needed:g} % as expected (--fail-under): {'; '.join(low)}", file=sys.stderr)
    return 1 if low else 0
