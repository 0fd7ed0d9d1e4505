"""check, test, explain and replay, as an operator types them."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.policy import commands
from proxy.policy.command_line import add_commands
from tests.policies import SHIPPED
from tests.policy.stores import policy

GOOD = """version: 1
policy: house
rules:
  - id: codename
    words: [zorblaxium]
    fold: true
    action: block
    message: Not here.
    examples: {hits: [Zorblåxium], misses: [blaxium]}
  - {id: email, detector: email, action: rewrite, replacement: "[email]"}
  - {id: plus, words: ["c++"], action: flag}
limits: {max_output_characters: 60}
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A directory with one good policy."""
    (tmp_path / "house.yaml").write_text(GOOD)
    return tmp_path


def run(*words: object) -> int:
    """Run a command line; the exit code."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    args = parser.parse_args([str(word) for word in words])
    code: int = args.run(args)
    return code


def test_check_says_what_was_loaded(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hints, a line per rule, and the revision."""
    assert run("check", policies) == 0
    out = capsys.readouterr().out
    assert "hint: " in out
    assert "house/email: rewrite, holds at most 760 characters" in out
    assert "files: 1, rules: 4, revision: " in out


def test_check_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, with exit code 1; as JSON for programs."""
    (tmp_path / "a.yaml").write_text("version: 1\npolicy: a b\nmode: x\n")
    assert run("check", tmp_path) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert run("check", tmp_path, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert len(answer["problems"]) == 2
    assert run("check", tmp_path / "nowhere") == 1
    assert "cannot be read" in capsys.readouterr().err


def test_check_tells_how_far_it_is(
    policies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, when it takes long; the output is the same."""
    monkeypatch.setattr(commands, "PROGRESS_TIME", 1e9)
    assert run("check", policies) == 0
    quick = capsys.readouterr()
    monkeypatch.setattr(commands, "PROGRESS_TIME", 0.0)
    assert run("check", policies) == 0
    slow = capsys.readouterr()
    assert (quick.err, slow.out) == ("", quick.out)
    lines = dict.fromkeys(slow.err.splitlines())
    assert "... read the files" in lines
    assert f"... compile {policies / 'house.yaml'}: 0 of 3 rules" in lines
    assert "... run the examples: 0 of 3 rules" in lines
    assert "... prepare the matchers" in lines


def test_check_as_json(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same, for programs."""
    assert run("check", policies, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert len(answer["revision"]) == 64
    assert (len(answer["rules"]), len(answer["hints"])) == (4, 1)


def test_test_prints_a_table(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each example, and how many failed."""
    assert run("test", policies) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:-1]] == [
        ["ok", "house/codename", "hits"],
        ["ok", "house/codename", "misses"],
    ]
    assert lines[-1] == "2 examples, 0 failed"


def test_test_shows_which_example_fails(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, a FAIL in the table, and the place."""
    (policies / "house.yaml").write_text(GOOD.replace("[blaxium]", "[blaxium, zorblaxium]"))
    assert run("test", policies) == 1
    captured = capsys.readouterr()
    assert "FAIL  house/codename  misses   `zorblaxium`" in captured.out
    assert "house.yaml:9:54: rule codename: the rule finds `zorblaxium`" in captured.err
    assert run("test", policies, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert [example["passed"] for example in answer["examples"]] == [True, True, False]
    assert answer["ok"] is False


def test_test_tells_of_other_problems_too(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be loaded is no success, whatever its examples do."""
    (policies / "house.yaml").write_text(GOOD + "mood: x\n")
    assert run("test", policies) == 1
    captured = capsys.readouterr()
    assert "2 examples, 0 failed, 1 problems" in captured.out
    assert "unknown key `mood`" in captured.err


def explained(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """What `explain --json` says."""
    assert run("explain", *words, "--json") == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_explain_shows_what_each_rule_sees(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Spans in the text as it is, the folded view, the verdict, and what the user gets."""
    assert run("explain", policies, "to a@b.cd about ＺORBLАXIUM") == 0
    out = capsys.readouterr().out
    assert "folded    `to a@b.cd about zorblaxium`" in out
    assert "house/codename                      block       16-26 `ＺORBLАXIUM`" in out
    assert "house/email                         rewrite     3-9 `a@b.cd`" in out
    assert "house/plus                          flag        -" in out
    assert "verdict   blocked by house/codename" in out
    assert "let out   `to [email] about `" in out
    assert "notice    Not here." in out


def test_explain_as_json(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same, for programs."""
    answer = explained(capsys, policies, "to", "a@b.cd")
    assert (answer["verdict"], answer["out"]) == ("rewritten", "to [email]")
    assert [rule["spans"] for rule in answer["rules"]] == [[], [[3, 9]], [], []]


def test_explain_names_the_detector_and_why_a_candidate_does_not_count(
    policies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people and for programs."""
    assert run("explain", policies, "icon@2x.png and a@b.cd") == 0
    out = capsys.readouterr().out
    assert "16-22 `a@b.cd`  (detector email)" in out
    assert "not `icon@2x.png`: there is no such top-level domain" in out
    answer = explained(capsys, policies, "icon@2x.png")
    rule = next(rule for rule in answer["rules"] if rule["rule"] == "house/email")
    reason = "there is no such top-level domain"
    assert (rule["detector"], rule["dropped"]) == ("email", [{"text": "icon@2x.png", "reason": reason}])


@pytest.mark.parametrize(
    ("flags", "applies"),
    [
        ([], False),
        (["--direction", "input", "--role", "user"], True),
        (["--direction", "input", "--role", "system"], False),
        (["--direction", "input", "--role", "user", "--channel", "reasoning"], False),
        (["--direction", "input", "--role", "user", "--model", "llama3"], True),
        (["--direction", "input", "--role", "user", "--alignment", "instruct"], False),
    ],
)
def test_explain_asks_whose_text_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], applies: bool
) -> None:
    """The flags choose what applies, as a request would."""
    scope = "applies_to: {directions: [input], roles: [user], channels: [content], alignment: [unknown]}\n"
    (tmp_path / "a.yaml").write_text(policy("bomb") + scope)
    answer = explained(capsys, tmp_path, "bomb", *flags)
    assert answer["rules"][0]["spans"] == ([[0, 4]] if applies else None)
    assert answer["verdict"] == ("rewritten" if applies else "passed")


def test_explain_reads_standard_input(
    policies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a text on the command line."""
    monkeypatch.setattr("sys.stdin", io.StringIO("line one\na@b.cd\n"))
    assert explained(capsys, policies)["out"] == "line one\n[email]"


def test_explain_with_wrong_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and the problems."""
    (tmp_path / "a.yaml").write_text("")
    assert run("explain", tmp_path, "x") == 1
    assert "the file is empty" in capsys.readouterr().err


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Policies that block more and rewrite less."""
    directory = tmp_path / "other"
    directory.mkdir()
    text = GOOD.replace("[zorblaxium]", "[zorblaxium, secret]").replace("action: rewrite", "action: flag")
    (directory / "house.yaml").write_text(text.replace(', replacement: "[email]"', ""))
    return directory


def test_replay_shows_what_would_change(policies: Path, other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts that both treat the same are counted only."""
    recorded = policies / "texts.jsonl"
    lines = ['"a secret"', "", '{"text": "a@b.cd", "direction": "input", "role": "user"}', '"nothing"', '"zorblaxium"']
    recorded.write_text("\n".join(lines))
    assert run("replay", policies, "--against", other, recorded) == 0
    assert capsys.readouterr().out.splitlines() == [
        "line 1: `a secret`",
        "  before  passed: `a secret`",
        "  after   blocked (house/codename): `a `",
        "line 3: `a@b.cd`",
        "  before  rewritten (house/email): `[email]`",
        "  after   flagged (house/email): `a@b.cd`",
        "2 of 4 texts change",
    ]
    assert run("replay", policies, "--against", other, recorded, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["texts"], [change["line"] for change in answer["changed"]]) == (4, [1, 3])
    assert answer["changed"][0]["after"] == {"verdict": "blocked", "rules": ["house/codename"], "out": "a "}


def record(mode: str, prompt: str, answer: str, *rules: str) -> str:
    """A record of the decision log, as far as replay reads it: `rules` found something in the answer."""
    found = [{"policy": name.partition("/")[0], "rule": name.partition("/")[2]} for name in rules]
    shared = {"channel": "content", "choice": 0, "json": False, "left_out": 0}
    asked = {**shared, "role": "user", "text": prompt, "findings": []}
    said = {**shared, "role": "assistant", "text": answer, "findings": found}
    texts = {"texts": {"prompt": [asked], "answer": [said]}} if mode != "none" else {}
    return json.dumps({"id": "c0ffee", "model": "m", "record_text": mode, **texts})


def test_replay_reads_the_decision_log(policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorded texts under today's policies: what is found now and was not, and what is found no longer. What was
    masked cannot be found again."""
    recorded = tmp_path / "decisions.jsonl"
    name, hit = "house/codename", "zorblaxium"
    lines = [
        record("none", "", ""),
        record("full", "nothing", f"it is {hit}", name),
        record("full", "nothing", f"it is {hit}"),
        record("full", "nothing", "it is nothing", name),
        record("masked", f"new {hit}", f"it is [{name}]", name),
    ]
    recorded.write_text("\n".join(lines), "utf-8")
    assert run("replay", policies, recorded, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["texts"] == 8
    assert [(one["line"], one["direction"], one["new"], one["gone"]) for one in told["changed"]] == [
        (3, "output", [name], []),
        (4, "output", [], [name]),
        (5, "input", [name], []),
    ]
    assert run("replay", policies, recorded) == 0
    out = capsys.readouterr().out
    assert "line 3, request c0ffee, answer, content: `it is" in out
    assert "3 of 8 texts change" in out


def test_replay_of_records_without_texts_says_so(
    policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a line that does not say what was found in it needs something to compare with."""
    recorded = tmp_path / "decisions.jsonl"
    recorded.write_text(record("none", "", ""), "utf-8")
    assert run("replay", policies, recorded) == 0
    assert "records have texts only where record_text is masked or full" in capsys.readouterr().out
    recorded.write_text('"a text of one\'s own"', "utf-8")
    assert run("replay", policies, recorded) == 2
    assert "line 1: it does not say what was found in it then; compare with --against" in capsys.readouterr().err
    recorded.write_text('{"record_text": "full", "texts": {"prompt": [{"text": "x"}]}}', "utf-8")
    assert run("replay", policies, recorded) == 2
    assert "line 1: no record that this version writes" in capsys.readouterr().err


@pytest.mark.parametrize(("data", "wrong"), [(None, "(No such file or directory)"), (b"\xff", "it is not UTF-8 text")])
def test_replay_says_why_a_file_cannot_be_read(
    policies: Path, capsys: pytest.CaptureFixture[str], data: bytes | None, wrong: str
) -> None:
    """The file is named once, and what was expected."""
    recorded = policies / "texts.jsonl"
    if data is not None:
        recorded.write_bytes(data)
    assert run("replay", str(policies), "--against", str(policies), str(recorded)) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{recorded}: cannot be read")
    assert wrong in said
    assert said.count(str(recorded)) == 1


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("{", "line 2: not JSON"),
        ("3", "line 2: neither a string nor an object"),
        ('{"txt": "a"}', "line 2: neither a string nor an object"),
        ('{"text": "a", "channel": "contents"}', "line 2: 'contents' is not a valid channel"),
    ],
)
def test_replay_names_a_line_that_it_cannot_read(
    policies: Path, capsys: pytest.CaptureFixture[str], line: str, wrong: str
) -> None:
    """Exit code 2, and the line's number."""
    recorded = policies / "texts.jsonl"
    recorded.write_text(f'"fine"\n{line}\n')
    assert run("replay", policies, "--against", policies, recorded) == 2
    assert wrong in capsys.readouterr().err


def test_shipped_policies_pass_their_own_tests(capsys: pytest.CaptureFixture[str]) -> None:
    """What a newcomer starts with is right."""
    assert run("test", SHIPPED) == 0
