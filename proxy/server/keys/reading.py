"""keys.yaml, read as strictly as a policy: each problem has its file, line, column, reason and fix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Annotated, Literal

from msgspec import Meta, Struct

from proxy.errors import KeysError
from proxy.policy.document import Document, Problem, Source, Unreadable, lines_of
from proxy.policy.names import model_globs
from proxy.policy.reader import read_struct
from proxy.policy.schema import Name, Text
from proxy.server.keys.key import Key, KeyLimits, Keys

MOST_KEYS = 1_000  # each request is compared with all of them
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class LimitsSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the key may use; what is left out has no limit of its own."""

    streams: Count = 0
    requests_per_minute: Count = 0
    tokens_per_minute: Count = 0
    max_body: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 0


class KeySpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One key."""

    name: Name
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    policies: Annotated[tuple[Name, ...], Meta(min_length=1)] = ()
    models: Annotated[tuple[Text, ...], Meta(min_length=1)] = ()
    admin: bool = False
    scrape: bool = False
    expires: Annotated[str, Meta(min_length=1)] = ""
    limits: LimitsSpec = LimitsSpec()


class KeysFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1]
    keys: Annotated[tuple[KeySpec, ...], Meta(min_length=1)]


class KeysDocument(Document):
    """A file of keys; its messages call it so."""

    noun = "file of keys"
    begins = "start with `version: 1` and `keys:`"
    entries = ("keys", "key", "name")


def read_keys(source: Source) -> Keys:
    """The keys in a file. Raises KeysError with a line for each problem."""
    try:
        document = KeysDocument(source)
    except Unreadable as error:
        raise KeysError([str(error.problem)]) from None
    file, problems = read_struct(document, KeysFile)
    if not problems:
        problems = list(_problems(document, file))
    if problems:
        raise KeysError(lines_of(problems))
    return Keys(tuple(_key(spec) for spec in file.keys), sha256(source.data).hexdigest())


def _problems(document: KeysDocument, file: KeysFile) -> Iterator[Problem]:
    """What is wrong beyond the types."""
    if len(file.keys) > MOST_KEYS:
        message = f"{len(file.keys)} keys, {MOST_KEYS} at most are possible"
        yield document.problem(document.at(("keys",)), message, "one key for a group of clients will do")
    names: dict[str, int] = {}
    digests: dict[str, int] = {}
    for index, spec in enumerate(file.keys):
        for key, known in (("name", names), ("sha256", digests)):
            value = getattr(spec, key)
            line = document.at(("keys", index, key)).start_mark.line + 1
            if value in known:
                message = f"the same `{key}` as on line {known[value]}"
                yield _at(document, index, key, message, "each key has its own" if key == "name" else "make a new key")
            known.setdefault(value, line)
        yield from _problems_of(document, index, spec)


def _problems_of(document: KeysDocument, index: int, spec: KeySpec) -> Iterator[Problem]:
    if spec.expires:
        try:
            expiry(spec.expires)
        except ValueError as error:
            hint = "write a date ('2027-01-31', its end in UTC) or a time with its zone ('2027-01-31T12:00:00Z')"
            yield _at(document, index, "expires", str(error), hint)
    more = [name for name in ("admin", "policies", "models") if getattr(spec, name)]
    if spec.limits != LimitsSpec():
        more.append("limits")
    if spec.scrape and more:
        message = f"`{more[0]}` beside `scrape`: a key for scraping opens /metrics and nothing else"
        yield _at(document, index, more[0], message, "make two keys")


def _at(document: KeysDocument, index: int, key: str, message: str, hint: str) -> Problem:
    path = ("keys", index, key)
    return document.problem(document.at(path), message, hint, path)


def expiry(text: str) -> float:
    """Seconds since 1970 at which a key is no longer valid. Raises ValueError for what is no time."""
    try:
        if DATE.fullmatch(text):
            after = date.fromisoformat(text) + timedelta(days=1)
            return datetime.combine(after, time(), UTC).timestamp()
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"`{text[:40]}` is no time") from None
    if moment.tzinfo is None:
        raise ValueError(f"`{text[:40]}` has no zone")
    return moment.timestamp()


def _key(spec: KeySpec) -> Key:
    limits = spec.limits
    return Key(
        spec.name,
        bytes.fromhex(spec.sha256),
        spec.policies,
        model_globs(spec.models) if spec.models else None,
        spec.admin,
        spec.scrape,
        expiry(spec.expires) if spec.expires else None,
        KeyLimits(limits.streams, limits.requests_per_minute, limits.tokens_per_minute, limits.max_body),
    )
