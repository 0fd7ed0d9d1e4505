"""From YAML nodes to the types of the schema. Every problem is collected; none is raised.

A wrong part gets a placeholder, so that the rest can be read too. A file with problems is never used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

import yaml
from msgspec import Struct, inspect

from proxy.matching.pauses import Pause, no_pause
from proxy.policy.document import PLAIN, STR, Document, KeyPath, Node, Problem, is_quoted, items, pairs, scalar
from proxy.policy.schema import DATE, DIGEST, SOURCES, PolicyFile

_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_REAL_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,2})?")
MAX_DIGITS = 18  # of a number, its sign included
MAX_REASON = 160  # characters of what a schema says is wrong
_ANY = inspect.AnyType()
_NAME_HINT = "letters, digits, `_`, `.` and `-`, at most 64, starting with a letter or digit"
_PATTERN_HINTS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$": _NAME_HINT,
    "^[A-Z]{2}$": "write two capital letters",
    DATE: "write it as 2026-11-30",
    DIGEST: "write 12 to 64 of its hexadecimal digits, as `ollama list` shows them",
}
_TIMESTAMP = f"{PLAIN}timestamp"
_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
_READ_AS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}


class ParsedPolicy(NamedTuple):
    """A policy as far as it could be read.

    incomplete_rules: indexes of the rules for which it is not known what they look for; they are not read any further
    faulty_rules:     indexes of those in which anything is wrong; their examples would tell nothing
    """

    policy: PolicyFile
    problems: list[Problem]
    incomplete_rules: set[int]
    faulty_rules: set[int]


def read_policy(document: Document, pause: Pause = no_pause) -> ParsedPolicy:
    """The policy in a document, and what is wrong in it. `pause` is called for every value."""
    reader = _Reader(document, pause)
    policy = reader.read(document.root, _POLICY_FILE, ())
    return ParsedPolicy(policy, reader.problems, reader.incomplete_rules, reader.faulty_rules)


def read_struct(document: Document, schema: type[Struct]) -> tuple[Any, list[Problem]]:
    """A whole document of another schema, and what is wrong in it. With problems it is never used."""
    reader = _Reader(document, no_pause)
    return reader.read(document.root, inspect.type_info(schema), ()), reader.problems


def read_options(
    document: Document, path: KeyPath, schema: type[Struct], pause: Pause = no_pause
) -> tuple[Any, list[Problem]]:
    """The options of a check at a path in a document, as its schema says, and what is wrong in them.

    Where the document has no options, those that have to be given are missing at the place of `check`.
    """
    reader = _Reader(document, pause)
    node = document.at(path)
    if document.has(path) and not isinstance(node, yaml.MappingNode):
        return None, []  # noted where the rule was read
    if not document.has(path):
        at = document.at((*path[:-1], "check"))
        node = yaml.MappingNode(f"{PLAIN}map", [], at.start_mark, at.end_mark)
    return reader.read(node, inspect.type_info(schema), path), reader.problems


def read_as(document: Document, schema: type[Struct], pause: Pause = no_pause) -> tuple[Any, list[Problem]]:
    """A whole document as its schema says, and what is wrong in it. It is whole only when nothing is."""
    reader = _Reader(document, pause)
    return reader.read(document.root, inspect.type_info(schema), ()), reader.problems


class _Reader:
    def __init__(self, document: Document, pause: Pause) -> None:
        self._document = document
        self._pause = pause
        self.problems: list[Problem] = []
        self.incomplete_rules: set[int] = set()
        self.faulty_rules: set[int] = set()

    def read(self, node: Node, kind: inspect.Type, path: KeyPath) -> Any:
        """The node's value as `kind`, or a placeholder."""
        self._pause()
        kind = _bare(kind)
        if isinstance(kind, inspect.UnionType):
            kind = _fitting(kind, node)
        if node.tag.removeprefix(PLAIN) not in _TAGS:
            return self._wrong(node, path, kind, f"the tag {node.tag} is not used here", "remove it")
        match kind:
            case inspect.StructType():
                return self._struct(node, kind, path)
            case inspect.VarTupleType():
                return self._list(node, kind, path)
            case inspect.DictType():
                return self._dict(node, kind, path)
            case inspect.StrType():
                return self._text(node, kind, path)
            case inspect.IntType():
                return self._number(node, kind, path)
            case inspect.FloatType():
                return self._real(node, kind, path)
            case inspect.BoolType():
                return self._bool(node, kind, path)
            case inspect.AnyType():
                return self._plain(node, path)
        return self._choice(node, kind, path)

    def _wrong(self, node: Node, path: KeyPath, kind: inspect.Type, message: str, hint: str = "") -> Any:
        self._note(node, path, message, hint)
        return _placeholder(kind)

    def _note(self, node: Node, path: KeyPath, message: str, hint: str) -> None:
        self.problems.append(self._document.problem(node, message, hint, path))
        if path[:1] == ("rules",) and len(path) > 1:
            self.faulty_rules.add(int(path[1]))
            if not self._source_is_known(path):
                self.incomplete_rules.add(int(path[1]))

    def _source_is_known(self, path: KeyPath) -> bool:
        """Whether it is known what a rule looks for although something is wrong at a path in it."""
        if len(path) > 2:
            return path[2] not in SOURCES
        return any(self._document.has((*path, source)) for source in SOURCES)

    def _struct(self, node: Node, kind: inspect.StructType, path: KeyPath) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return self._wrong(node, path, kind, f"{_last(path)} has to be a mapping with keys", _keys_hint(kind))
        fields = {field.encode_name: field for field in kind.fields}
        given = dict(self._fields(node, fields, path))
        missing = [name for name, field in fields.items() if field.required and not self._document_has(node, name)]
        for name in missing:
            hint = f"add {name}: {expected(fields[name].type)}"
            self._note(node, path, f"the key `{name}` is missing", hint)
        placeholders = {name: _placeholder(field.type) for name, field in fields.items() if field.required}
        values = {fields[name].name: value for name, value in {**placeholders, **given}.items()}
        try:
            return kind.cls(**values)
        except Exception as error:  # of a schema that looks at more than types
            self._note(node, path, f"{_last(path)} cannot be used: {str(error)[:MAX_REASON]}", "change it")
            return None

    def _fields(self, node: Node, fields: dict[str, inspect.Field], path: KeyPath) -> Iterable[tuple[str, Any]]:
        for key, value in self._unique(node, path):
            name = scalar(key) or ""
            if name in fields:
                yield name, self.read(value, fields[name].type, (*path, name))
                continue
            hint = f"did you mean `{near[0]}`?" if (near := get_close_matches(name, fields, 1)) else ""
            hint = hint or f"known here: {', '.join(fields)}"
            self._note(key, path, f"unknown key `{name}`", hint)

    def _unique(self, node: Node, path: KeyPath) -> Iterable[tuple[Node, Node]]:
        lines: dict[str, int] = {}
        for key, value in pairs(node):
            name = scalar(key)
            if name is None:
                self._note(key, path, "a key has to be one word", "write `key: value`")
            elif name in lines:
                message = f"`{name}` is given a second time here (first on line {lines[name]})"
                self._note(key, path, message, "keep one of the two")
            else:
                lines[name] = key.start_mark.line + 1
                yield key, value

    @staticmethod
    def _document_has(node: Node, name: str) -> bool:
        return any(scalar(key) == name for key, _ in pairs(node))

    def _list(self, node: Node, kind: inspect.VarTupleType, path: KeyPath) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self._wrong(node, path, kind, f"{_last(path)} has to be a list", "write it as [one, two]")
        if len(items(node)) < (kind.min_length or 0):
            return self._wrong(node, path, kind, f"{_last(path)} is an empty list", "fill it or leave the key out")
        return tuple(self.read(item, kind.item_type, (*path, i)) for i, item in enumerate(items(node)))

    def _dict(self, node: Node, kind: inspect.DictType, path: KeyPath) -> Any:
        if not isinstance(node, yaml.MappingNode):
            hint = "write it as {text: result}" if path[-1] == "becomes" else "write it as {name: value}"
            return self._wrong(node, path, kind, f"{_last(path)} has to be a mapping", hint)
        read = self.read
        return {
            read(key, kind.key_type, path): read(value, kind.value_type, path)
            for key, value in self._unique(node, path)
        }

    def _text(self, node: Node, kind: inspect.StrType, path: KeyPath) -> Any:
        text = scalar(node)
        if text is None:
            return self._wrong(node, path, kind, f"{_last(path)} has to be text", "")
        if node.tag != STR and not (kind.pattern == DATE and node.tag == _TIMESTAMP):
            read_as = _READ_AS.get(node.tag.removeprefix(PLAIN), "something else")
            if not text:
                return self._wrong(node, path, kind, f"{_last(path)} is empty", "write text, or leave the key out")
            hint = f"quote it: '{text}'"
            return self._wrong(node, path, kind, f"text is expected, but YAML reads {text} as {read_as}", hint)
        return self._measured(node, kind, path, text)

    def _measured(self, node: Node, kind: inspect.StrType, path: KeyPath, text: str) -> Any:
        if kind.pattern and not re.search(kind.pattern, text):
            hint = _PATTERN_HINTS.get(kind.pattern, f"it has to fit the pattern {kind.pattern}")
            return self._wrong(node, path, kind, f"{_quoted(text)} cannot be {_last(path)}", hint)
        least = kind.min_length or 0
        if not text and least:
            return self._wrong(node, path, kind, f"{_last(path)} is empty", "write text, or leave it out")
        if len(text) < least:
            return self._wrong(node, path, kind, f"{_last(path)} is too short", f"{least} characters at least")
        if kind.max_length is not None and len(text) > kind.max_length:
            message = f"{_last(path)} has {len(text)} characters, {kind.max_length} at most are possible"
            return self._wrong(node, path, kind, message, "shorten it")
        return text

    def _number(self, node: Node, kind: inspect.IntType, path: KeyPath) -> Any:
        text = scalar(node)
        if text is None or is_quoted(node) or not _is_whole_number(text):
            return self._wrong(node, path, kind, f"{_last(path)} has to be {expected(kind)}", "digits, without quotes")
        return self._in_range(node, kind, path, int(text))

    def _real(self, node: Node, kind: inspect.FloatType, path: KeyPath) -> Any:
        text = scalar(node)
        if text is None or is_quoted(node) or not _REAL_NUMBER.fullmatch(text):
            return self._wrong(node, path, kind, f"{_last(path)} has to be {expected(kind)}", "such as 0.5, no quotes")
        return self._in_range(node, kind, path, float(text))

    def _in_range(self, node: Node, kind: inspect.IntType | inspect.FloatType, path: KeyPath, value: float) -> Any:
        too_low = (kind.ge is not None and value < kind.ge) or (kind.gt is not None and value <= kind.gt)
        too_high = (kind.le is not None and value > kind.le) or (kind.lt is not None and value >= kind.lt)
        if too_low or too_high:
            return self._wrong(node, path, kind, f"{value} is out of range", f"{_last(path)} is {expected(kind)}")
        return value

    def _plain(self, node: Node, path: KeyPath) -> Any:
        """The node as it is written: a check's schema says later what it means."""
        if isinstance(node, yaml.MappingNode):
            return {scalar(key): self.read(value, _ANY, (*path, str(scalar(key)))) for key, value in pairs(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, _ANY, (*path, i)) for i, item in enumerate(items(node))]
        return scalar(node) if node.tag == STR else f"!{node.tag.removeprefix(PLAIN)} {scalar(node)}"

    def _bool(self, node: Node, kind: inspect.BoolType, path: KeyPath) -> Any:
        text = scalar(node)
        if is_quoted(node) or text not in ("true", "false"):
            return self._wrong(node, path, kind, f"{_last(path)} has to be true or false", "without quotes")
        return text == "true"

    def _choice(self, node: Node, kind: inspect.Type, path: KeyPath) -> Any:
        text = scalar(node)
        for value in _choices(kind):
            if isinstance(value, str) == (node.tag == STR) and text == str(value):
                return value
        if isinstance(text, str) and (near := get_close_matches(text, map(str, _choices(kind)), 1)):
            hint = f"did you mean `{near[0]}`?" if near[0] != text else f"write it as {expected(kind)}"
        else:
            hint = f"possible: {', '.join(map(str, _choices(kind)))}"
        written = _quoted(text) if text is not None else "a list or a mapping"
        return self._wrong(node, path, kind, f"{written} cannot be {_last(path)}", hint)


def expected(kind: inspect.Type) -> str:
    """What may be written for a value of this type, for people."""
    kind = _bare(kind)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return ("a whole number" if isinstance(kind, inspect.IntType) else "a number") + _range(kind)
    if isinstance(kind, inspect.LiteralType | inspect.EnumType):
        return " or ".join(str(value) for value in _choices(kind))
    return "NAME" if isinstance(kind, inspect.StrType) else "..."


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    bounds = {"at least": kind.ge, "over": kind.gt, "at most": kind.le, "under": kind.lt}
    told = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    return f" of {told}" if told else ""


def _is_whole_number(text: str) -> bool:
    return _WHOLE_NUMBER.fullmatch(text) is not None and len(text) <= MAX_DIGITS


def _choices(kind: inspect.Type) -> list[Any]:
    if isinstance(kind, inspect.EnumType):
        return list(kind.cls)
    assert isinstance(kind, inspect.LiteralType)
    return list(kind.values)


def _bare(kind: inspect.Type) -> inspect.Type:
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _fitting(kind: inspect.UnionType, node: Node) -> inspect.Type:
    """The member of a union that a node is meant for: a mapping is a struct, everything else the other one."""
    members = [_bare(member) for member in kind.types]
    wanted = isinstance(node, yaml.MappingNode)
    return next(member for member in members if isinstance(member, inspect.StructType) == wanted)


def _placeholder(kind: inspect.Type) -> Any:
    """A value of the type, used where the file has no valid one."""
    kind = _bare(kind)
    if isinstance(kind, inspect.StructType):
        return kind.cls(**{f.encode_name: _placeholder(f.type) for f in kind.fields if f.required})
    if isinstance(kind, inspect.LiteralType | inspect.EnumType):
        return _choices(kind)[0]
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return kind.ge or 0
    return {inspect.VarTupleType: (), inspect.DictType: {}, inspect.BoolType: False}.get(type(kind), "")


def _keys_hint(kind: inspect.StructType) -> str:
    return f"its keys: {', '.join(field.encode_name for field in kind.fields)}"


def _last(path: KeyPath) -> str:
    """How an error calls the value at a path."""
    if not path:
        return "the file"
    if isinstance(path[-1], str):
        return f"`{path[-1]}`"
    return "a rule" if path[:-1] == ("rules",) else f"an entry of `{path[-2]}`"


def _quoted(text: str) -> str:
    return f"`{text}`" if len(text) <= 64 else f"`{text[:60]}...`"


_POLICY_FILE = inspect.type_info(PolicyFile)
