"""What bench.detection measures with: the development data, and what other packages have found in it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Peers:
    """What other packages found: spans by entity in pii and clean, secrets in secret_texts and clean, words by list."""

    personal: dict[str, list[list[list[int]]]] = field(default_factory=dict)
    secrets: list[list[str]] = field(default_factory=list)
    words: list[list[bool]] = field(default_factory=list)


class Run(NamedTuple):
    """What is measured, and with what."""

    data: Path
    show: bool
    requests: Path | None = None
    peers: Peers = Peers()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A file of the development data."""
        with gzip.open(self.data / f"{name}.dev.jsonl.gz", "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]
