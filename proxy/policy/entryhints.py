"""Entries of word lists that may surprise: they are loaded, and `check` says what they will do."""

from __future__ import annotations

import re

from proxy.matching.words import edge_class

_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def entry_hint(entry: str, fold: bool) -> tuple[str, str] | None:
    """What an entry may do that was not meant, and what can be done about it."""
    if entry.isascii() and entry[0].isalnum() and entry[-1].isalnum():
        return None
    kinds = [edge_class(char) for char in entry]
    if not fold and entry[0].isascii() and (found := _INVISIBLE.search(entry)):
        message = f"has an invisible character (U+{ord(found[0]):04X}), and is only found where the text has it too"
        return message, "remove it, or use `fold`"
    if kinds[0] == "M":
        return "begins with a mark that belongs to the character before it", "write the whole letter"
    if kinds[0] == "O" or kinds[-1] == "O":
        return (
            "begins or ends with a sign, and there is found whatever stands beside it",
            "a pattern says more exactly what is meant",
        )
    letters = [char for char, kind in zip(entry, kinds, strict=True) if kind != "M"]
    spaceless = kinds[0] == "S" and "W" not in kinds and len(letters) < (2 if _HAN.match(entry) else 3)
    if spaceless:
        return "is short and in a script without spaces, so it is found inside longer words too", "write a longer entry"
    return None
