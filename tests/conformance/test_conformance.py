"""The suite against our own proxy, against guards that deserve to fail, and against targets that are none."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from starlette.applications import Starlette

from bench.contestants import naive
from proxy.cli import main
from proxy.conformance.cases import FOLDER, load
from proxy.conformance.dialects import DIALECTS
from tests.conformance.stubs import buffers_all, free_port, leaks_all, listening, other_server, refuses_all
from tests.proxy_process import ProxyProcess

Groups = dict[str, list[dict[str, Any]]]


def verdict(target: str, port: int, folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of a run."""
    report = folder / "report.json"
    listen = ("--listen", f"127.0.0.1:{port}", "--json", str(report))
    code = main(["conformance", "--target", target, *listen, "--no-timing", *more])
    return code, json.loads(report.read_text("utf-8")) if report.exists() else {}


def failed(report: dict[str, Any]) -> Groups:
    """The failed cases by group."""
    found: Groups = {}
    for result in report["results"]:
        if not result["passed"]:
            found.setdefault(result["group"], []).append(result)
    return found


def test_our_own_proxy_passes_all_cases_in_all_dialects(tmp_path: Path) -> None:
    """With the policy that the suite writes for it; the exit code is 0."""
    policies = tmp_path / "policies"
    policies.mkdir()
    assert main(["conformance", "--policy-hint", str(policies / "four.yaml")]) == 0
    port = free_port()
    with ProxyProcess(upstream=f"http://127.0.0.1:{port}", policies=policies) as proxy:
        code, report = verdict(proxy.url, port, tmp_path, "--dialect", "all", "--patience", "60")
    assert failed(report) == {}
    assert code == 0
    assert {result["dialect"] for result in report["results"]} == set(DIALECTS)


def stub(make: Callable[[str], Starlette], folder: Path, *more: str) -> tuple[int, Groups]:
    """The exit code and the failed cases of a guard in front of the scripted server, in OpenAI's chat."""
    port = free_port()
    with listening(make(f"http://127.0.0.1:{port}")) as url:
        return judged(url, port, folder, *more)


def naive_proxy(folder: Path) -> tuple[int, Groups]:
    """The same of bench/naive.py, in a process of its own."""
    port = free_port()
    with naive(port, folder / "naive") as process:
        return judged(f"http://127.0.0.1:{process.port}", port, folder)


def judged(url: str, port: int, folder: Path, *more: str) -> tuple[int, Groups]:
    """The exit code and the failed cases of a guard."""
    code, report = verdict(url, port, folder, "--patience", "1", *more)
    return code, failed(report)


@pytest.mark.long
def test_a_guard_that_streams_nothing_is_told_so(tmp_path: Path) -> None:
    """It fails the case of streaming; what it passes on is what was sent."""
    code, found = stub(buffers_all, tmp_path)
    assert code == 1
    assert [one["id"] for one in found["streaming"]] == ["streaming.arrives"]
    assert "holds harmless text back" in found["streaming"][0]["failures"][0]["faults"][-1]
    assert "fidelity" not in found


@pytest.mark.long
def test_a_guard_that_refuses_everything_is_told_so(tmp_path: Path) -> None:
    """It leaks nothing, and that does not help it: all cases of fidelity fail."""
    code, found = stub(refuses_all, tmp_path)
    assert code == 1
    assert len(found["fidelity"]) == sum(case.group == "fidelity" and _is_for_openai(case) for case in load([FOLDER]))
    assert all("got" not in fault for one in found["leaks"] for fault in one["failures"][0]["faults"])


def _is_for_openai(case: Any) -> bool:
    return not case.dialects or "openai" in case.dialects


@pytest.mark.long
@pytest.mark.parametrize("run", [partial(stub, leaks_all), naive_proxy], ids=["stub", "naive"])
def test_a_guard_that_leaks_everything_is_told_so(run: Callable[[Path], tuple[int, Groups]], tmp_path: Path) -> None:
    """Each case in which the text has a secret fails with the bytes; harmless answers are what they were."""
    code, found = run(tmp_path)
    assert code == 1
    leaks = {one["id"]: one for one in found["leaks"]}
    assert {case.id for case in load([FOLDER]) if case.id.startswith("leaks.content")} <= set(leaks)
    first = leaks["leaks.content.whole"]["failures"][0]
    assert first["faults"] == ["the client got 'zorblaxium' of the word"]
    assert b"zorblaxium" in bytes.fromhex(first["bytes"])
    assert {"prompts", "cancellation"} <= set(found)
    assert "fidelity" not in found
    assert "streaming" not in found


# -- targets that are none


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line on stderr."""
    return capsys.readouterr().err.splitlines()[-1]


def not_run(target: str, folder: Path, *more: str, port: int | None = None) -> None:
    """It ends with exit code 2 and writes no report."""
    arguments = ("--wait", "0", "--patience", "0.5", *more)
    assert verdict(target, port or free_port(), folder, *arguments) == (2, {})


def test_a_target_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The address is named."""
    port = free_port()
    not_run(f"http://127.0.0.1:{port}", tmp_path)
    assert f"127.0.0.1:{port}/v1/chat/completions cannot be asked" in said(capsys)


def test_a_target_that_answers_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it answered is shown without its control characters, and what to do."""
    with listening(other_server("")) as url:
        not_run(url, tmp_path)
    line = said(capsys)
    assert "answered 200 and asked nothing of the scripted server" in line
    assert "set the guard's model server to http://127.0.0.1:" in line
    assert "\x1b" not in line


def test_a_target_that_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the time of --patience."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        not_run(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert "did not answer within 0.5 s" in said(capsys)


def test_the_scripted_server_itself_is_no_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test of nothing would leak all."""
    port = free_port()
    not_run(f"http://127.0.0.1:{port}", tmp_path, "--patience", "60", port=port)
    assert "is the scripted server itself" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "conformance needs --target URL"),
        (["--target", "nowhere"], "--target is an address such as"),
        (["--target", "http://[::1"], "--target is an address such as"),
        (["--target", "http://x", "--dialect", "openai,klingon"], "'klingon' is not a dialect: there are openai,"),
        (["--target", "http://x", "--listen", "x:99999"], "--listen is HOST:PORT"),
        (["--target", "http://x", "--patience", "nan"], "--patience is a number of seconds from 0.1"),
        (["--target", "http://x", "--header", "x"], "--header is NAME: VALUE"),
        (["--target", "http://x", "--html", "no/where.html"], "there is no directory no"),
        (["--policy-hint", "no/where.yaml"], "no/where.yaml cannot be written"),
        (["--target", "http://x", "--cases", "nowhere"], "nowhere has no files of cases"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is wrong, before anything is asked."""
    assert main(["conformance", *arguments]) == 2
    assert expected in said(capsys)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- {id: a, says: A., group: leaks, sned: []}", "unknown field `sned`"),
        ("- {id: a, says: A., group: odd}", "Invalid enum value 'odd'"),
        ("- {id: a, says: A., group: leaks}\n- {id: a, says: A., group: leaks}", "two cases have the id a"),
        ("- [", "more.yaml: "),
    ],
)
def test_a_bad_file_of_cases_is_refused(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its name and the place."""
    (tmp_path / "more.yaml").write_text(text, "utf-8")
    assert main(["conformance", "--target", "http://127.0.0.1:9", "--cases", str(tmp_path)]) == 2
    assert expected in said(capsys)


# -- reports


class Page(HTMLParser):
    """The tags of a page, and its rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by HTMLParser."""
        self.tags.append(tag)


@pytest.mark.long
def test_a_page_and_junit_show_hostile_bytes_as_text(tmp_path: Path) -> None:
    """A case of one's own, whose answer is a script and a control character: nothing of it becomes a tag."""
    cases = tmp_path / "cases"
    cases.mkdir()
    one = {"id": "own.html", "says": "No <b>tags</b>.", "group": "leaks", "secrets": ["word"]}
    hostile = {**one, "raw": ["<script>alert(1)</script>\\x00\\x1b zorblaxium"], "expect": {"end": "any"}}
    (cases / "own.json").write_text(json.dumps([hostile]), "utf-8")
    page, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    code, found = stub(leaks_all, tmp_path, "--cases", str(cases), "--html", str(page), "--junit", str(junit))
    assert code == 1
    assert "own.html" in [one["id"] for one in found["leaks"]]
    text = page.read_text("utf-8")
    parsed = Page(text)
    assert not {"script", "b", "img", "link", "iframe"} & set(parsed.tags)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u0000\\u001b zorblaxium" in text
    assert re.search(r"http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';", text)
    tests = list(ElementTree.parse(junit).iter("testcase"))
    assert len(tests) == parsed.tags.count("tr") - parsed.tags.count("table")
    assert any(test.get("name") == "own.html" and test.find("failure") is not None for test in tests)


@pytest.mark.long
def test_the_times_are_reported_as_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To the first text and for each token, and they decide nothing."""
    port = free_port()
    with listening(leaks_all(f"http://127.0.0.1:{port}")) as url:
        main(["conformance", "--target", url, "--listen", f"127.0.0.1:{port}", "--patience", "1"])
    assert re.search(r"^openai +first text \d+\.\d ms, \d+\.\d times as long as direct", capsys.readouterr().out, re.M)
