"""The settings of a command line, and `safety-proxy config`, which shows them."""

from __future__ import annotations

import argparse
import os

from proxy.settings import ROWS, EffectiveSettings, resolve


def effective_settings(args: argparse.Namespace) -> EffectiveSettings:
    """The settings in force for a parsed command line. Raises SettingsError."""
    flags = {name: value for name, value in vars(args).items() if name in ROWS}
    return resolve(flags, os.environ, args.config)


def show(args: argparse.Namespace) -> int:
    """Print every setting with its value and where it came from. Secrets are hidden."""
    rows = list(effective_settings(args).lines())
    names, values = (max(len(row[i]) for row in rows) for i in (0, 1))
    for name, value, source in rows:
        print(f"{name:<{names}}  {value:<{values}}  {source}")
    return 0
