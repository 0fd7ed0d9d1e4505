"""Records for tests, as the decision log makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxy.server.ops.records import timestamp
from proxy.store.database import Database, open_database

MIB = 1024 * 1024
START = 1_780_000_000.0  # seconds since 1970


def finding(rule: str = "mail", policy: str = "house", **more: Any) -> dict[str, Any]:
    """What a rule found."""
    place = {"direction": "output", "channel": "content", "start": 3, "end": 9, "length": 6}
    return {"policy": policy, "rule": rule, "action": "rewrite", "enforced": True, **place, **more}


def record(number: int = 0, **more: Any) -> dict[str, Any]:
    """A record; each number is a second later."""
    found: dict[str, Any] = {
        "id": f"id-{number}",
        "time": timestamp(START + number),
        "trace_id": None,
        "client": None,
        "endpoint": "/v1/chat/completions",
        "model": "llama3.1:8b",
        "alignment": "instruct",
        "key": None,
        "policy": "0123456789abcdef",
        "stream": True,
        "outcome": "allowed",
        "status": 200,
        "findings": [],
        "timings": {"total": 1.25},
        "record_text": "none",
    }
    made = {**found, **more}
    return {**made, "findings_total": len(made["findings"])}


def opened(folder: Path, size: int = 64 * MIB) -> Database:
    """A store in a file."""
    return open_database("sqlite", folder, size)
