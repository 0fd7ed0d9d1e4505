"""What the name of a model says, as the model server lists it. What a client calls it says nothing.

Ollama's library and Hugging Face name builds in opposite ways. In Ollama's library a tag of a size alone is the
instruct build (`llama3.1:8b` is `8b-instruct-q4_K_M`), and the base build is `-text-` (issues 5957 and 6040) or, of
models for code, `-base`. On Hugging Face, and so in LM Studio and for GGUF files, it is the absence of Instruct or Chat
that means base (`Llama-3.1-8B`). Absence counts for families that are known, and where nothing else is in the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from proxy.alignment.claims import Evidence, Signal
from proxy.alignment.words import FILL_IN, plain, tuning_votes, unaligned_votes, words_of
from proxy.policy.names import normalise_model
from proxy.policy.schema import Alignment


class Naming(Enum):
    """Whose way of naming builds it is."""

    OLLAMA = "in Ollama's library"
    HUB = "on Hugging Face"


_BASE: Final = frozenset(
    (
        *("pythia", "gpt2", "gptj", "gptneo", "gptneox", "bloom", "opt", "mpt", "falcon", "olmo", "yi", "phi1"),
        *("phi1.5", "phi2", "starcoder", "starcoder2", "codellama", "llama", "llama2", "llama3", "llama3.1"),
        *("llama3.2", "mistral", "mixtral", "gemma", "gemma2", "qwen", "qwen1.5", "qwen2", "qwen2.5"),
        *("qwen2.5coder", "smollm", "smollm2"),
    )
)
"""Families of which Hugging Face has the base model under the name without a word. `llama-3.1` is llama3.1 here."""
_TUNED: Final = frozenset(
    (
        *("deepseekr1", "deepseekr1distillqwen", "deepseekr1distillllama", "deepseekv3", "deepseekv3.1", "gptoss"),
        *("qwq", "qwen3", "qwen3coder", "qwen3next", "gemma3", "gemma3n", "phi3", "phi3.5", "phi4", "phi4mini"),
        *("commandr", "commandrplus", "mistralsmall", "mistralsmall3.1", "mistralsmall3.2", "devstral"),
        *("devstralsmall", "magistral", "magistralsmall", "aya", "ayaexpanse", "vicuna", "zephyr", "openhermes"),
        *("hermes3", "wizardlm2", "tulu3"),
    )
)
"""Families whose plain name is a tuned model everywhere: their base models are called so, or are not published."""
_OLLAMA: Final = _TUNED | frozenset(
    (
        *("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "mistral", "mixtral", "mistralnemo"),
        *("gemma", "gemma2", "qwen", "qwen1.5", "qwen2", "qwen2.5", "qwen2.5coder", "codellama", "codegemma"),
        *("deepseekcoder", "deepseekcoderv2", "smollm2", "olmo2", "falcon3", "granite3.3", "granite4", "tinyllama"),
        *("orcamini", "solar", "exaone3.5", "glm4", "openchat", "nemotronmini", "cogito"),
        *("neuralchat", "starlinglm"),
    )
)
"""Families of Ollama's library of which a tag without a word is an instruct or chat build."""
_OLLAMA_BASE: Final = frozenset(("starcoder", "starcoder2"))

_SIZE = re.compile(r"\d+(?:\.\d+)?[bmt]|\d+x\d+(?:\.\d+)?b|[ae]\d+(?:\.\d+)?b|\d+[ae]")
_NOISE = re.compile(
    r"v?\d+(?:\.\d+)*|i?q\d\w*|[klms]|x{1,2}[sl]|b?f(?:p)?\d+\w*|int\d|\d+bit|\d+k|mlx|gguf|gptq|awq|exl\d|hf|qat|mxfp4|nvfp4"
    r"|ud|i1|imat|imatrix|latest|preview|cloud|gb"
)
"""Versions, dates, quantisations, formats: what says nothing of how a model was tuned."""
_PUBLISHER_WORDS = ("meta", "c4ai")  # they stand before the family
_HUBS = ("hf.co/", "huggingface.co/")
_FILE = re.compile(r"(?:-\d{5}-of-\d{5})?\.(?:gguf|bin|safetensors)$")


def read_name(name: str, naming: Naming, *, embeds: bool = False) -> Iterator[Evidence]:
    """What a name speaks for, with the words that say it. embeds: of such a model `base` and `text` are its size and
    what it reads."""
    text = _FILE.sub("", plain(name))
    if naming is Naming.OLLAMA:
        text = normalise_model(text)
        naming = Naming.HUB if text.startswith(_HUBS) else naming
    if embeds:
        yield from (_word(status, word) for status, word in unaligned_votes(text))
        return
    model = text.rpartition("/")[2]  # what stands before it is who published it
    found = [*unaligned_votes(text), *tuning_votes(model), *_build_votes(model, naming)]
    yield from (_word(status, word) for status, word in found)
    if not found:
        yield from _plain_name(text, naming)


def _word(status: Alignment, word: str) -> Evidence:
    return Evidence(Signal.NAME, status, f'it has "{word}" in it')


def _build_votes(text: str, naming: Naming) -> Iterator[tuple[Alignment, str]]:
    """Words that mean something in some names only."""
    tag = words_of(text.rpartition(":")[2]) if ":" in text else []
    if naming is Naming.OLLAMA and "text" in tag:
        yield "base", "text"
    fill_in = FILL_IN.search(text)
    for word in words_of(text) if fill_in else ():
        if word in ("code", "python") and (word in tag or naming is Naming.HUB):
            yield "base", word


def _plain_name(text: str, naming: Naming) -> Iterator[Evidence]:
    """A name of a family and a size alone."""
    publisher, _, model = text.rpartition("/")
    family = _family(words_of(model))
    if family is None:
        return
    if naming is Naming.OLLAMA and publisher:
        return  # somebody's own: the library's way says nothing of it
    tuned, base = (_OLLAMA, _OLLAMA_BASE) if naming is Naming.OLLAMA else (_TUNED, _BASE)
    if family in tuned or family in base:
        status: Alignment = "instruct" if family in tuned else "base"
        build = f"that is the {status} build of {family}"
        yield Evidence(Signal.NAME, status, f"it is a family's name alone: {naming.value} {build}")


def _family(words: list[str]) -> str | None:
    """The words before the size, as one; None where others than sizes, versions and formats follow."""
    while words and words[0] in _PUBLISHER_WORDS:
        words = words[1:]
    size = next((at for at, word in enumerate(words) if _SIZE.fullmatch(word)), None)
    if size is None:
        stem = [word for at, word in enumerate(words) if not at or not _is_noise(word, words[at - 1])]
        return "".join(stem) or None
    if not all(_SIZE.fullmatch(word) or _NOISE.fullmatch(word) for word in words[size:]):
        return None
    return "".join(words[:size]) or None


def _is_noise(word: str, before: str) -> bool:
    """A number behind a family's letters is part of its name: `phi 4`."""
    is_number = re.fullmatch(r"\d(?:\.\d+)?", word) is not None
    return _NOISE.fullmatch(word) is not None and not (is_number and before.isalpha())
