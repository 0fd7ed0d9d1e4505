"""Print proxy/checks/detectors/tlds.py, derived from the Public Suffix List that the package publicsuffixlist carries.

Usage: derive_tlds.py    (pip install publicsuffixlist)

Top-level domains are the last labels of the list's ICANN section (https://publicsuffix.org/list/, MPL 2.0), in letters
and, where they are not ASCII, in their ASCII form (RFC 5890) too. `example` and `test` are added, which RFC 2606 keeps
for documents and tests.
"""

from __future__ import annotations

import textwrap
from importlib.metadata import version
from importlib.resources import files

RESERVED = ("example", "test")
HEAD = '''"""The top-level domains that exist. Made by tools/derive_tlds.py from publicsuffixlist {version}."""

# ruff: noqa: E501  (wide letters count twice)
from __future__ import annotations

NAMES = """
{names}
"""
TLDS = frozenset(NAMES.split())
'''


def labels() -> set[str]:
    """The last label of each rule of the ICANN section."""
    text = files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text("utf-8")
    section = text.split("===BEGIN ICANN DOMAINS===")[1].split("===END ICANN DOMAINS===")[0]
    rules = (line.split()[0] for line in section.splitlines() if line.strip() and not line.startswith("//"))
    return {rule.rpartition(".")[2].lower() for rule in rules}


def main() -> None:
    """Print the module."""
    names = labels() | set(RESERVED)
    names |= {name.encode("idna").decode("ascii") for name in names if not name.isascii()}
    shown = textwrap.fill(" ".join(sorted(names)), 80, break_on_hyphens=False, break_long_words=False)
    print(HEAD.format(version=version("publicsuffixlist"), names=shown), end="")


if __name__ == "__main__":
    main()
