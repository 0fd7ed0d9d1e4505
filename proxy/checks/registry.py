"""All kinds of checks that policies can name: those that come with the proxy, and those of plug-ins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import Struct, inspect

from proxy import __version__
from proxy.checks.built_in import KINDS, Fold
from proxy.checks.detectors.catalogue import DETECTORS, detector_pass
from proxy.checks.detectors.detector import Detector, Validation, dropped, fixed, found
from proxy.checks.detectors.scan import DetectorPass, FoldedPass
from proxy.checks.failures import CHECKS
from proxy.checks.guards.format import Format
from proxy.checks.guards.judge import judge_kind
from proxy.checks.http_check import HTTP
from proxy.checks.kinds import NAME, CheckKind, DetectorKind
from proxy.checks.markers import MARKER_DETECTORS
from proxy.checks.plugin_pass import Budget, PluginRule
from proxy.checks.system_prompt import SYSTEM_PROMPT_LEAK
from proxy.checks.topics.rule import TOPIC_KIND
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.matching.errors import PatternError

BUILT_IN = "built in"
ASKING = (HTTP, TOPIC_KIND)
"""The kinds of the proxy that ask somebody, less `judge`, which depends on the formats of guards."""
DETECTOR_NAMES = (*DETECTORS, *MARKER_DETECTORS, SYSTEM_PROMPT_LEAK.name)
"""Of those that come with the proxy."""
TAKEN = (*DETECTOR_NAMES, *CHECKS)
"""Names that no plug-in can have: metrics name the proxy's own checks so."""


class Plugin(NamedTuple):
    """A kind that does not come with the proxy.

    origin:  where from: a package with its version, or a file
    version: its own, or that of its package; "" when nobody has given one
    """

    kind: CheckKind | DetectorKind
    origin: str
    version: str = ""


class Entry(NamedTuple):
    """A kind in the registry. `what`: the key of a rule that names it, `check` or `detector`."""

    kind: CheckKind
    what: str
    origin: str
    version: str


class RegistryError(Exception):
    """A plug-in cannot be registered: a sentence with the reason and the fix, to which the caller adds the place."""


@dataclass(frozen=True)
class Registry:
    """All kinds. Immutable.

    entries: by name
    budget:  the time that a plug-in's check may take
    formats: in which guards are asked, by name
    worker:  the command that starts a process with the same kinds, for those that want one of their own
    """

    entries: Mapping[str, Entry]
    budget: Budget = field(default_factory=Budget)
    formats: Mapping[str, Format] = field(default_factory=dict)
    worker: tuple[str, ...] = ()

    def get(self, name: str) -> CheckKind | None:
        """The kind of this name."""
        entry = self.entries.get(name)
        return None if entry is None else entry.kind

    def __getitem__(self, name: str) -> CheckKind:
        return self.entries[name].kind

    @property
    def plugins(self) -> tuple[Entry, ...]:
        """Those that do not come with the proxy."""
        return tuple(entry for entry in self.entries.values() if entry.origin != BUILT_IN)

    def names(self, what: str) -> list[str]:
        """The names that a rule may give as its `check`, or as its `detector`."""
        if what == "check":
            return [name for name, entry in self.entries.items() if entry.kind.in_rules]
        own = [entry.kind.name for entry in self.plugins if entry.what == "detector"]
        return [*DETECTOR_NAMES, *own]

    def is_plugin(self, name: str) -> bool:
        """Whether a kind came with a plug-in."""
        return self.entries[name].origin != BUILT_IN

    def plugin_rule(self, name: str, rule: Rule, made: object, fails_open: bool) -> PluginRule:
        """What a plug-in has made, as a pass of the matcher that is watched. Raises ValueError when it is no check."""
        if not (callable(getattr(made, "open", None)) and hasattr(made, "hold")):
            raise ValueError(f"it makes {type(made).__name__}, which is no check: it needs `hold` and `open`")
        check: Any = made
        hold = check.hold
        if hold is not None and (not isinstance(hold, int) or hold < 0):
            raise ValueError("its `hold` has to be a number of characters, or None")
        return PluginRule(rule, name, check, hold, self.budget, fails_open)


def make_registry(
    plugins: Iterable[Plugin] = (), budget: Budget | None = None, formats: Mapping[str, Format] | None = None
) -> Registry:
    """The kinds of the proxy and those of plug-ins. Raises RegistryError for the first that cannot be taken."""
    entries = {
        kind.name: Entry(kind, "check", BUILT_IN, __version__) for kind in (*KINDS, *ASKING, judge_kind(formats or {}))
    }
    for plugin in plugins:
        kind, name = plugin.kind, plugin.kind.name
        for fault in _faults(plugin):
            raise RegistryError(fault)
        if name in entries or name in TAKEN:
            owner = entries[name].origin if name in entries else BUILT_IN
            raise RegistryError(f"the name `{name}` is taken ({owner}); rename the kind, or remove one of the two")
        what = "check" if isinstance(kind, CheckKind) else "detector"
        check = kind if isinstance(kind, CheckKind) else _check_of(kind)
        entries[name] = Entry(check, what, plugin.origin, plugin.version or kind.version)
    return Registry(entries, budget or Budget(), formats or {})


def _faults(plugin: Plugin) -> Iterator[str]:
    kind = plugin.kind
    if not isinstance(kind.name, str) or not NAME.fullmatch(kind.name):
        yield f"{kind.name!r} cannot be a kind's name: write small letters, digits, `_` and `-`, at most 64"
        return
    if not isinstance(kind.about, str) or not kind.about.strip() or "\n" in kind.about:
        yield f"`{kind.name}` needs an `about`: one line that says what it does"
    if isinstance(kind, CheckKind):
        yield from _option_faults(kind)
        yield from _isolation_faults(kind)
    else:
        yield from _detector_faults(kind)


class _FoldOption(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a plug-in's detector."""

    fold: Fold = False


def _check_of(kind: DetectorKind) -> CheckKind:
    """A plug-in's detector as a check: what takes its pattern and its validator is what takes those of the proxy."""
    detector = _detector_of(kind)

    def make(rule: Rule, options: _FoldOption) -> DetectorPass | FoldedPass:
        return detector_pass(detector, rule, fold=options.fold)

    return CheckKind(kind.name, kind.about, make, _FoldOption, kind.version)


def _detector_of(kind: DetectorKind) -> Detector:
    validate = kind.validate

    def counts(match: re.Match[str]) -> Validation:
        if validate is None or validate(match[0]):
            return found(*match.span())
        return dropped("the validator refuses it")

    return Detector(kind.name, kind.about, fixed(kind.pattern, counts), kind.hits, kind.misses)


def _detector_faults(kind: DetectorKind) -> Iterator[str]:
    """What is wrong with its pattern, and where it does not do what its examples say."""
    rule = Rule("plugin", kind.name, Action.REWRITE)
    if not kind.hits or not kind.misses:
        yield f"the detector `{kind.name}` needs examples: at least one of `hits` and one of `misses`"
        return
    try:
        check = detector_pass(_detector_of(kind), rule)
    except PatternError as error:
        yield f"the pattern of the detector `{kind.name}` cannot be used: {error}"
        return
    for text, wanted in [*((hit, True) for hit in kind.hits), *((miss, False) for miss in kind.misses)]:
        gate = Gate([check])
        try:
            gate.feed(text, final=True)
        except (Exception, SystemExit) as error:
            yield f"the detector `{kind.name}` raises {type(error).__name__} at its own example {text!r}: fix it"
            return
        if bool(gate.findings) is not wanted:
            does = "finds nothing in" if wanted else "finds something in"
            yield f"the detector `{kind.name}` {does} its own example {text!r}: fix the pattern or the example"


_SIMPLE = (inspect.StrType, inspect.IntType, inspect.FloatType, inspect.BoolType, inspect.LiteralType, inspect.EnumType)


def _isolation_faults(kind: CheckKind) -> Iterator[str]:
    if kind.isolation not in ("", "process"):
        yield f"`{kind.name}` has the isolation {kind.isolation!r}: write `process`, or leave it out"
    if kind.reads not in ("sentence", "whole") and not (type(kind.reads) is int and kind.reads > 0):
        yield f"`{kind.name}` reads {kind.reads!r}: write `sentence`, `whole`, or a number of characters"
    if not isinstance(kind.deadline, int | float) or not 0 < kind.deadline <= 600:
        yield f"`{kind.name}` has the deadline {kind.deadline!r}: write seconds, up to 600"


def _option_faults(kind: CheckKind) -> Iterator[str]:
    options: Any = kind.options
    make: Any = kind.make
    if not isinstance(options, type) or not issubclass(options, Struct):
        yield f"the options of `{kind.name}` are no msgspec Struct: write a class for them, or leave `options` out"
        return
    if not callable(make):
        yield f"`make` of `{kind.name}` cannot be called: give a function of a rule and the options"
        return
    try:
        described = inspect.type_info(options)
    except Exception as error:
        yield f"the options of `{kind.name}` cannot be read ({error}): fix their types"
        return
    assert isinstance(described, inspect.StructType)
    for option in described.fields:
        if not _can_be_written(option.type):
            known = "str, int, float, bool, Literal, an enum, a tuple, a dict, another Struct"
            yield f"the option `{option.encode_name}` of `{kind.name}` has a type that no policy can give; take {known}"


def _can_be_written(kind: Any) -> bool:
    """Whether a value of the type can be read from a policy file."""
    if isinstance(kind, inspect.Metadata):
        return _can_be_written(kind.type)
    if isinstance(kind, inspect.StructType):
        return all(_can_be_written(field.type) for field in kind.fields)
    if isinstance(kind, inspect.VarTupleType):
        return _can_be_written(kind.item_type)
    if isinstance(kind, inspect.DictType):
        return isinstance(_bare(kind.key_type), inspect.StrType) and _can_be_written(kind.value_type)
    return isinstance(kind, _SIMPLE)


def _bare(kind: Any) -> Any:
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


BUILT_IN_ONLY = make_registry()
"""The registry of a proxy without plug-ins."""
