"""The command as a person meets it: what it prints, what it says of a mistake, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from proxy import __version__
from proxy.cli import main
from proxy.demo.backend import DemoBackend
from tests import plain_http
from tests.policies import COPIES
from tests.waiting import PATIENCE

ALONE = f"import proxy.startup.discovery as d; d.KNOWN = (); d.PATIENCE = {PATIENCE}; "
ALONE += "import sys; from proxy.cli import main; sys.exit(main())"
FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
POLICY = """
version: 1
policy: house
rules:
  - id: words.one
    words: ["zorblaxium"]
    action: block
"""


class Ended(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own settings counts."""
    monkeypatch.chdir(tmp_path)
    for key in [key for key in os.environ if key.startswith("SAFETY_PROXY_")]:
        monkeypatch.delenv(key)


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A directory with one policy."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "house.yaml").write_text(POLICY, "utf-8")
    return folder


def command(*args: str | Path) -> list[str]:
    """The command line of a safety-proxy that finds no model server on this machine."""
    return [sys.executable, "-c", ALONE, *map(str, args)]


def run(*args: str | Path) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=PATIENCE, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


@contextmanager
def serving(*args: str | Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running proxy on free ports, with the lines of its banner."""
    process = subprocess.Popen(
        command("serve", *FREE, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("try"):
                break
        yield process, lines
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def ended(process: subprocess.Popen[str], how: signal.Signals) -> Ended:
    """Send a signal and wait for the end."""
    process.send_signal(how)
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out, err)


def value(lines: list[str], label: str) -> str:
    """What stands behind a label in the banner."""
    return next(line[10:] for line in lines if line.startswith(f"{label} "))


# -- mistakes


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["srve"], "srve is not a command; did you mean serve? (safety-proxy --help lists them)"),
        (
            ["serve", "--lisen", "x"],
            "--lisen is not a flag; did you mean --listen? (safety-proxy serve --help lists them)",
        ),
        (["serve", "--list=x"], "--list is not a flag; did you mean --listen?"),
        (["serve", "x"], "'x' is one argument too many"),
        (["serve", "--listen"], "argument --listen: expected one argument"),
        (["demo", "--sped", "2"], "--sped is not a flag; did you mean --speed?"),
        (["demo", "--speed", "fast"], "flag --speed takes a number; 0 is as fast as possible (it is 'fast')"),
        (["serve", "--upstream", "host:99999"], "flag --upstream has the port '99999'"),
        (["serve", "--config", "no.toml"], "no.toml cannot be read: No such file or directory"),
        (["serve", "--listen", ":9435"], "listen and admin are both 127.0.0.1:9435; they need two ports"),
        (
            ["serve", "--upstream", ":11435"],
            "upstream is http://127.0.0.1:11435, which is where the proxy itself listens",
        ),
        (["serve", "--listen", "0.0.0.0:80", "--upstream", "http://localhost"], "which is where the proxy itself"),
        (["serve", "--policies", "nowhere"], "nowhere: cannot be read (No such file or directory)"),
        (["test"], "the following arguments are required: DIR"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    args: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is wrong and how to fix it; there is no traceback and no page of usage."""
    assert main(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("safety-proxy: ")
    assert expected in said.err


def test_an_unknown_variable_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt variable is no reason to guard less than the operator thinks."""
    monkeypatch.setenv("SAFETY_PROXY_POLICES", "x")
    assert main(["serve"]) == 2
    assert "SAFETY_PROXY_POLICES is not a setting; did you mean SAFETY_PROXY_POLICIES?" in capsys.readouterr().err


def test_a_bad_policy_stops_the_start_with_every_problem(policies: Path) -> None:
    """Each problem is a line with file, line and column; exit code 2, and nothing is told twice."""
    (policies / "house.yaml").write_text(POLICY.replace("words: [", "wrods: [").replace("block", "blok"), "utf-8")
    got = run("serve", *FREE, "--policies", policies)
    assert got.code == 2
    assert got.out == ""
    assert "Traceback" not in got.err
    lines = got.err.splitlines()
    assert len(lines) == len(set(lines)) >= 2
    assert all(re.match(r"safety-proxy: .*house\.yaml:\d+:\d+: ", line) for line in lines)


def test_a_directory_without_a_rule_stops_the_start_unless_that_is_wanted(policies: Path) -> None:
    """A proxy that checks nothing has to be asked for."""
    (policies / "house.yaml").unlink()
    got = run("serve", *FREE, "--policies", policies)
    assert (got.code, got.out, got.err.count("\n")) == (2, "", 1)
    with serving("--policies", policies, "--allow-empty") as (process, lines):
        assert value(lines, "policies") == "none: everything passes"
        assert ended(process, signal.SIGINT).code == 0


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_a_port_in_use_is_one_line(policies: Path, flag: str) -> None:
    """It names the address and says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        got = run("serve", *FREE, flag, place, "--policies", policies, "--upstream", ":9")
    assert got.code == 2
    assert got.err.splitlines()[-1].startswith(f"safety-proxy: cannot listen on {place}: the address is in use")
    assert "Traceback" not in got.err
    assert got.out == ""


# -- a running proxy


def test_without_a_model_server_the_demo_model_answers_and_everything_says_so(policies: Path) -> None:
    """Banner and log tell it plainly, and a chat through the proxy works."""
    with serving("--policies", policies, "--demo-pace", "0") as (process, lines):
        base_url = value(lines, "base_url")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", base_url)
        assert "demo model: scripted answers, since no model server was found" in value(lines, "upstream")
        assert value(lines, "policies") == "house (1 rule)"
        with plain_http.client(trust_env=False) as client:
            body = {"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}
            answer = client.post(f"{base_url}/chat/completions", json=body).json()
            assert "I am the demo model" in answer["choices"][0]["message"]["content"]
            assert client.get(value(lines, "admin") + "/healthz").status_code == 200
        got = ended(process, signal.SIGINT)
    assert got.code == 0
    assert "the demo model at http://127.0.0.1:" in got.err
    assert "Traceback" not in got.err


def test_the_command_on_the_banner_streams(policies: Path) -> None:
    """What stands behind `try` can be pasted as it is."""
    with serving("--policies", policies, "--demo-pace", "0") as (_, lines):
        done = subprocess.run(
            value(lines, "try"), shell=True, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.stdout.startswith("data: {")
    assert done.stdout.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told_to(policies: Path, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: exit code 0, no traceback."""
    with serving("--policies", policies) as (process, _):
        got = ended(process, how)
    assert got.code == 0
    assert "Traceback" not in got.err


def test_a_hash_key_may_have_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long key works like a short one, and the tag stays the same over restarts."""
    monkeypatch.setenv("SAFETY_PROXY_HASH_KEY", "x" * 200)
    body = {"model": "demo", "messages": [{"role": "user", "content": "Show me how to deploy with a key."}]}
    pace = ("--policies", COPIES, "--demo-pace", "0")
    tags = []
    for _ in range(2):
        with serving(*pace) as (_, lines), plain_http.client(trust_env=False) as client:
            answer = client.post(f"{value(lines, 'base_url')}/chat/completions", json=body).text
            tags += re.findall(r"\[api_key:\w+\]", answer)
    assert len(tags) == 2
    assert tags[0] == tags[1]


def test_the_log_can_be_json(policies: Path) -> None:
    """One object a line on stderr, nothing else."""
    with serving("--policies", policies, "--log-format", "json") as (process, _):
        got = ended(process, signal.SIGTERM)
    events = [json.loads(line) for line in got.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(events[0])
    assert any("demo model" in event["message"] and event["level"] == "warning" for event in events)


def test_what_a_rule_did_is_in_the_log_under_the_requests_id(policies: Path) -> None:
    """A user who reads a notice can name the request, and the operator finds the rule; no text of either is there."""
    with serving("--policies", policies, "--log-format", "json") as (process, lines):
        body = {"model": "demo", "messages": [{"role": "user", "content": "a zorblaxium diary"}]}
        refused = plain_http.post(f"{value(lines, 'base_url')}/chat/completions", json=body, trust_env=False)
        got = ended(process, signal.SIGTERM)
    (record,) = [event["exchange"] for line in got.err.splitlines() if "exchange" in (event := json.loads(line))]
    assert record["id"] == refused.headers["x-safety-proxy-request-id"]
    assert record["outcome"] == "blocked"
    assert [finding["action"] for finding in record["findings"]] == ["block"]
    assert "diary" not in got.err


def test_a_named_model_server_is_shown_with_one_of_its_models(policies: Path) -> None:
    """The curl line names a model that the server has; what does not answer yet is said to do so."""
    with DemoBackend(0) as backend, serving("--policies", policies, "--upstream", backend.url) as (process, lines):
        assert value(lines, "upstream") == backend.url
        assert '"model":"demo"' in value(lines, "try")
        assert ended(process, signal.SIGINT).code == 0
    with serving("--policies", policies, "--upstream", "127.0.0.1:9", "--admin", "off") as (_, lines):
        assert "          does not answer yet; requests get 502 until it does" in lines
        assert value(lines, "admin") == "off"


# -- other commands


def test_config_shows_what_is_in_force_and_where_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One aligned line a setting; a secret is not shown."""
    monkeypatch.setenv("SAFETY_PROXY_UPSTREAM_KEY", "s3cret")
    assert main(["config", "--listen", ":1", "--allow-empty"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^listen +127\.0\.0\.1:1 +flag --listen$", out, re.MULTILINE)
    assert re.search(r"^allow_empty +true +flag --allow-empty$", out, re.MULTILINE)
    assert re.search(r"^upstream_key +\(hidden\) +variable SAFETY_PROXY_UPSTREAM_KEY$", out, re.MULTILINE)
    assert "s3cret" not in out


def test_the_demo_needs_no_terminal_and_no_network() -> None:
    """Raw and guarded text one after the other, then a table; nothing that a rule hides stands in a guarded text."""
    got = run("demo", "--speed", "0")
    assert got.code == 0
    assert got.err == ""
    assert "\033" not in got.out
    guarded = re.findall(r"what the chat app shows:\n((?:    .*\n|\n)+?)\n(?=>|rule)", got.out)
    assert len(guarded) == 3
    assert "[email]" in guarded[0]
    assert "ghp_" not in guarded[1]
    assert "Project Zorblax" not in "".join(guarded)
    assert "Project Zorblax" in got.out
    assert re.search(r"^demo/words\.codename +blocked +Project Zorblax ", got.out, re.MULTILINE)
    assert re.search(r"^demo/pii\.email +rewritten +bob\.miller@example\.com ", got.out, re.MULTILINE)


def test_the_demo_takes_a_prompt_and_shows_a_refusal() -> None:
    """A prompt that a rule blocks never reaches the model."""
    got = run("demo", "--speed", "0", "--policies", COPIES, "Tell", "me", "about", "zorblaxium")
    assert "> Tell me about zorblaxium" in got.out
    assert "[400] That project is not discussed here." in got.out
    assert "after 0 of " in got.out


def test_policy_commands_are_there(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """check and explain work on a directory; a bad one is exit code 1."""
    assert main(["check", str(policies)]) == 0
    assert main(["explain", str(policies), "Zorblaxium!"]) == 0
    assert "house/words.one" in capsys.readouterr().out
    (policies / "house.yaml").write_text("version: 2\n", "utf-8")
    assert main(["check", str(policies)]) == 1


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Both print and end with 0, also without a command."""
    for args in (["--help"], ["--version"], ["serve", "--help"], []):
        with pytest.raises(SystemExit) as done:
            main(args)
        assert done.value.code == 0
    out = capsys.readouterr().out
    assert __version__ in out
    assert "--max-body SIZE" in out


def test_the_module_is_the_command() -> None:
    """python -m proxy does what safety-proxy does."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == f"{__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`safety-proxy config | head -1` ends without a complaint."""
    with subprocess.Popen(command("config"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""
