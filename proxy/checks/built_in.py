"""The kinds of checks that come with the proxy, with their options.

A rule may write them short: `words: [...]` is `check: words` with the option `words`, and so on. So the keys of a rule
and these options have the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Annotated, Literal

from msgspec import Meta, Struct

from proxy.checks.characters.kind import CHARACTERS
from proxy.checks.detectors.catalogue import DETECTORS, detector_pass
from proxy.checks.detectors.detector import Detector, Options
from proxy.checks.detectors.scan import DetectorPass, FoldedPass
from proxy.checks.kinds import CheckKind, OptionError, Remark
from proxy.checks.limits import LengthLimit, RepetitionLimit
from proxy.checks.markers import BREAK, MarkerKind, MarkerPass
from proxy.checks.refusals.language import RefusalKind
from proxy.checks.refusals.rule import REFUSING, RefusalPass
from proxy.checks.system_prompt import SYSTEM_PROMPT_LEAK, SystemPromptPass
from proxy.core.types import Action, Replacement, Rule
from proxy.matching.rules import MAX_HOLD, MatchRule, Overflow

Text = Annotated[str, Meta(min_length=1, max_length=100_000)]
Fold = Annotated[bool, Meta(description="see through look-alike letters and spellings")]
MaxHold = Annotated[int, Meta(ge=1, le=65_536, description="longest wait for the rest of a match, in characters")]
OnOverflow = Annotated[Overflow, Meta(description="what happens to text that waited for max_hold")]
Ending = Annotated[Literal["longest", "shortest"], Meta(description="where a match of a pattern ends")]
Only = Annotated[tuple[Text, ...], Meta(min_length=1, description="detector: of the kinds that it knows, these")]
Except = Annotated[
    tuple[Text, ...], Meta(min_length=1, description="detector: of the kinds that it knows, all but these")
]
Regions = Annotated[
    tuple[Annotated[str, Meta(pattern="^[A-Z]{2}$")], ...],
    Meta(min_length=1, description="detector phone: where numbers without a country's code are from"),
]
Hosts = Annotated[tuple[Text, ...], Meta(min_length=1, description="detector outbound_links: to which links may lead")]


class WordsOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `words`."""

    words: Annotated[tuple[Text, ...], Meta(min_length=1, description="whole words, any case")]
    fold: Fold = False
    max_hold: MaxHold = MAX_HOLD
    on_overflow: OnOverflow = "release"


class PatternOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `pattern`."""

    pattern: Annotated[str, Meta(min_length=1, description="in the syntax of Python's re")]
    fold: Fold = False
    match: Ending = "longest"
    max_hold: MaxHold = MAX_HOLD
    on_overflow: OnOverflow = "release"


class DetectorOptions(Struct, frozen=True, forbid_unknown_fields=True, rename={"except_": "except"}):
    """Options of `detector`."""

    detector: Annotated[str, Meta(min_length=1, description="its name")]
    only: Only = ()
    except_: Except = ()
    regions: Regions = ()
    hosts: Hosts = ()
    fold: Fold = False


class MarkersOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `markers`."""

    kinds: Annotated[tuple[MarkerKind, ...], Meta(min_length=1, description="which; default: all")] = tuple(MarkerKind)


class RefusalOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `refusal`."""

    kinds: Annotated[
        tuple[RefusalKind, ...], Meta(min_length=1, description="which; default: safety and capability")
    ] = REFUSING


class LengthOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `length`."""

    max: Annotated[int, Meta(ge=1, le=1_000_000_000, description="the text ends there")]


class Repetition(Struct, frozen=True, forbid_unknown_fields=True):
    """Ends an answer that goes round in circles: the same piece of text again and again, with nothing between."""

    max: Annotated[int, Meta(ge=2, le=10_000, description="so many times in a row are one too many")]
    longest: Annotated[int, Meta(ge=1, le=5_000, description="longest repeated piece, in characters")] = 500
    characters: Annotated[int, Meta(ge=1, le=100_000, description="shorter runs are let be (rules, tables)")] = 400


def _words(rule: Rule, options: WordsOptions) -> MatchRule:
    return MatchRule(rule, None, options.words, options.fold, False, options.max_hold, options.on_overflow)


def _pattern(rule: Rule, options: PatternOptions) -> MatchRule:
    shortest = options.match == "shortest"
    return MatchRule(rule, options.pattern, None, options.fold, shortest, options.max_hold, options.on_overflow)


def _detector(rule: Rule, options: DetectorOptions) -> DetectorPass | FoldedPass:
    detector = DETECTORS[options.detector]
    kinds = frozenset(options.only or detector.kinds) - frozenset(options.except_)
    return detector_pass(detector, rule, Options(kinds, options.regions, options.hosts), options.fold)


def _detector_remarks(options: DetectorOptions) -> Iterator[Remark | None]:
    detector = DETECTORS.get(options.detector)
    if detector is None:
        near = get_close_matches(options.detector, DETECTORS, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(DETECTORS)}"
        yield Remark(("detector",), f"there is no detector `{options.detector}`", hint)
        return
    for key, names in (("only", options.only), ("except", options.except_)):
        for i, name in enumerate(names):
            if name not in detector.kinds:
                yield _unknown_kind(detector, name, (key, i))
    if options.only and options.except_:
        yield Remark(("except",), "`only` and `except` exclude each other", "leave one out")
    if detector.kinds and not frozenset(options.only or detector.kinds) - frozenset(options.except_):
        yield Remark(("except",), "nothing is left to find", "leave something in, or leave the rule out")
    for key, given in (("regions", options.regions), ("hosts", options.hosts)):
        if given and key not in detector.takes:
            yield Remark((key,), f"`{key}` means nothing to the detector `{detector.name}`", "remove it")
    for i, region in enumerate(options.regions):
        if detector.regions and region not in detector.regions:
            yield Remark(("regions", i), f"`{region}` is no region", "write two letters of ISO 3166-1")


def _unknown_kind(detector: Detector, name: str, path: tuple[str | int, ...]) -> Remark:
    if not detector.kinds:
        return Remark(path, f"`{detector.name}` finds one kind of thing only", f"remove `{path[0]}`")
    near = get_close_matches(name, detector.kinds, 1)
    hint = f"did you mean `{near[0]}`?" if near else "docs/detection.md lists its kinds"
    return Remark(path, f"`{detector.name}` knows no `{name}`", hint)


def _markers(rule: Rule, options: MarkersOptions) -> MarkerPass:
    """Their spelling is exact, and a replacement could form another marker: so one is broken up, and stays."""
    if rule.action is Action.REWRITE:
        rule = replace(rule, replacement=Replacement("", insert=BREAK))
    return MarkerPass(rule, frozenset(options.kinds))


def _refusal(rule: Rule, options: RefusalOptions) -> RefusalPass:
    """A block would end an answer that says no by another one that says no."""
    if rule.action is Action.BLOCK:
        raise OptionError("a rule of `refusal` cannot block", "write `action: flag`, or `rewrite` with your text")
    return RefusalPass(rule, frozenset(options.kinds))


def _length(rule: Rule, options: LengthOptions) -> LengthLimit:
    return LengthLimit(rule, options.max)


def _repetition(rule: Rule, options: Repetition) -> RepetitionLimit:
    return RepetitionLimit(rule, options.max, options.longest, options.characters)


KINDS: tuple[CheckKind, ...] = (
    CheckKind("words", "whole words or phrases in any case, in any script", _words, WordsOptions),
    CheckKind("pattern", "a pattern in the syntax of Python's re", _pattern, PatternOptions),
    CheckKind(
        "detector",
        "a pattern and a validator that come with the proxy",
        _detector,
        DetectorOptions,
        remarks=_detector_remarks,
    ),
    CHARACTERS,
    CheckKind("markers", "control markers of chat templates; `rewrite` neutralises them", _markers, MarkersOptions),
    CheckKind("system_prompt", SYSTEM_PROMPT_LEAK.about, lambda rule, _: SystemPromptPass(rule)),
    CheckKind("refusal", "the model's own refusal, at the beginning of an answer", _refusal, RefusalOptions),
    CheckKind("length", "ends an answer at a number of characters", _length, LengthOptions, in_rules=False),
    CheckKind("repetition", "ends an answer that goes round in circles", _repetition, Repetition, in_rules=False),
)
BUILT_IN: Mapping[str, CheckKind] = {kind.name: kind for kind in KINDS}
