"""The laws that every check obeys (proxy.core.check), for any check and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxy.core.check import Check, Progress
from proxy.core.types import Action, Finding, Rule


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
        watermark, found = answer
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


def check_laws(check: Check, text: str, places: int) -> list[Progress]:
    """All laws; the answers of one reading."""
    answers = [obeys(check, chunks, final) for chunks, final in readings(text, places)]
    first = summary(answers[0])
    for other in answers[1:]:
        assert summary(other) == first, "the cut matters"
    return answers[0]
