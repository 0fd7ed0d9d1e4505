"""The commands that work on policies without a server: check, test, explain, replay. Each returns its exit code.

0: fine. 1: a policy is wrong, or an example fails. 2: the command cannot be carried out.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from proxy.checks.registry import Registry
from proxy.core.types import Direction, Rule
from proxy.errors import PolicyError
from proxy.matching.folding import fold_text
from proxy.policy.compile import Compilation
from proxy.policy.examples import ExampleResult, quoted
from proxy.policy.explain import (
    Answers,
    BadRecord,
    Change,
    Outcome,
    Sample,
    changes,
    neutralised,
    outcome,
    questions,
    views,
)
from proxy.policy.files import MODELS_FILE, read_directory, read_file
from proxy.policy.models_file import NO_REVIEWS, Reviews, read_models_file
from proxy.policy.policyset import PolicySet
from proxy.policy.recorded import Difference, Recorded, difference, read_line

PROGRESS_TIME = 2.0  # seconds between two lines that say how far a load is
HASH_KEY = b"policy commands"  # tags that these commands print are not those of a running proxy


def check(args: argparse.Namespace) -> int:
    """`check DIR`: every problem with file, line and column, or what was loaded; models.yaml too."""
    try:
        problems: list[str] = []
        reviews = _reviews(args.directory, problems)
        policies = _load(args.directory, args.find(args), problems)
    except PolicyError as error:
        if args.json:
            _print_json({"ok": False, "problems": error.problems})
        else:
            print(error, file=sys.stderr)
        return 1
    if args.json:
        told = {"rules": list(policies.report), "hints": list(policies.hints), "models": len(reviews.entries)}
        _print_json({"ok": True, "revision": policies.revision, **told})
        return 0
    for line in policies.hints:
        print(f"hint: {line}")
    for line in policies.report:
        print(line)
    models = f", models: {len(reviews.entries)}" if reviews.entries else ""
    print(f"files: {len(policies.policies)}, rules: {len(policies.rules)}{models}, revision: {policies.revision}")
    return 0


def test(args: argparse.Namespace) -> int:
    """`test DIR`: a table of all examples, and what else is wrong."""
    results: list[ExampleResult] = []
    problems: list[str] = []
    try:
        compilation = _compilation(args.directory, args.find(args))
        results = compilation.results  # filled as far as it gets
        _run(compilation)
    except PolicyError as error:
        problems = error.problems
    if args.json:
        _print_json({"ok": not problems, "examples": [_as_json(r) for r in results], "problems": problems})
    else:
        _print_table(results, problems)
    return 1 if problems else 0


def explain(args: argparse.Namespace) -> int:
    """`explain DIR TEXT`: what each rule sees, and what the user gets."""
    text = " ".join(args.text) if args.text else sys.stdin.read().removesuffix("\n")
    sample = Sample(text, args.direction, args.channel, args.model, args.key, args.alignment, args.role, args.system)
    try:
        policies = _load(args.directory, args.find(args))
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    asked = [] if args.no_guards else questions(policies, sample)
    answers = args.ask(args, asked) if asked and args.ask is not None else None
    if args.json:
        _print_json(_explained(policies, sample, answers))
    else:
        _print_explained(policies, sample, answers)
    return 0


def replay(args: argparse.Namespace) -> int:
    """`replay DIR FILE`: the recorded texts in which DIR finds something else than the policies did then.

    With `--against OTHER_DIR`: the texts that OTHER_DIR would treat differently from DIR.
    """
    try:
        registry = args.find(args)
        before = _load(args.directory, registry)
        after = _load(args.against, registry) if args.against is not None else None
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        with args.file.open(encoding="utf-8") as lines:
            texts = list(_recorded(lines))
        if after is None:
            _show_differences(texts, before, args.json)
        else:
            _show_changes(texts, before, after, args.json)
    except (OSError, UnicodeDecodeError, BadRecord) as error:
        print(f"{args.file}: {_why(error)}", file=sys.stderr)
        return 2
    return 0


def _show_changes(texts: list[tuple[int, Recorded]], before: PolicySet, after: PolicySet, as_json: bool) -> None:
    found = list(changes(((line, recorded.sample) for line, recorded in texts), before, after))
    changed = [change for change in found if change is not None]
    if as_json:
        _print_json({"texts": len(found), "changed": [_change_as_json(change) for change in changed]})
        return
    for change in changed:
        _print_change(change)
    print(f"{len(changed)} of {len(found)} texts change")


def _show_differences(texts: list[tuple[int, Recorded]], policies: PolicySet, as_json: bool) -> None:
    line = next((line for line, recorded in texts if recorded.rules is None), None)
    if line is not None:
        raise BadRecord(f"line {line}: it does not say what was found in it then; compare with --against OTHER_DIR")
    found = [difference(line, recorded, policies) for line, recorded in texts]
    differing = [one for one in found if one is not None]
    if as_json:
        _print_json({"texts": len(found), "changed": [_difference_as_json(one) for one in differing]})
        return
    for one in differing:
        _print_difference(one)
    hint = "" if texts else " (records have texts only where record_text is masked or full)"
    print(f"{len(differing)} of {len(found)} texts change{hint}")


def _load(directory: Path, registry: Registry, problems: Iterable[str] = ()) -> PolicySet:
    """`problems`: what is wrong besides; then nothing is loaded."""
    try:
        policies = _run(_compilation(directory, registry))
    except PolicyError as error:
        raise PolicyError([*error.problems, *problems]) from None
    if told := list(problems):
        raise PolicyError(told)
    return policies


def _reviews(directory: Path, problems: list[str]) -> Reviews:
    """The models.yaml beside the policies; what is wrong in it is added to the problems."""
    try:
        source = read_file(directory / MODELS_FILE)
        return NO_REVIEWS if source is None else read_models_file(source)
    except PolicyError as error:
        problems += error.problems
        return NO_REVIEWS


def _compilation(directory: Path, registry: Registry) -> Compilation:
    reporter = _ProgressReporter()
    sources = read_directory(directory)
    reporter.compilation = Compilation(
        sources, hash_key=HASH_KEY, origin=str(directory), pause=reporter, registry=registry
    )
    return reporter.compilation


def _run(compilation: Compilation) -> PolicySet:
    """Compile. The collector of garbage finds next to none meanwhile, and would take as long as all the rest."""
    gc.disable()
    try:
        return compilation.run()
    finally:
        gc.enable()


class _ProgressReporter:
    """A pause that tells now and then, on standard error, how far a load is."""

    def __init__(self) -> None:
        self.compilation: Compilation | None = None
        self._next = time.monotonic() + PROGRESS_TIME

    def __call__(self) -> None:
        if time.monotonic() < self._next or self.compilation is None:
            return
        self._next += PROGRESS_TIME
        step, done, total = self.compilation.progress
        counted = f": {done:,} of {total:,} rules" if total else ""
        print(f"... {step}{counted}", file=sys.stderr, flush=True)


def _why(error: OSError | UnicodeDecodeError | BadRecord) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror}): give a file of recorded texts, one a line"
    return "cannot be read: it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def _recorded(lines: Iterator[str]) -> Iterator[tuple[int, Recorded]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield from ((number, recorded) for recorded in read_line(line))
            except BadRecord as error:
                raise BadRecord(f"line {number}: {error}") from None
            except (KeyError, TypeError, AttributeError):
                raise BadRecord(f"line {number}: no record that this version writes") from None


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(results: list[ExampleResult], problems: list[str]) -> None:
    width = max((len(result.rule.name) for result in results), default=0)
    for result in results:
        mark = "ok  " if result.passed else "FAIL"
        print(f"{mark}  {result.rule.name:<{width}}  {result.kind:<7}  {quoted(result.text)}")
    for line in problems:
        print(line, file=sys.stderr)
    failed = sum(not result.passed for result in results)
    print(f"{len(results)} examples, {failed} failed" + (f", {len(problems)} problems" if problems else ""))


def _as_json(result: ExampleResult) -> dict[str, Any]:
    shared = {"rule": result.rule.name, "kind": result.kind, "text": result.text, "passed": result.passed}
    return shared if result.passed else {**shared, "wrong": result.wrong}


def _explained(policies: PolicySet, sample: Sample, answers: Answers | None) -> dict[str, Any]:
    seen = [
        {
            "rule": view.rule.name,
            "action": view.rule.action.name.lower(),
            "spans": view.spans,
            **({"failed": view.failed} if view.failed else {}),
            **({"asked": view.asked} if view.asked else {}),
            **(
                {"detector": view.detector, "dropped": [one._asdict() for one in view.dropped]} if view.detector else {}
            ),
        }
        for view in views(policies, sample, answers)
    ]
    done = outcome(policies, sample, answers)
    shared = {"text": sample.text, "folded": fold_text(sample.text), "rules": seen}
    return {**shared, **_outcome_as_json(policies, sample, done), "neutralised": neutralised(sample.text, done)}


def _outcome_as_json(policies: PolicySet, sample: Sample, done: Outcome) -> dict[str, Any]:
    shared: dict[str, Any] = {"verdict": done.verdict, "out": done.out}
    if done.blocked is not None:
        notice = policies.message_for(done.blocked, sample.direction, done.first)
        shared |= {"blocked_by": done.blocked.name, "notice": notice}
    return shared


def _print_explained(policies: PolicySet, sample: Sample, answers: Answers | None) -> None:
    print(f"text      {quoted(sample.text)}")
    print(f"folded    {quoted(fold_text(sample.text))}")
    seen = list(views(policies, sample, answers))
    width = max((len(view.rule.name) for view in seen), default=0)
    for rule, spans, detector, dropped, failed, asked in seen:
        by = f"  (detector {detector})" if detector else ""
        found = f"failed: it {failed}" if failed else _spans(sample.text, spans)
        print(f"{rule.name:<{width}}  {_action(rule):<10}  {found}{by}")
        for text, reason in dropped:
            print(f"{'':<{width}}  {'':<10}  not {quoted(text)}: {reason}")
        for line in asked:
            print(f"{'':<{width}}  {'':<10}  {line}")
    done = outcome(policies, sample, answers)
    by = f" by {done.blocked.name}" if done.blocked else ""
    print(f"verdict   {done.verdict}{by}")
    print(f"let out   {quoted(done.out)}")
    for family, count in neutralised(sample.text, done).items():
        print(f"markers   {count} of the family {family} neutralised")
    if done.blocked:
        print(f"notice    {policies.message_for(done.blocked, sample.direction, done.first)}")


def _action(rule: Rule) -> str:
    return rule.action.name.lower() if rule.enforced else f"({rule.action.name.lower()})"


def _spans(text: str, spans: tuple[tuple[int, int], ...] | None) -> str:
    if spans is None:
        return "does not apply"
    return ", ".join(f"{start}-{end} {quoted(text[start:end])}" for start, end in spans) or "-"


def _print_change(change: Change) -> None:
    print(f"line {change.line}: {quoted(change.sample.text)}")
    for name, done in (("before", change.before), ("after", change.after)):
        rules = ", ".join(dict.fromkeys(f.rule.name for f in done.findings))
        print(f"  {name:<6}  {done.verdict}{f' ({rules})' if rules else ''}: {quoted(done.out)}")


def _change_as_json(change: Change) -> dict[str, Any]:
    def side(done: Outcome) -> dict[str, Any]:
        rules = list(dict.fromkeys(f.rule.name for f in done.findings))
        return {"verdict": done.verdict, "rules": rules, "out": done.out}

    return {
        "line": change.line,
        "text": change.sample.text,
        "before": side(change.before),
        "after": side(change.after),
    }


def _print_difference(one: Difference) -> None:
    sample = one.recorded.sample
    where = f"prompt, {sample.role}" if sample.direction is Direction.INPUT else f"answer, {sample.kind}"
    print(f"line {one.line}, request {one.recorded.id}, {where}: {quoted(sample.text)}")
    for name, rules in (("new", one.new), ("gone", one.gone)):
        if rules:
            print(f"  {name:<6}  {', '.join(rules)}")
    print(f"  now     {one.after.verdict}: {quoted(one.after.out)}")


def _difference_as_json(one: Difference) -> dict[str, Any]:
    sample = one.recorded.sample
    place = {"line": one.line, "id": one.recorded.id, "direction": sample.direction, "channel": sample.kind}
    found = {"new": one.new, "gone": one.gone, "verdict": one.after.verdict, "out": one.after.out}
    return {**place, "text": sample.text, **found}
