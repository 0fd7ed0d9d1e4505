"""What a rule's check can be: a kind has a name, a schema of its options, and a function that makes the check of them.

`words`, `pattern` and `detector` are kinds (see built_in.py), and what a plug-in brings is one too. A policy names them
in one way, they stand in one registry, and `safety-proxy checks` lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from proxy.checks.asking import AskingRule
from proxy.checks.limits import Limit
from proxy.checks.passes import OwnPass
from proxy.core.check import Check
from proxy.core.types import Rule
from proxy.matching.rules import MatchRule

Search = MatchRule | OwnPass | AskingRule | Limit | Check
"""What a kind makes: a rule of the matcher, a pass of it, a rule that asks, or a check of any sort."""

NAME = re.compile(r"[a-z][a-z0-9_\-]{0,63}", re.ASCII)
BUILT_IN = "built in"


class Remark(NamedTuple):
    """Something about options that no schema can tell.

    path:    of the option, in the options: `("only", 1)`
    message: what is wrong, or may surprise
    hint:    what to do
    is_hint: nothing is wrong, and the policy can be loaded
    """

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    is_hint: bool = False


class OptionError(ValueError):
    """Raised by a kind's `make` for options that fit the schema and cannot be used all the same.

    option: its name; "" for the options as a whole
    """

    def __init__(self, message: str, hint: str = "", option: str = "") -> None:
        super().__init__(message)
        self.remark = Remark((option,) if option else (), message, hint)


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a kind that has none."""


@dataclass(frozen=True, slots=True)
class CheckKind:
    """A kind of check, as a policy names it: `check: NAME`.

    about:    what it does, one line
    make:     from a rule and options that fit the schema; pure. What it makes for a plug-in is a Check whose findings
              have this rule. It points at what it finds and knows no action: the proxy flags, rewrites or blocks.
              Raises OptionError
    options:  the schema: a frozen msgspec Struct
    version:  of the plug-in; "": of its package
    remarks:  yields what the schema cannot tell of options, and None where others may run
    in_rules: False: it is not for rules (limits, which a policy has of its own)
    isolation: `process`: what it makes may take long, so it is made and runs in a process of its own, which is asked
              about each segment; "": it runs in the proxy
    reads:    with isolation, what it is asked about at a time: `sentence`, `whole`, or a number of characters
    deadline: with isolation, seconds for an answer; then its process is killed
    """

    name: str
    about: str
    make: Callable[[Rule, Any], Search]
    options: type[Struct] = NoOptions
    version: str = ""
    remarks: Callable[[Any], Iterator[Remark | None]] | None = None
    in_rules: bool = True
    isolation: Literal["", "process"] = ""
    reads: Literal["sentence", "whole"] | int = "sentence"
    deadline: float = 2.0


@dataclass(frozen=True, slots=True)
class DetectorKind:
    """A detector of a plug-in, as a policy names it: `detector: NAME`.

    about:    what it finds, one line
    pattern:  of a candidate, in the syntax of a rule's `pattern`, with a longest match
    hits, misses: texts in which it finds something, or nothing; they are tried when it is registered
    validate: whether a candidate counts
    version:  of the plug-in; "": of its package
    """

    name: str
    about: str
    pattern: str
    hits: tuple[str, ...]
    misses: tuple[str, ...]
    validate: Callable[[str], bool] | None = None
    version: str = ""


class Plugin(NamedTuple):
    """A kind that does not come with the proxy.

    origin: where from: a package, or a file
    """

    kind: CheckKind | DetectorKind
    origin: str
    version: str

    @property
    def what(self) -> str:
        """`check` or `detector`: the key of a rule that names it."""
        return "check" if isinstance(self.kind, CheckKind) else "detector"
