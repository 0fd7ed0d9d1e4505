"""What model servers say of real models, and what is concluded: the shapes are in tests/data/alignment.

Ollama's and llama.cpp's are like those recorded (tests/data/ollama, tests/dialects/golden), with the metadata that the
files of these models have. LM Studio's and vLLM's are written after their documents.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.alignment.claims import Claim
from proxy.alignment.llama_cpp import from_llama_cpp, from_openai
from proxy.alignment.lmstudio import from_lmstudio
from proxy.alignment.ollama import from_ollama
from tests.fakes.ollama import recorded

DATA: Final = Path(__file__).parent.parent / "data" / "alignment"


def cases(name: str) -> list[Any]:
    """Those of one model server, each with the name of its model as the test's id."""
    found = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return [pytest.param(case, id=_name(case)) for case in found]


def _name(case: dict[str, Any]) -> str:
    entry = case.get("listed") or case.get("entry") or {}
    path = case.get("props", {}).get("model_path", "")
    return str(path or entry.get("name") or entry.get("key") or entry.get("id"))


def check(found: Claim, case: dict[str, Any]) -> None:
    """Status, kind, place and the first reason are those of the case."""
    told = found.why.partition(" (but ")[0].partition("; ")[0]
    assert (found.status, found.kind, found.local, told) == (
        *(case["status"], case["kind"], case.get("local", True), case["why"]),
    )


@pytest.mark.parametrize("case", cases("ollama"))
def test_ollama(case: dict[str, Any]) -> None:
    """GET /api/tags with POST /api/show."""
    found = from_ollama(case["listed"], case["shown"])
    check(found, case)
    assert found.digest == case["listed"]["digest"]


@pytest.mark.parametrize("case", cases("lmstudio_v0") + cases("lmstudio_v1"))
def test_lm_studio(case: dict[str, Any]) -> None:
    """GET /api/v0/models and GET /api/v1/models."""
    check(from_lmstudio(case["entry"]), case)


@pytest.mark.parametrize("case", cases("llama_cpp"))
def test_llama_cpp(case: dict[str, Any]) -> None:
    """GET /props with GET /v1/models."""
    check(from_llama_cpp(case["props"], case["entry"]), case)


@pytest.mark.parametrize("case", cases("openai"))
def test_other_servers_of_openais_dialect(case: dict[str, Any]) -> None:
    """GET /v1/models alone."""
    check(from_openai(case["entry"]), case)


def test_there_are_enough_real_models() -> None:
    """At least thirty names, and every status and kind among them."""
    everything = [
        case.values[0] for name in ("ollama", "lmstudio_v0", "lmstudio_v1", "llama_cpp") for case in cases(name)
    ]
    assert len(everything) >= 30
    assert {case["status"] for case in everything} == {"instruct", "base", "unaligned", "unknown"}
    assert {case["kind"] for case in everything} == {"chat", "completion", "embedding", "guard"}


@pytest.mark.parametrize(
    ("name", "listed", "status"),
    [("show_tiny.json", "tiny:latest", "instruct"), ("show_base.json", "tiny:base", "base")],
)
def test_a_real_ollama(name: str, listed: str, status: str) -> None:
    """As recorded: the list gives fewer capabilities than the description, and the running models the same digest."""
    shown = json.loads(recorded(name))
    entries = {entry["name"]: entry for entry in json.loads(recorded("tags.json"))["models"]}
    loaded = {entry["name"]: entry for entry in json.loads(recorded("ps.json"))["models"]}
    assert from_ollama(entries[listed], shown).status == status
    for entry in (loaded[listed],) if listed in loaded else ():
        assert from_ollama(entry, shown) == from_ollama(entries[listed], shown)


def test_a_list_alone_says_less() -> None:
    """Without its description a model is judged by its name and the capabilities of the list."""
    case = next(c.values[0] for c in cases("ollama") if c.values[0]["listed"]["name"] == "nice-name:latest")
    assert from_ollama(case["listed"], {}).status == "unaligned"  # by what it was made of
    assert from_ollama({"name": "nice-name:latest"}, {}).status == "unknown"
    assert from_ollama({}, {}) == Claim()
