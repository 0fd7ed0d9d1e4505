"""Print the look-alike table of proxy/matching/confusables.py, derived from Unicode's confusables.txt.

Usage: derive_confusables.py confusables.txt    (https://www.unicode.org/Public/security/)

What the data calls alike stays only where it helps to read a disguised word: characters outside ASCII, without a
compatibility decomposition, whose skeleton without marks is ASCII. Three corrections: digits have their value, not
their shape (the fold sees to that); the skeleton `l` of capital letters means `I`, that of symbols `|`; and `rn` means
`m`. Added are letters that Unicode names after a Latin letter (small capitals, hooks, strokes, turned ones), a few that
fancy text uses, and the other case of a letter where the data knows only one.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

NAMED = re.compile(
    r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z]) WITH .*|LATIN LETTER SMALL CAPITAL (?:TURNED |REVERSED )?([A-Z])"
    r"|LATIN (?:SMALL|CAPITAL) LETTER (?:TURNED|REVERSED|SIDEWAYS|INSULAR|BLACKLETTER|SCRIPT) ([A-Z])"
)
EXTRA = dict(zip("ᗩᗷᑕᗪᖴᕼᒍᒪᗰᑎᑭᑫᖇᔕᑌᐯᗯ᙭ᘔβεєωλəŋ", "abcdfhjlmnpqrsuvwxzbeewaen", strict=True)) | {"\u2800": " "}
WIDTH = 96


def read(path: Path) -> dict[str, str]:
    """Source character -> skeleton."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    rows = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("#")[0].split(";")]
        if len(fields) == 3:
            rows[chr(int(fields[0], 16))] = "".join(chr(int(code, 16)) for code in fields[1].split())
    return rows


def may_stand_in(char: str) -> bool:
    """Does the fold get to this character undecomposed, and may it be a look-alike?"""
    category = unicodedata.category(char)
    return (
        not char.isascii()
        and unicodedata.normalize("NFKD", char) == char
        and category[0] not in "MC"
        and category != "Sc"
        and unicodedata.digit(char, None) is None
    )


def looks_like(char: str, rows: dict[str, str]) -> str:
    """The ASCII text that this character looks like, or nothing."""
    skeleton = unicodedata.normalize("NFKD", rows.get(char, ""))
    skeleton = "".join(c for c in skeleton if unicodedata.category(c) not in ("Mn", "Me")).replace("rn", "m")
    letter, latin = unicodedata.category(char)[0] == "L", unicodedata.name(char, "").startswith("LATIN ")
    if not skeleton.isascii() or (len(skeleton) > 1 and not latin) or (letter and not skeleton.isalnum()):
        return ""
    if skeleton == "l" and not letter:
        return "|"
    return "i" if skeleton == "l" and char.isupper() else skeleton.lower()


def table(rows: dict[str, str]) -> dict[str, str]:
    """Every look-alike with what it looks like."""
    found: dict[str, str] = {}
    for char in filter(may_stand_in, map(chr, range(0x80, 0x110000))):
        named = NAMED.fullmatch(unicodedata.name(char, ""))
        letter = next(filter(None, named.groups()), "").lower() if named else ""
        target = looks_like(char, rows) or letter or EXTRA.get(char, "")
        if target:
            found[char] = target
    return both_cases(found)


def both_cases(found: dict[str, str]) -> dict[str, str]:
    """Give a letter what its other case looks like, where the data knows no better."""
    cases: dict[str, set[str]] = defaultdict(set)
    for char in filter(may_stand_in, map(chr, range(0x80, 0x110000))):
        if len(char.casefold()) == 1:
            cases[char.casefold()].add(char)
    more = {}
    for folded, members in cases.items():
        members.add(folded)
        targets = {found[c] for c in members if c in found}
        if len(targets) == 1:
            more.update(dict.fromkeys(filter(may_stand_in, members), targets.pop()))
    return found | more


def shown(char: str) -> str:
    """As it is, but for what would reorder or hide the source text around it."""
    plain = unicodedata.bidirectional(char) not in ("R", "AL") and char.isprintable() and char != "\u2800"
    return char if plain else ascii(char)[1:-1]


def main() -> None:
    """One entry for each target, with as many lines as it takes."""
    groups: dict[str, list[str]] = defaultdict(list)
    for char, target in sorted(table(read(Path(sys.argv[1]))).items()):
        groups[target].append(shown(char))
    for target, chars in sorted(groups.items()):
        lines = [""]
        for char in chars:
            if len(lines[-1]) + len(char) > WIDTH:
                lines.append("")
            lines[-1] += char
        value = " ".join(f'"{line}"' for line in lines)
        print(f"    {json.dumps(target)}: {value},")


if __name__ == "__main__":
    main()
