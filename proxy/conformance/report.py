"""The results as a summary for people, as JSON, and as JUnit's XML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from proxy.conformance.runner import Failure, Result
from proxy.conformance.timing import Timing


def groups(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """The results by dialect and group, in their order."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result.dialect, result.case.group), []).append(result)
    return found


def summary(results: Sequence[Result], timings: Sequence[Timing]) -> Iterator[str]:
    """A line for each group, one for each case that failed, and the whole."""
    for (dialect, group), ones in groups(results).items():
        passed = sum(one.passed for one in ones)
        verdict = "" if passed == len(ones) else "  FAILED"
        yield f"{dialect:<12} {group:<13} {passed:>3} of {len(ones):>3} cases passed{verdict}"
        for one in ones:
            yield from () if one.passed else _failed_lines(one)
    yield from map(timing_line, timings)
    yield total(results)


def _failed_lines(result: Result) -> Iterator[str]:
    first = result.failures[0]
    yield f"    {result.case.id}: {result.case.says}"
    yield f"        {result.failed} of {result.exchanges} exchanges, such as: {first.exchange}: {first.faults[0]}"


def timing_line(timing: Timing) -> str:
    """The figures with their ratios."""
    return (
        f"{timing.dialect:<12} first text {timing.first:.1f} ms, {timing.first_ratio:.1f} times as long as direct; "
        f"each token {timing.token * 1000:.0f} µs, {timing.token_ratio:.1f} times"
    )


def total(results: Sequence[Result]) -> str:
    """How it ended, in one line."""
    failed = sum(not one.passed for one in results)
    exact = [one for one in results if one.same_bytes is not None and one.passed]
    same = sum(one.same_bytes is True for one in exact)
    verdict = f"{failed} failed" if failed else "all passed"
    exchanges = sum(one.exchanges for one in results)
    return (
        f"{len(results)} cases, {exchanges} exchanges: {verdict}. Untouched: {same} of {len(exact)} cases byte for byte"
    )


def as_json(target: str, version: str, results: Sequence[Result], timings: Sequence[Timing]) -> str:
    """All of it for programs. Bytes that are no UTF-8 stand as U+FFFD; `bytes` has them in hexadecimal."""
    return json.dumps(
        {
            "target": target,
            "suite": version,
            "passed": all(one.passed for one in results),
            "results": [_as_object(one) for one in results],
            "timings": [
                {"dialect": one.dialect, "first_text_ms": one.first, "first_text_ms_direct": one.first_direct}
                | {"token_ms": one.token, "token_ms_direct": one.token_direct}
                for one in timings
            ],
        },
        indent=1,
        ensure_ascii=False,
    )


def _as_object(result: Result) -> dict[str, Any]:
    case = result.case
    named = {"id": case.id, "dialect": result.dialect, "group": case.group, "says": case.says, "source": case.source}
    counted = {"passed": result.passed, "exchanges": result.exchanges, "failed": result.failed}
    failures = [
        {"exchange": one.exchange, "faults": list(one.faults), "status": one.status}
        | {"text": one.body.decode("utf-8", "replace"), "bytes": one.body.hex()}
        for one in result.failures
    ]
    return {**named, **counted, "same_bytes": result.same_bytes, "failures": failures}


def as_junit(target: str, results: Sequence[Result]) -> bytes:
    """A suite for each dialect and group, for the pages of continuous integration."""
    top = ElementTree.Element("testsuites", name=printable(f"conformance of {target}"))
    for (dialect, group), ones in groups(results).items():
        failed = sum(not one.passed for one in ones)
        counts = {"name": f"{dialect}: {group}", "tests": str(len(ones)), "failures": str(failed)}
        suite = ElementTree.SubElement(top, "testsuite", counts)
        for one in ones:
            test = ElementTree.SubElement(
                suite, "testcase", classname=f"{dialect}.{group}", name=printable(one.case.id)
            )
            if not one.passed:
                message = printable(one.failures[0].faults[0])
                failure = ElementTree.SubElement(test, "failure", message=message)
                failure.text = printable("\n\n".join(map(shown, one.failures)))
    ElementTree.indent(top)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(top, "unicode").encode() + b"\n"


def shown(failure: Failure) -> str:
    """What was wrong, and the bytes that came."""
    body = failure.body.decode("utf-8", "backslashreplace")
    return "\n".join([f"{failure.exchange}:", *failure.faults, f"status {failure.status}, and then:", body])


def printable(text: str) -> str:
    """A text that XML and a terminal can hold: control characters and lone surrogates are spelled out."""
    return "".join(one if _is_plain(one) else f"\\u{ord(one):04x}" for one in text)


def _is_plain(one: str) -> bool:
    code = ord(one)
    return one in "\n\t" or (
        code >= 32 and not 0x7F <= code < 0xA0 and not 0xD800 <= code < 0xE000 and code & 0xFFFE != 0xFFFE
    )
