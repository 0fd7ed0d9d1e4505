"""The bytes that a policy is read from, with their name. The caller reads the files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MAX_BYTES = 16 * 1024 * 1024
POLICY_SUFFIXES = (".yaml", ".yml", ".json")
WORDS_SUFFIX = ".txt"


class Source(NamedTuple):
    """One file. `name` is what errors show (`policies/x.yaml`); `data` needs no more than MAX_BYTES + 1 bytes."""

    name: str
    data: bytes

    @property
    def base(self) -> str:
        """The name without its directory."""
        return self.name.replace("\\", "/").rpartition("/")[2]

    @property
    def is_policy(self) -> bool:
        """True for a policy, False for a list of words."""
        return self.base.lower().endswith(POLICY_SUFFIXES)


class Problem(NamedTuple):
    """Something wrong in a file. Lines and columns count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    where: str = ""  # what in the file: `rule pii.email`

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        line = ": ".join(filter(None, (place, self.where, self.message, self.hint)))
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def lines_of(problems: Iterable[Problem]) -> list[str]:
    """The problems as text, in the order of files and lines, each once."""
    return [str(p) for p in sorted(set(problems))]


class Unreadable(Exception):
    """A file that cannot be taken as text, or not as YAML or JSON."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def decode(source: Source) -> str:
    """The file's text; raises Unreadable when it is too big, not UTF-8, or holds a byte order mark or nothing."""
    data = source.data
    if len(data) > MAX_BYTES:
        raise Unreadable(Problem(source.name, 0, 0, "larger than 16 MiB", "split it into several files"))
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(Problem(source.name, 1, 1, "starts with a byte order mark", "save it as UTF-8 without BOM"))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise Unreadable(Problem(source.name, line, column, message, "save the file as UTF-8")) from None
    if not text.strip():
        raise Unreadable(Problem(source.name, 0, 0, "the file is empty", "write a policy into it or remove it"))
    return text
