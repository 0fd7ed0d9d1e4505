"""What names of models say, in Ollama's library and on Hugging Face."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.alignment.names import _BASE, _OLLAMA, _OLLAMA_BASE, _TUNED, Naming, read_name
from proxy.alignment.words import INSTRUCT_WORDS, UNALIGNED_WORDS, is_embedding, is_guard, plain

OLLAMA, HUB = Naming.OLLAMA, Naming.HUB


def statuses(name: str, naming: Naming) -> set[str]:
    """What it speaks for."""
    return {str(one.says) for one in read_name(name, naming)}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("llama3.1:8b", "instruct"), ("llama3.1", "instruct"), ("llama3.1:8b-text-q4_K_M", "base"),
        ("registry.ollama.ai/library/llama3.1:latest", "instruct"), ("llama3.1:8b-instruct-fp16", "instruct"),
        ("llama3.1:8b-base", "base"), ("mistral:7b-text", "base"), ("mistral", "instruct"),
        ("codellama:7b-code", "base"), ("codellama:7b-python", "base"), ("codellama:7b-instruct", "instruct"),
        ("codegemma:2b-code", "base"), ("qwen2.5-coder:7b-base", "base"), ("qwen2.5-coder:7b", "instruct"),
        ("starcoder2:3b", "base"), ("gemma3:4b-it-qat", "instruct"), ("gemma3:4b-pt-q4_0", "base"),
        ("llama3-groq-tool-use:8b", "instruct"), ("dolphin3:8b", "unaligned"), ("dolphin-llama3", "unaligned"),
        ("llama2-uncensored:7b", "unaligned"), ("someone/model:un-censored", "unaligned"),
        ("mlabonne/gemma-heretic", "unaligned"), ("uncensored-people/llama3.1:8b", "unaligned"),
        ("hf.co/QuantFactory/Meta-Llama-3-8B-GGUF:Q4_K_M", "base"),
        ("hf.co/bartowski/Qwen2.5-7B-Instruct-GGUF", "instruct"),
    ],
)  # fmt: skip
def test_ollama(name: str, status: str) -> None:
    """A size alone is the instruct build, `text` in a tag the base build."""
    assert statuses(name, OLLAMA) == {status}


@pytest.mark.parametrize(
    "name",
    ["our-own", "someone/llama3.1:8b", "llama3.1-tuned:8b", "full-text-search", "italian:it"],
)
def test_ollama_says_nothing(name: str) -> None:
    """Of somebody's own models, of embedding models, and where `text` or `it` stand for something else."""
    assert statuses(name, OLLAMA) == set()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "instruct"), ("Meta-Llama-3.1-8B-Q4_K_M.gguf", "base"),
        ("llama-2-7b.Q4_0.gguf", "base"), ("llama-2-7b-chat.Q4_0.gguf", "instruct"), ("mistral-7b-v0.3", "base"),
        ("Mixtral-8x7B-v0.1", "base"), ("google/gemma-3-12b", "instruct"), ("gemma-2-9b", "base"),
        ("qwen/qwen3-8b", "instruct"), ("Qwen3-8B-Base", "base"), ("phi-4-Q4_K_M.gguf", "instruct"),
        ("phi-2.Q4_K_M.gguf", "base"), ("CodeLlama-7b-Python-hf", "base"), ("CodeLlama-7b-Instruct-hf", "instruct"),
        ("ＭＥＴＡ-Ｌｌａｍａ-3-8B", "base"), ("Llama-3.1-8B-Uncensored", "unaligned"),
    ],
)  # fmt: skip
def test_hugging_face(name: str, status: str) -> None:
    """The absence of Instruct, Chat or it means base, where the family is known and nothing else is in the name."""
    assert statuses(name, HUB) == {status}


@pytest.mark.parametrize(
    "name",
    ["tiny", "Llama-3.1-8B-of-ours", "llamantino-2-7b-it", "bode-7b-pt-br", "llama3-8b-text", "", "instructlab/x"],
)
def test_hugging_face_says_nothing(name: str) -> None:
    """Of unknown families and words, of languages, and of who published it."""
    assert statuses(name, HUB) == set()


@pytest.mark.parametrize("name", ["nomic-embed-text", "snowflake-arctic-embed:text-base", "bge-base-en-v1.5"])
def test_of_a_model_that_embeds_they_mean_something_else(name: str) -> None:
    """`base` is its size, `text` what it reads; but the name alone does not make it such a model."""
    for naming in Naming:
        assert list(read_name(name, naming, embeds=True)) == []
    assert statuses("bge-base:7b", OLLAMA) == {"base"}


def test_words_that_disagree_all_count() -> None:
    """The worst of them wins later."""
    assert statuses("gemma-3-27b-it-abliterated", HUB) == {"instruct", "unaligned"}
    assert statuses("knowledge-base-chat", OLLAMA) == {"instruct", "base"}


def test_kinds() -> None:
    """Models that embed, and models that judge."""
    assert all(
        map(is_embedding, ("nomic-embed-text", "embeddinggemma:300m", "bge-m3", "all-minilm", "qwen3-embedding"))
    )
    assert not any(map(is_embedding, ("llama3.1:8b-text", "member-chat", "e5")))
    assert all(map(is_guard, ("llama-guard3:8b", "shieldgemma:2b", "granite3-guardian", "qwen3guard-gen", "wildguard")))
    assert not any(map(is_guard, ("llama3", "vanguards")))


@given(st.text(), st.sampled_from(Naming))
def test_any_text_can_be_read(name: str, naming: Naming) -> None:
    """And spelled in other cases it says the same. The reasons hold words of our own only."""
    found = list(read_name(name, naming))
    assert found == list(read_name(plain(name).upper(), naming)) or plain(plain(name).upper()) != plain(name)
    assert all(one.reason.isascii() and one.reason.isprintable() for one in found)


@given(
    st.from_regex(r"[a-z]{0,4}(chat|instruct|base|dolphin|uncensored)[a-z0-9]{0,9}(:[a-z0-9]{0,9})?", fullmatch=True)
)
def test_reasons_hold_words_of_our_own(name: str) -> None:
    """Whatever somebody has made up around them: clients see the reasons."""
    own = {"chat", "instruct", "base", "dolphin", "uncensor", "text", "it", "pt", *UNALIGNED_WORDS, *INSTRUCT_WORDS}
    for naming in Naming:
        quoted = [word for one in read_name(name, naming) for word in re.findall(r'"(.*?)"', one.reason)]
        assert {*quoted} <= own


@given(
    st.sampled_from(sorted(_OLLAMA | _OLLAMA_BASE)),
    st.sampled_from(["", ":latest", ":7b", ":70b", ":8x7b", ":7b-q4_K_M"]),
)
def test_families_of_ollama(family: str, tag: str) -> None:
    """Every family of the table, as the library writes sizes and quantisations."""
    assert statuses(family + tag, OLLAMA) == {"base" if family in _OLLAMA_BASE else "instruct"}


@given(st.sampled_from(sorted(_BASE | _TUNED)), st.sampled_from(["-7b", "-8x7B-v0.1", "-1.1B-GGUF", "-7B.Q4_K_M.gguf"]))
def test_families_of_hugging_face(family: str, rest: str) -> None:
    """Every family of the table, as files are called there."""
    assert statuses(family + rest, HUB) == {"base" if family in _BASE else "instruct"}
