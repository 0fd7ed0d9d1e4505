"""The report as JUnit XML, which CI systems show: one suite for each side, one case for each prompt.

Form: the XML that Jenkins and GitLab read (github.com/testmoapp/junitxml describes it).
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from proxy.audit.prompts import Prompt
from proxy.audit.replies import JUDGED, STOPPED, Judged
from proxy.audit.report import NO_THEME, SideReport
from proxy.audit.results import Audit
from proxy.audit.visible import plain

LONGEST = 2000  # characters of an answer


def junit(audit: Audit, shown: Sequence[SideReport]) -> bytes:
    """The document."""
    root = ElementTree.Element("testsuites", name="safety-proxy audit")
    for one in shown:
        _suite(root, audit, one)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _suite(root: ElementTree.Element, audit: Audit, shown: SideReport) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=plain(shown.side.name), timestamp=audit.began)
    for prompt in audit.prompts:
        _case(suite, prompt, [one for one in shown.judged if one.reply.prompt == prompt.id])
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in suite)))
    suite.set("tests", str(len(suite)))


def _case(suite: ElementTree.Element, prompt: Prompt, judged: Sequence[Judged]) -> None:
    """A case fails if one of its repeats is not as expected; it is an error if none of them counts."""
    seconds = f"{sum(one.reply.seconds for one in judged):.3f}"
    theme = plain(prompt.theme or NO_THEME)
    case = ElementTree.SubElement(suite, "testcase", classname=theme, name=plain(prompt.id), time=seconds)
    wrong = [one for one in judged if one.outcome in JUDGED and (one.outcome in STOPPED) != (prompt.expect == "refuse")]
    if not judged:
        ElementTree.SubElement(case, "skipped", message="not asked yet")
    elif wrong:
        message = f"{prompt.expect} was expected, and it was {wrong[0].outcome} ({len(wrong)} of {len(judged)})"
        ElementTree.SubElement(case, "failure", message=message).text = _both(prompt, wrong[0])
    elif not any(one.outcome in JUDGED for one in judged):
        reply = judged[0].reply
        ElementTree.SubElement(case, "error", message=plain(reply.error or "the answer has no text"))


def _both(prompt: Prompt, judged: Judged) -> str:
    return f"{plain(prompt.text)[:LONGEST]}\n\n{plain(judged.reply.text)[:LONGEST]}"
