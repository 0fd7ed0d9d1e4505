"""Opaque blobs: signatures of thinking, redacted or encrypted reasoning, as base64 of bytes that nobody here can read.

A field for a blob is a string like any other, so it can hold a plain sentence: a real Ollama puts the thinking itself
into `encrypted_content`. So the string is judged as it stands, and as what its bytes spell if it has a blob's form.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import Any

from proxy.dialects.request import InputText

LEAST = 32
"""Characters of a blob. A word in capitals is valid base64 too; the shortest signature in use has far more."""
LEAST_RUN = 4
"""Characters of a text between bytes that spell none, as of `strings` (POSIX)."""
FIELDS = frozenset(("signature", "encrypted_content", "encrypted_index", "encrypted_stdout", "fingerprint"))
"""Keys of fields for blobs, in the APIs of Anthropic and OpenAI."""

_in_base64 = re.compile(r"[A-Za-z0-9+/_\-]+={0,2}").fullmatch
_URL_SAFE = str.maketrans("-_", "+/")
_run = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ufffd]{{{LEAST_RUN},}}")


def is_blob(text: str) -> bool:
    """Whether a string has the form of a blob: base64 (RFC 4648, either alphabet) of at least LEAST characters."""
    return len(text) >= LEAST and _in_base64(text) is not None and len(text.rstrip("=")) % 4 != 1


def decoded_text(text: str) -> str:
    """What a blob's bytes spell: all of it if they are UTF-8, else the runs that are, a line each. "" if none is."""
    if not is_blob(text):
        return ""
    digits = text.rstrip("=").translate(_URL_SAFE)
    data = base64.b64decode(digits + "=" * (-len(digits) % 4))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\n".join(_run.findall(data.decode(errors="replace")))


def may_be_shown(value: str, admits: Callable[[str], bool]) -> bool:
    """Whether a field for a blob may go to a client: no rule minds the string as it stands, nor what it spells."""
    spelled = decoded_text(value)
    return admits(value) and (not spelled or admits(spelled))


def opaque_texts(value: str, role: str, param: str, container: Any, key: Any) -> list[InputText]:
    """The texts of a request's field for a blob: the string itself, and what it spells. Both are reasoning."""
    place = _Place(container, key)
    texts = [InputText(role, value, param, place, "itself", aside=True, thought=True)]
    spelled = decoded_text(value)
    if spelled:
        texts.append(InputText(role, spelled, param, place, "spelled", aside=True, thought=True))
    return texts


def with_spelled(texts: Iterable[InputText]) -> list[InputText]:
    """Texts of nested JSON; one in a field for a blob is followed by what it spells."""
    found: list[InputText] = []
    for text in texts:
        if text.param.rpartition(".")[2] in FIELDS and is_blob(text.text):
            found += opaque_texts(text.text, text.role, text.param, text.container, text.key)
        else:
            found.append(text)
    return found


class _Place:
    """Where a blob stands. It is emptied when a rule changes what it spells: half a signature is worth nothing."""

    def __init__(self, container: Any, key: Any) -> None:
        self._container = container
        self._key = key
        self._emptied = False

    def __setitem__(self, part: str, text: str) -> None:
        """Put another text in the place of the string "itself"; what was changed in what it "spelled" empties it."""
        self._emptied |= part == "spelled"
        self._container[self._key] = "" if self._emptied else text
