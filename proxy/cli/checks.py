"""`safety-proxy checks`: the kinds of checks that rules can name, those of plug-ins among them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from proxy.checks.registry import Entry, Registry
from proxy.policy.reader import expected


def checks(args: argparse.Namespace) -> int:
    """Print them, as a table for people or as JSON with the JSON Schema of the options. Raises SettingsError."""
    registry: Registry = args.find(args)
    if args.json:
        print(json.dumps([_as_json(entry) for entry in registry.entries.values()], indent=2, ensure_ascii=False))
        return 0
    for entry in registry.entries.values():
        print("\n".join(_lines(entry)))
    return 0


def _lines(entry: Entry) -> Iterator[str]:
    kind = entry.kind
    version = f", {entry.version}" if entry.version else ""
    where = "" if kind.in_rules else ", for `limits`"
    yield f"{kind.name}: {kind.about} ({entry.what}, {entry.origin}{version}{where})"
    for option in _options(entry):
        needed = "needed" if option.default is NODEFAULT and option.default_factory is NODEFAULT else _default(option)
        yield f"  {option.encode_name}: {_about(option)} ({needed})"


def _options(entry: Entry) -> tuple[inspect.Field, ...]:
    described = inspect.type_info(entry.kind.options)
    assert isinstance(described, inspect.StructType)
    return described.fields


def _about(option: inspect.Field) -> str:
    """The option's own words, or what can be written for it."""
    kind = option.type
    while isinstance(kind, inspect.Metadata):
        about = (kind.extra_json_schema or {}).get("description")
        if about:
            return str(about)
        kind = kind.type
    return expected(option.type)


def _default(option: inspect.Field) -> str:
    value = option.default_factory() if option.default is NODEFAULT else option.default
    return f"default {json.dumps(msgspec.to_builtins(value), ensure_ascii=False)}"


def _as_json(entry: Entry) -> dict[str, Any]:
    kind = entry.kind
    return {
        "name": kind.name,
        "about": kind.about,
        "named_by": entry.what if kind.in_rules else "limits",
        "origin": entry.origin,
        "version": entry.version,
        "options": msgspec.json.schema(kind.options),
    }
