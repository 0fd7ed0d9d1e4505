"""The file of an audit: JSON lines. The first one has the prompts, the sides and the options; then one for each reply.

A line is written as soon as its reply is there, so an audit that was interrupted has lost nothing. Of a line that was
cut short by a crash only the audit's last reply can be one; it is left out and asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from proxy.audit.plan import Options, Side
from proxy.audit.prompts import Prompt
from proxy.audit.replies import Reply, reply_of
from proxy.errors import SettingsError

FORMAT = 1


class Audit(NamedTuple):
    """An audit, as far as it has come.

    id:    random; corrections name it
    began: the time, ISO 8601 in UTC
    """

    id: str
    began: str
    version: str
    prompts: tuple[Prompt, ...]
    sides: tuple[Side, ...]
    options: Options
    replies: tuple[Reply, ...] = ()

    @property
    def by_id(self) -> dict[str, Prompt]:
        """The prompts by their ids."""
        return {prompt.id: prompt for prompt in self.prompts}

    @property
    def total(self) -> int:
        """How many replies there are once it is complete."""
        return len(self.prompts) * len(self.sides) * self.options.repeats

    @property
    def is_complete(self) -> bool:
        """Nothing is left to ask."""
        return len(self.replies) >= self.total


def read_audit(path: Path) -> Audit:
    """Read a file. Raises SettingsError with the line that is wrong."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"the results {path} cannot be read: {error.strerror}") from None
    whole = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
    if not whole:
        raise SettingsError(f"{path} has no results of an audit; name the file results.jsonl of one")
    audit = _begun(_object(whole[0], path, 1), path)
    return audit._replace(replies=tuple(_replies(whole[1:], audit, path)))


def _replies(lines: Sequence[bytes], audit: Audit, path: Path) -> list[Reply]:
    prompts, sides, known = audit.by_id, {side.name for side in audit.sides}, dict[tuple[str, str, int], Reply]()
    for number, line in enumerate(lines, 2):
        try:
            reply = reply_of(_object(line, path, number))
        except ValueError as error:
            raise SettingsError(f"{path}:{number}: this is no reply: {error}; delete the line and --resume") from None
        if reply.prompt not in prompts or reply.side not in sides:
            raise SettingsError(f"{path}:{number}: the first line names no such prompt or side; delete this line")
        known[reply.key] = reply
    return list(known.values())


def _begun(head: Mapping[str, Any], path: Path) -> Audit:
    if head.get("safety_proxy_audit") != FORMAT:
        raise SettingsError(f"{path}:1: this is no audit, or one of another version of safety-proxy")
    try:
        return Audit(
            id=str(head["id"]),
            began=str(head["began"]),
            version=str(head["version"]),
            prompts=tuple(Prompt(*row) for row in head["prompts"]),
            sides=tuple(Side(**side) for side in head["sides"]),
            options=Options(**head["options"]),
        )
    except (LookupError, TypeError) as error:
        raise SettingsError(f"{path}:1: the beginning of the audit cannot be read: {error!r}; start anew") from None


def _object(line: bytes, path: Path, number: int) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SettingsError(f"{path}:{number}: this is not one JSON object; delete the line and --resume")
    return value


def head_line(audit: Audit) -> str:
    """The first line."""
    head = {"safety_proxy_audit": FORMAT, "id": audit.id, "began": audit.began, "version": audit.version}
    sides = [side._asdict() for side in audit.sides]
    return json.dumps({**head, "options": audit.options._asdict(), "sides": sides, "prompts": audit.prompts})


class ResultsFile:
    """The file while an audit runs. A context manager."""

    def __init__(self, path: Path, audit: Audit) -> None:
        """`audit`: with replies, if it goes on."""
        self._path = path
        self._audit = audit
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Begin the file, or cut off a last line that is not whole. Raises SettingsError if it cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                self._file = self._path.open("r+b")
                self._file.truncate(self._path.read_bytes().rfind(b"\n") + 1)
                self._file.seek(0, os.SEEK_END)
            else:
                self._file = self._path.open("xb")
                self._write(head_line(self._audit))
        except OSError as error:
            raise SettingsError(f"the results {self._path} cannot be written: {error.strerror}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, reply: Reply) -> None:
        """Keep a reply."""
        self._write(reply.line())

    def _write(self, line: str) -> None:
        assert self._file is not None
        self._file.write(line.encode() + b"\n")
        self._file.flush()


def differences(before: Audit, now: Audit) -> list[str]:
    """Why an audit cannot go on as another one; [] if it can."""
    told = []
    if before.prompts != now.prompts:
        told.append("the prompts are others")
    if before.options != now.options:
        changed = [name for name, value in before.options._asdict().items() if getattr(now.options, name) != value]
        told.append(f"{', '.join(changed)} had other values")
    if [side.name for side in before.sides] != [side.name for side in now.sides]:
        told.append(f"it was of {'; '.join(side.name for side in before.sides)}")
        return told
    for one, other in zip(before.sides, now.sides, strict=True):
        if one.digest != other.digest:
            told.append(f"the model {one.model} is another build")
        if one.policies != other.policies:
            told.append(f"the policies of `{one.name}` are others")
        if one.format != other.format:
            told.append(f"`{one.name}` was asked as {one.format}")
    return told
