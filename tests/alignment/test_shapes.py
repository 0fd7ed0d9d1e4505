"""What model servers say of real models, and what is concluded: the shapes are in tests/data/alignment.

Ollama's and llama.cpp's are like those recorded (tests/data/ollama, tests/dialects/golden), with the metadata that the
files of these models have. LM Studio's and vLLM's are written after their documents.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.alignment.claims import Claim
from proxy.alignment.llama_cpp import from_llama_cpp, from_openai
from proxy.alignment.lmstudio import from_lmstudio, names_of
from proxy.alignment.ollama import from_ollama
from tests.fakes.ollama import recorded

KEYS: Final = st.sampled_from(
    (
        *("name", "model", "digest", "details", "parent_model", "capabilities", "template", "model_info", "renderer"),
        *("general.finetune", "general.basename", "general.base_model.0.name", "general.tags", "remote_model", "id"),
        *(
            "key",
            "display_name",
            "type",
            "variants",
            "selected_variant",
            "loaded_instances",
            "chat_template",
            "aliases",
        ),
        *("model_path", "model_alias", "root", "trained_for_tool_use", "reasoning"),
    )
)
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


def test_a_model_that_embeds_and_talks_is_no_embedding_model() -> None:
    """What comes out of it is text too, so its status counts."""
    shown = {"capabilities": ["completion", "embedding"], "template": "{{ .Prompt }}"}
    found = from_ollama({"name": "nomic-embed-text:latest"}, shown)
    assert (found.status, found.kind) == ("base", "completion")


def test_a_list_alone_says_less() -> None:
    """Without its description a model is judged by its name and the capabilities of the list."""
    case = next(c.values[0] for c in cases("ollama") if c.values[0]["listed"]["name"] == "nice-name:latest")
    assert from_ollama(case["listed"], {}).status == "unaligned"  # by what it was made of
    assert from_ollama({"name": "nice-name:latest"}, {}).status == "unknown"
    assert from_ollama({}, {}) == Claim()


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=9)
    | st.sampled_from(["embedding", "{{ .Prompt }}", "x-base"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
"""What a program might say that only looks like a model server."""


@given(st.dictionaries(KEYS, ANYTHING, max_size=6), st.dictionaries(KEYS, ANYTHING, max_size=6))
def test_nothing_that_is_said_is_too_odd(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Every answer leads to a status, whatever stands where."""
    for found in (from_ollama(one, other), from_llama_cpp(one, other), from_lmstudio(one), from_openai(one)):
        assert found.status in ("instruct", "base", "unaligned", "unknown")
        assert found.kind in ("chat", "completion", "embedding", "guard")
        assert all(evidence.reason.isprintable() for evidence in found.evidence)
    assert all(isinstance(name, str) for name in names_of(one))
