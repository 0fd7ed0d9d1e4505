"""Print proxy/checks/characters/scripts.py, derived from Unicode's Scripts.txt.

Usage: derive_scripts.py Scripts.txt    (https://www.unicode.org/Public/UCD/latest/ucd/)

Common and Inherited are in the table too: spaces, digits, signs, emoji, accents, which no script has for itself.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

LINE = re.compile(r"([0-9A-F]+)(?:\.\.([0-9A-F]+))? *; *(\w+)")
HEAD = '''"""Which characters belong to which script: Unicode {version}, Scripts.txt (UAX #24); tools/derive_scripts.py.

Copyright Unicode, Inc. Used under the licence in NOTICE
"""

VERSION = "{version}"
'''


def read(lines: list[str]) -> dict[str, list[tuple[int, int]]]:
    """By script its ranges, those that touch joined."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for first, last, script in (match.groups() for match in map(LINE.match, lines) if match):
        found[script].append((int(first, 16), int(last or first, 16)))
    joined: dict[str, list[tuple[int, int]]] = {}
    for script, ranges in sorted(found.items()):
        own = joined[script] = []
        for begin, end in sorted(ranges):
            if own and begin == own[-1][1] + 1:
                own[-1] = (own[-1][0], end)
            else:
                own.append((begin, end))
    return joined


def main() -> None:
    """The command."""
    lines = Path(sys.argv[1]).read_text("utf-8").splitlines()
    version = lines[0].removeprefix("# Scripts-").removesuffix(".txt")
    print(HEAD.format(version=version))
    print("RANGES = {")
    for script, ranges in read(lines).items():
        text = " ".join(f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in ranges)
        wrapped = textwrap.wrap(text, 100)
        if len(wrapped) == 1:
            print(f'    "{script}": "{text}",')
            continue
        print(f'    "{script}": (')
        for number, line in enumerate(wrapped):
            print(f'        "{line}{" " if number < len(wrapped) - 1 else ""}"')
        print("    ),")
    print("}")
    print('"""By script, its code points in hexadecimal: single ones and ranges with both ends."""')


if __name__ == "__main__":
    main()
