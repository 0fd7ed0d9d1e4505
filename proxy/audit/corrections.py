"""What a person has said of replies: the JSON that the page saves, and that the command reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from proxy.audit.replies import OUTCOMES, Corrections, Outcome
from proxy.audit.results import Audit
from proxy.errors import SettingsError

MAX_BYTES = 16 * 1024 * 1024


def read_corrections(path: Path, audit: Audit) -> Corrections:
    """The corrections of an audit. Raises SettingsError: they are none, of another audit, or of other answers."""
    value = _value(path)
    if value.get("audit") != audit.id:
        raise SettingsError(f"{path} has corrections of another audit; name the file that was saved from this report")
    rows = value.get("corrections")
    if not isinstance(rows, list):
        raise SettingsError(f"{path} has no list of corrections; save it from the report's page")
    digests = {reply.key: reply.digest for reply in audit.replies}
    return dict(_correction(row, digests, f"{path}: correction {number}") for number, row in enumerate(rows, 1))


def _value(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{path} is larger than {MAX_BYTES} bytes; these are no corrections")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the corrections {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SettingsError(f"{path} is not one JSON object; save it from the report's page")
    return value


def _correction(row: Any, digests: dict[tuple[str, str, int], str], where: str) -> tuple[tuple[str, str, int], Outcome]:
    if not isinstance(row, dict):
        raise SettingsError(f"{where} is no object; save the file from the report's page")
    key, outcome = (row.get("side"), row.get("prompt"), row.get("repeat")), row.get("outcome")
    if not all(isinstance(part, str | int) for part in key) or key not in digests:
        raise SettingsError(f"{where} is of a reply that this audit does not have")
    if row.get("digest") != digests[key]:
        raise SettingsError(f"{where} is of another answer than the one that is there now; judge it again")
    found = next((one for one in OUTCOMES if one == outcome and one != "failed"), None)
    if found is None:
        raise SettingsError(f"{where} has no outcome; write one of {', '.join(OUTCOMES[:-1])}")
    return key, found
