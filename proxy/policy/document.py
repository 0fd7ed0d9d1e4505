"""A file of a policy: its bytes, its text, and its tree of nodes that know their line and column.

The tree is YAML 1.1 as PyYAML's C parser composes it. The caller reads the bytes from the disk.

Strict on purpose: everything that two readers could read differently (a key twice, a tag, a merge, a cycle) is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import yaml

from proxy.matching.pauses import Pause, no_pause

MAX_BYTES = 16 * 1024 * 1024
POLICY_SUFFIXES = (".yaml", ".yml", ".json")
WORDS_SUFFIX = ".txt"
MAX_EXPANSION = 100_000  # nodes that aliases may add
STR = "tag:yaml.org,2002:str"
PLAIN = "tag:yaml.org,2002:"

KeyPath = tuple[str | int, ...]
Node = yaml.Node

_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"#x([0-9a-f]+)")


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


def decode(source: Source, noun: str = "policy") -> str:
    """The file's text; raises Unreadable when it is too big, not UTF-8, or holds a byte order mark or nothing. `noun`:
    what the file is."""
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
        raise Unreadable(Problem(source.name, 0, 0, "the file is empty", f"write a {noun} into it or remove it"))
    return text


class Document:
    """One policy file, composed.

    noun:    what the file is, for messages
    begins:  how to begin one
    entries: the key of its list, what an entry of the list is called, and the entry's key with its name
    """

    noun = "policy"
    begins = "start with `version: 1` and `policy: NAME`"
    entries = ("rules", "rule", "id")

    def __init__(self, source: Source, pause: Pause = no_pause) -> None:
        """Raises Unreadable when the file is no text, no YAML or JSON, or is not one mapping.

        `pause` is called for every node.
        """
        self.name = source.name
        self._pause = pause
        text = decode(source, self.noun)
        if source.base.lower().endswith(".json"):
            text = self._json(text)
        self.root = self._compose(text)
        self._refuse_bombs()

    def problem(self, node: Node, message: str, hint: str = "", path: KeyPath = ()) -> Problem:
        """A problem at a node."""
        mark = node.start_mark
        return Problem(self.name, mark.line + 1, mark.column + 1, message, hint, self.where(path))

    def at(self, path: KeyPath) -> Node:
        """The node at a path, or the deepest one above it that is written in the file."""
        node = self.root
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            node = child
        return node

    def has(self, path: KeyPath) -> bool:
        """Whether the key at the end of the path is written in the file."""
        return _child(self.at(path[:-1]), path[-1]) is not None

    def where(self, path: KeyPath) -> str:
        """What a path lies in, for people: `rule pii.email`, `rule 3` when it has no readable id."""
        listed, noun, key = self.entries
        if len(path) < 2 or path[0] != listed:
            return ""
        name = _child(self.at(path[:2]), key)
        if isinstance(name, yaml.ScalarNode) and 0 < len(name.value) <= 64:
            return f"{noun} {name.value}"
        return f"{noun} {int(path[1]) + 1}"

    def _json(self, text: str) -> str:
        """Check that the text is JSON, and rewrite its escapes so that the YAML parser can read it."""
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise Unreadable(Problem(self.name, error.lineno, error.colno, f"not JSON ({error.msg})")) from None
        except RecursionError:
            raise Unreadable(Problem(self.name, 0, 0, "nested too deeply")) from None
        return _SURROGATES.sub(_one_escape, text)

    def _compose(self, text: str) -> Node:
        try:
            root = _Loader(text, self._pause).get_single_node()
        except yaml.MarkedYAMLError as error:
            raise Unreadable(self._syntax(error)) from None
        except yaml.reader.ReaderError as error:
            raise Unreadable(self._unprintable(text, error)) from None
        if root is None:
            raise Unreadable(
                Problem(self.name, 0, 0, "the file holds comments only", f"write a {self.noun} or remove it")
            )
        if not isinstance(root, yaml.MappingNode):
            raise Unreadable(self.problem(root, f"a {self.noun} is a mapping of keys", self.begins))
        return root

    def _syntax(self, error: yaml.MarkedYAMLError) -> Problem:
        mark = error.problem_mark or error.context_mark
        message = f"not YAML ({error.problem or error.context})"
        hint = ""
        if error.problem == "found character that cannot start any token":
            hint = "a tab cannot indent, and text that starts with %, @, ` or a tab has to be quoted"
        elif error.problem == "but found another document":
            message, hint = "more than one document in the file", f"remove the line `---`: one {self.noun} a file"
        elif "escape" in (error.problem or ""):
            hint = "a pattern is best written in single quotes, where a backslash is a backslash"
        return Problem(self.name, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0, message, hint)

    def _unprintable(self, text: str, error: yaml.reader.ReaderError) -> Problem:
        character = error.character if isinstance(error.character, int) else ord(error.character)
        at = text.find(chr(character))
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        hint = f'write it as an escape in double quotes ("\\u{character:04x}")'
        return Problem(self.name, line, column, f"the character U+{character:04X} is not allowed in YAML", hint)

    def _refuse_bombs(self) -> None:
        """Aliases share nodes; walking a small file of aliases of aliases would not end."""
        sizes: dict[int, int] = {}
        open_: set[int] = set()
        stack = [(self.root, False)]
        while stack:
            self._pause()
            node, done = stack.pop()
            key = id(node)
            if done:
                sizes[key] = 1 + sum(sizes[id(child)] for child in self._children(node))
                open_.discard(key)
            elif key in open_:
                raise Unreadable(self.problem(node, "an alias stands inside what it stands for", "write it out"))
            elif key not in sizes:
                open_.add(key)
                stack.append((node, True))
                stack += [(child, False) for child in self._children(node) if id(child) not in sizes]
        if sizes[id(self.root)] > len(sizes) + MAX_EXPANSION:
            raise Unreadable(self.problem(self.root, "aliases unfold to too many values", "write fewer of them"))

    def _children(self, node: Node) -> Iterator[Node]:
        for child in _children(node):
            self._pause()
            yield child


class _Loader(yaml.CSafeLoader):
    """A parser that pauses where it asks what a node is."""

    def __init__(self, text: str, pause: Pause) -> None:
        super().__init__(text)
        self._pause = pause

    def resolve(self, kind: type[Node], value: str | None, implicit: object) -> str:
        """The tag of a node."""
        self._pause()
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return tag


def scalar(node: Node) -> str | None:
    """The text of a scalar, as it is written; None for anything else."""
    return node.value if isinstance(node, yaml.ScalarNode) else None


def is_quoted(node: Node) -> bool:
    """Whether a scalar stands in quotes or in a block, so that it can only be text."""
    return isinstance(node, yaml.ScalarNode) and bool(node.style)


def pairs(node: Node) -> list[tuple[Node, Node]]:
    """Keys and values of a mapping; empty for anything else."""
    return node.value if isinstance(node, yaml.MappingNode) else []


def items(node: Node) -> list[Node]:
    """The items of a list; empty for anything else."""
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _children(node: Node) -> Iterator[Node]:
    for key, value in pairs(node):
        yield key
        yield value
    yield from items(node)


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        entries = items(node)
        return entries[step] if step < len(entries) else None
    return next((value for key, value in pairs(node) if scalar(key) == step), None)


def _one_escape(match: re.Match[str]) -> str:
    r"""`\ud83d\ude00` as `\U0001f600`: YAML knows no surrogates."""
    high, low = int(match[1], 16), int(match[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
