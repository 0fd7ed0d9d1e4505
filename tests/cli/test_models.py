"""`safety-proxy models`: the table, the JSON, the exit codes, and what is wrong in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli.arguments import main
from tests.fakes import FakeUpstreamThread, reply, reply_json
from tests.fakes.ollama import Ollama

POLICIES = {
    "all.yaml": "version: 1\npolicy: all\nrules: [{id: r, words: [w], action: flag}]\n",
    "base.yaml": (
        "version: 1\npolicy: bounds\nmode: monitor\napplies_to: {alignment: [base, unaligned, unknown]}\n"
        "rules: [{id: r, words: [w], action: flag}]\n"
    ),
}


def real() -> Ollama:
    """The recorded one, which says that it is one."""
    return Ollama({"GET /api/version": reply_json({"version": "0.12.6"})})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of two policies."""
    for name, text in POLICIES.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture
def ollama() -> Iterator[str]:
    """The URL of a model server with an instruct model, a base model and others."""
    with FakeUpstreamThread(real()) as upstream:
        yield upstream.url


def run(folder: Path, url: str, *more: str) -> int:
    """The command in front of a model server."""
    return main(["models", "--policies", str(folder), "--upstream", url, *more])


def test_a_table(folder: Path, ollama: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each model: status, kind, digest, the policies that apply, and why."""
    assert run(folder, ollama) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "backend", "status", "kind", "digest", "policies", "why"]
    rows = {line.split()[0]: line for line in lines[1:] if line.startswith(("tiny", "go"))}
    base = rows["tiny:base"]
    assert f"{ollama}  base      completion  " in base
    assert "all, bounds (monitor)  template: it is {{ .Prompt }}, which is no chat format at all" in base
    assert "  instruct  chat        " in rows["tiny:latest"]
    assert '  all                    metadata: general.finetune has "instruct" in it' in rows["tiny:latest"]
    assert lines[-1].startswith("A status is what a model claims")


def test_json(folder: Path, ollama: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs, with all the evidence."""
    assert run(folder, ollama, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    row = next(row for row in told["models"] if row["model"] == "tiny:base")
    assert (row["status"], row["policies"], row["disagree"]) == ("base", ["all", "bounds (monitor)"], False)
    assert [one["signal"] for one in row["evidence"]] == ["template", "name"]
    assert (told["silent"], told["unused_reviews"]) == ([], [])


def test_a_status_can_be_required(folder: Path, ollama: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For CI: exit code 1, and a sentence for each model that is something else."""
    assert run(folder, ollama, "--require", "instruct") == 1
    told = capsys.readouterr().err
    assert "safety-proxy: tiny:base is base, not instruct: template: it is {{ .Prompt }}" in told
    assert "tiny:latest is" not in told
    assert run(folder, ollama, "--require", "instruct", "--json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_where_all_are_instruct_the_code_is_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the operator says so; a model that embeds says nothing, so it need not be."""
    ollama = real()
    ollama.tags["models"] = [one for one in ollama.tags["models"] if one["name"] in ("tiny:latest", "tiny:base")]
    ollama.shown["tiny:base"]["capabilities"] = ["embedding"]
    ollama.tags["models"][1].pop("capabilities", None)
    for entry in ollama.tags["models"]:
        entry.pop("capabilities", None)
    with FakeUpstreamThread(ollama) as upstream:
        assert run(folder, upstream.url, "--require", "instruct") == 0
    ollama.shown["tiny:base"]["capabilities"] = ["completion"]
    (folder / "models.yaml").write_text("version: 1\nmodels:\n  - {model: tiny:base, status: instruct}\n", "utf-8")
    with FakeUpstreamThread(ollama) as upstream:
        assert run(folder, upstream.url, "--require", "instruct") == 0


def test_a_review_that_applies_to_nothing_is_told(
    folder: Path, ollama: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong digest, a wrong name: with the place in the file and what to do."""
    own = folder / "own.yaml"
    own.write_text(
        "version: 1\nmodels:\n  - {model: tiny, digest: abcdefabcdef, status: base}\n  - {model: gone, status: base}\n"
        "  - {digest: fedcbafedcba, status: base}\n",
        "utf-8",
    )
    own.rename(folder / "models.yaml")
    assert run(folder, ollama) == 0
    told = capsys.readouterr().err
    place = folder / "models.yaml"
    assert f"{place}:3:5: the review of model 'tiny:latest' does not apply: it is for the digest abcdefabcdef" in told
    assert f"{place}:4:5: no model has the name gone, so this review applies to none; correct or remove it" in told
    assert f"{place}:5:5: no model has the digest fedcbafedcba, so this review applies to none" in told
    assert run(folder, ollama, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["unused_reviews"]) == 2


def test_a_wrong_models_file_stops_it(folder: Path, ollama: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Like a wrong policy: place, reason and fix; exit code 2."""
    (folder / "models.yaml").write_text("version: 1\nmodels:\n  - {digest: sha256-x, status: base}\n", "utf-8")
    assert run(folder, ollama) == 2
    assert "models.yaml:3:14: model 1: `sha256-x` cannot be `digest`: write 12 to 64" in capsys.readouterr().err
    (folder / "models.yaml").unlink()
    assert run(folder, ollama, "--models-file", str(folder / "none.yaml")) == 2
    assert "there is no such file: write it, or leave the setting models_file out" in capsys.readouterr().err


def test_a_model_server_that_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, and exit code 2: nobody there, and something else than a model server."""
    assert run(folder, "http://127.0.0.1:1") == 2
    assert capsys.readouterr().err.startswith("safety-proxy: the model server at http://127.0.0.1:1 does not answer")
    with FakeUpstreamThread(reply(b"<html>", content_type="text/html"), tells_models=True) as upstream:
        assert run(folder, upstream.url) == 2
    assert f"the model server at {upstream.url} answers, but is none of Ollama" in capsys.readouterr().err


def test_a_terminal_does_not_obey_the_name_of_a_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are shown as escapes."""
    ollama = real()
    ollama.tags["models"] = [{**ollama.tags["models"][0], "name": "x\x1b[31m", "model": "x"}]
    with FakeUpstreamThread(ollama) as upstream:
        assert run(folder, upstream.url) == 0
    assert "x\\x1b[31m" in capsys.readouterr().out
