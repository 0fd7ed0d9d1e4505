"""For the tests of a check of your own: the laws of `proxy.core.check`, and the whole text as the oracle.

    from proxy.testing import check_laws, made

    def test_it_obeys_the_laws() -> None:
        check_laws(made(KIND, most=3), ["AAAA", "a text in which nothing is found"])

A check that asks (`proxy.core.check.Asking`) is given what answers it:

        check_laws(check, texts, replies=lambda data: ...)

Needs nothing but the proxy itself. A law that is broken raises AssertionError, which says which one, and at which cut.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from proxy.checks.kinds import CheckKind, DetectorKind
from proxy.checks.outside import searching_rule
from proxy.checks.plugin_pass import PluginRule
from proxy.checks.registry import Plugin, make_registry
from proxy.core.check import Ask, Asking, Check, Progress, asks
from proxy.core.failures import CheckFailed, Reason
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.matching.matcher import Matcher

RULE = Rule("test", "rule", Action.REWRITE, replacement=Replacement("[found]"))
"""The rule for which `made` makes a check."""
CUTS = 20  # random cuts of each text
Replies = Callable[[Hashable], object]
"""What is answered to a question's data: always the same."""
FAILED = CheckFailed("test", Reason.RAISED, "was not answered")
AROUND = ("", " ", "\n", "x", "\u00e9 \U0001f600")  # what stands behind a text, so that no end is the only end


def made(kind: CheckKind | DetectorKind, **options: Any) -> Check:
    """The check that the proxy makes of these options, for `RULE`. Raises RegistryError for a kind that it refuses."""
    registered = make_registry([Plugin(kind, "a test")])[kind.name]
    check = registered.make(searching_rule(RULE), registered.options(**options))
    return make_registry().plugin_rule(kind.name, RULE, check, fails_open=False).check


def spans(check: Check, text: str) -> list[str]:
    """What a check finds in a text, piece by piece: for tests of what it should find."""
    found = findings(feed(check, [text]))
    return [text[start:end] for start, end in _merged((f.start, f.end, f.extends) for f in found)]


def check_laws(
    check: Check, texts: Iterable[str], *, cuts: int = CUTS, seed: int = 0, replies: Replies | None = None
) -> None:
    """All laws on all texts: whole, character by character, and cut in `cuts` random ways.

    And the oracle: what a gate lets out of a stream, for a rule that flags, rewrites or blocks, is what the findings in
    the whole text say. Of a check that asks: for its own rule, with answers in random order and some that fail. Raises
    AssertionError.

    replies: answers the questions of a check that asks. Where that holds nothing (`hold` is 0), answers come too late
             to hide anything, so what is let out is not compared
    """
    chance = random.Random(seed)
    if asks(check):
        assert replies is not None, "the check asks: give `replies`, which answers"
        for text in texts:
            for behind in AROUND:
                check_asking(check, text + behind, replies, chance, cuts)
        return
    for text in texts:
        for behind in AROUND:
            whole = text + behind
            places = [chance.getrandbits(max(len(whole), 1)) for _ in range(cuts)]
            places += [1 << chance.randrange(len(whole)) for _ in range(cuts if whole else 0)]
            check_cuts(check, whole, places)
            check_oracle(check, whole, places)
    check_laws_together(check)


def check_laws_together(check: Check) -> None:
    """Scans of one check know nothing of each other: an exchange must not see another's text."""
    one, other = check.open(), check.open()
    assert one is not other, "`open` gives one scan twice: each text needs a scan of its own"


def check_cuts(check: Check, text: str, places: Iterable[int]) -> None:
    """The laws on one text, for each way to cut it."""
    first = None
    for chunks, final in (reading for cut_at in places for reading in readings(text, cut_at)):
        try:
            answers = obeys(check, chunks, final)
            told = summary(answers)
            first = told if first is None else first
            assert told == first, "the cut matters: what is found has to depend on the text alone"
            if not final:
                _told_in_time(check, chunks, answers)
        except AssertionError as error:
            raise AssertionError(f"{error} (the text was fed as {list(chunks)!r})") from None


def _told_in_time(check: Check, chunks: Sequence[str], answers: Sequence[Progress]) -> None:
    """What is found is told with the character that makes it certain, wherever that stands in a chunk."""
    if not any(answer.findings for answer in answers[: len(chunks)]):
        return
    one_by_one = feed(check, list("".join(chunks)))
    known = next((read for read, answer in enumerate(one_by_one, 1) if answer.findings), 0)
    told = next(i for i, answer in enumerate(answers) if answer.findings)
    read = sum(map(len, chunks[: told + 1]))
    assert known <= read, "something is found earlier when more is fed at once"
    assert known > sum(map(len, chunks[:told])), "something is found later when less is fed at once"


def check_oracle(check: Check, text: str, places: Iterable[int]) -> None:
    """What is let out of a stream is what the whole text's findings say."""
    found = [f for f in findings(feed(check, [text])) if f.end > f.start]
    wanted = {Action.FLAG: text, Action.REWRITE: painted(text, found), Action.BLOCK: text[: _first(found, len(text))]}
    for action, out in wanted.items():
        for cut_at in places:
            chunks = cut(text, cut_at)
            gate = Gate([_as_rule(check, action)])
            got = "".join([gate.feed(chunk) for chunk in chunks]) + gate.feed("", final=True)
            message = f"a rule with `action: {action.name.lower()}` lets {got!r} out of {chunks!r}, and not {out!r}"
            assert got == out, message


def _as_rule(check: Check, action: Action) -> Matcher:
    """The check as the proxy asks it for a rule with this action."""
    rule = Rule("test", "rule", action, replacement=RULE.replacement)
    return Matcher([], beside=[PluginRule(rule, "test", check, check.hold)])


def _first(found: Sequence[Finding], end: int) -> int:
    return min((f.start for f in found), default=end)


def painted(text: str, found: Iterable[Finding]) -> str:
    """The text with the label of RULE in place of each span. Spans that share a character are one."""
    out, at = [], 0
    for start, end in _merged((f.start, f.end, f.extends) for f in found):
        out += [text[at:start], RULE.replacement.text]
        at = end
    return "".join([*out, text[at:]])


def _merged(found: Iterable[tuple[int, int, bool]]) -> Iterator[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start, end, extends in sorted(found):
        if spans and (start < spans[-1][1] or (extends and start <= spans[-1][1])):
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return iter(spans)


# -- the laws, on one reading


def cut(text: str, places: int) -> list[str]:
    """The text in chunks; bit i of `places` says whether there is a cut before character i (0: an empty chunk)."""
    at = [i for i in range(len(text)) if places >> i & 1]
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


def feed(check: Check, chunks: Sequence[str], final_with_text: bool = False) -> list[Progress]:
    """The answers of a fresh scan."""
    scan = check.open()
    last = len(chunks) - 1
    out = [scan.feed(chunk, final_with_text and i == last) for i, chunk in enumerate(chunks)]
    if not final_with_text:
        out.append(scan.feed("", final=True))
    return out


def blocking(finding: Finding) -> bool:
    """Does the finding end the stream?"""
    return finding.rule.holds and finding.rule.action is Action.BLOCK


def findings(answers: Sequence[Progress]) -> list[Finding]:
    """All of them, in the order in which they came."""
    return [finding for answer in answers for finding in answer.findings]


def covered(found: Sequence[Finding], rule: Rule) -> set[int]:
    """The offsets of the characters that a rule's findings cover."""
    return {i for f in found if f.rule is rule for i in range(f.start, f.end)}


def obeys(check: Check, chunks: Sequence[str], final_with_text: bool = False) -> list[Progress]:
    """Laws 2, 3 and 4 on one reading; the answers."""
    answers = feed(check, chunks, final_with_text)
    texts = [*chunks] if final_with_text else [*chunks, ""]
    fed = mark = 0
    over = False
    for text, answer in zip(texts, answers, strict=True):
        fed += len(text)
        watermark, found, *_ = answer
        assert mark <= watermark <= fed, "the watermark goes back, or past what was fed"
        assert all(0 <= f.start < f.end <= fed for f in found), "a finding outside of the text"
        assert not over or not found, "a finding after a block"
        hiding = [f for f in found if f.rule.holds]
        assert all(f.start >= mark for f in hiding), "a finding below the announced watermark"
        assert [f.start for f in found] == sorted(f.start for f in found), "findings out of order"
        over = over or any(map(blocking, found))
        assert over or check.hold is None or fed - watermark <= check.hold, "more is held than was said"
        mark = watermark
    assert over or mark == fed, "something is still undecided at the end"
    assert sum(map(blocking, findings(answers))) <= 1, "two blocks"
    return answers


def summary(answers: Sequence[Progress]) -> object:
    """What must not depend on how the text was cut: what each rule found, how often, and where the text ends."""
    found = findings(answers)
    rules = {f.rule for f in found}
    spans = {rule: covered(found, rule) for rule in rules}
    counts = {rule: sum(f.rule is rule and not f.extends for f in found) for rule in rules}
    return spans, counts, [f for f in found if blocking(f)], answers[-1].watermark


def readings(text: str, places: int) -> Iterator[tuple[list[str], bool]]:
    """The text as cut, in one piece, and character by character; the end told apart, or with the last chunk."""
    for chunks in (cut(text, places), [text], list(text)):
        yield chunks, False
        if chunks:
            yield chunks, True


# -- checks that ask


class Told(NamedTuple):
    """What a check that asks has told of a text: must depend on the text and the answers alone.

    asks:  what it has asked: the part of the text, where that was certain, and the data
    found: what the answers and the check itself have found
    """

    asks: frozenset[tuple[int, int, int, Hashable]]
    found: frozenset[Finding]


class Let(NamedTuple):
    """What a gate has let out of a text, and what has ended the text."""

    out: str
    blocked: Finding | None
    found: frozenset[Finding]


def check_asking(check: Asking, text: str, replies: Replies, chance: random.Random, times: int = CUTS) -> None:
    """The laws and the oracle on one text, cut in random ways, with answers in random orders, and some that fail."""
    for fails in (0.0, 0.3, 1.0):
        reply = sometimes_failing(replies, fails, chance.random())
        told = obeys_asking(check, list(text), reply, None)
        wanted = let_out([check], list(text), reply, None)
        if check.hold != 0:
            out = said_by_answers(check, text, reply)
            assert wanted.out == out, f"a gate lets {wanted.out!r} out of {text!r}, and the answers say {out!r}"
        for _ in range(times):
            chunks = cut(text, chance.getrandbits(len(text)) & chance.getrandbits(len(text)) if text else 0)
            try:
                assert obeys_asking(check, chunks, reply, chance) == told, "the cut or the order of answers matters"
                same = check.hold == 0 or let_out([check], chunks, reply, chance) == wanted
                assert same, "what is let out depends on cut or order"
            except AssertionError as error:
                raise AssertionError(f"{error} (the text was fed as {chunks!r})") from None


def said_by_answers(check: Asking, text: str, replies: Replies) -> str:
    """The oracle: what is left of a text, put together from what the answers have found. No gate is asked."""
    scan, found = check.open(), list[Finding]()
    for char, final in (*((char, False) for char in text), ("", True)):
        waiting = list(scan.feed(char, final).asks)
        while waiting:
            ask = waiting.pop(0)
            progress = scan.answer(ask.number, replies(ask.data))
            found += progress.findings
            waiting += progress.asks
        ends = [f.start for f in found if blocking(f)]
        if ends:
            text = text[: min(ends)]
            break
    out, at = [], 0
    for start, end, rule, *_ in sorted((f for f in found if f.rule.holds and f.end <= len(text)), key=_start_and_end):
        if start >= at:  # else it is one with the span before
            out += [text[at:start], rule.replacement.text]
        at = max(at, end)
    return "".join([*out, text[at:]])


def _start_and_end(finding: Finding) -> tuple[int, int]:
    return finding.start, finding.end


def sometimes_failing(replies: Replies, fails: float, seed: float) -> Replies:
    """Replies of which a part fails, the same question always."""

    def reply(data: Hashable) -> object:
        return FAILED if random.Random(f"{seed} {data!r}").random() < fails else replies(data)

    return reply


def obeys_asking(check: Asking, chunks: Sequence[str], replies: Replies, chance: random.Random | None) -> Told:
    """The laws on one reading, in which answers come in random order (None: each at once)."""
    scan, holds = check.open(), check.hold != 0
    waiting: list[Ask] = []
    asked: list[Ask] = []
    found: list[Finding] = []
    fed = mark = 0

    def take(progress: Progress, before: int, final: bool) -> None:
        nonlocal mark
        watermark, findings, questions = progress
        assert mark <= watermark <= fed, "the watermark goes back, or past what was fed"
        assert all(0 <= f.start < f.end <= fed for f in findings), "a finding outside of the text"
        hiding = [f for f in findings if f.rule.holds and holds]
        assert all(f.start >= mark for f in hiding), "a finding below the announced watermark"
        for ask in questions:
            assert all(ask.number != other.number for other in asked), "two questions with one number"
            assert 0 <= ask.start < ask.end <= fed, "a question outside of the text"
            assert before < ask.read <= fed + final, "a question is not told with the character that makes it certain"
            assert ask.read <= fed or final, "a question before the end of the text that says it is at the end"
            asked.append(ask)
            waiting.append(ask)
        mark = watermark
        found.extend(findings)
        quiet = not waiting and not any(map(blocking, found))
        assert not quiet or check.hold is None or fed - mark <= check.hold, "more is held than was said"

    def answer_one() -> None:
        ask = waiting.pop(chance.randrange(len(waiting)) if chance is not None else 0)
        take(scan.answer(ask.number, replies(ask.data)), ask.read - 1, True)

    for text, final in (*((chunk, False) for chunk in chunks), ("", True)):
        before, fed = fed, fed + len(text)
        take(scan.feed(text, final), before, final)
        while waiting and (chance is None or chance.random() < 0.3):
            answer_one()
    while waiting:
        answer_one()
    assert mark == fed, "something is still undecided when all is answered"
    return Told(frozenset(ask[1:] for ask in asked), frozenset(found))


def let_out(checks: Iterable[Check], chunks: Sequence[str], replies: Replies, chance: random.Random | None) -> Let:
    """What a gate lets out of a stream, with answers in random order (None: each at once)."""
    gate = Gate(checks)
    waiting: list[tuple[int, Hashable]] = []
    out: list[str] = []

    def take(text: str) -> None:
        out.append(text)
        waiting.extend((asked.key, asked.ask.data) for asked in gate.take_asks())
        dropped = gate.take_dropped()
        waiting[:] = [one for one in waiting if one[0] not in dropped]

    for text, final in (*((chunk, False) for chunk in chunks), ("", True)):
        take(gate.feed(text, final))
        while waiting and (chance is None or chance.random() < 0.3):
            key, data = waiting.pop(chance.randrange(len(waiting)) if chance is not None else 0)
            take(gate.answer(key, replies(data)))
    while waiting:
        key, data = waiting.pop(chance.randrange(len(waiting)) if chance is not None else 0)
        take(gate.answer(key, replies(data)))
    assert not gate.undecided, "something is still undecided when all is answered"
    return Let("".join(out), gate.blocked, frozenset(f for f in gate.findings if f.rule.holds))
