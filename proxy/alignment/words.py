"""The words in names and metadata that say what a model is.

Sources: the tags of Ollama's library, names on Hugging Face, `general.finetune` as llama.cpp's converter writes it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from proxy.policy.schema import Alignment

UNALIGNED_PARTS: Final = (
    *("abliterat", "obliterat", "uncensor", "decensor", "unfilter", "derestrict", "unrestrict", "dolphin", "josiefied"),
)
"""Anywhere in a word: `uncensored`, `tinydolphin`. Refusals were taken out, or never put in."""
UNALIGNED_WORDS: Final = frozenset(("unaligned", "heretic", "nsfw", "jailbroken", "amoral"))
INSTRUCT_WORDS: Final = frozenset(
    ("sft", "dpo", "rlhf", "orpo", "kto", "rlvr", "assistant", "tool", "tools", "thinking", "reasoning")
)
BASE_WORDS: Final = frozenset(("base", "pretrain", "pretrained", "foundation"))

GEMMA: Final = re.compile(r"gemma")
"""Models whose builds are called `it` and `pt`; elsewhere these are languages."""
FILL_IN: Final = re.compile(r"codellama|codegemma|stable-?code")
"""Models whose builds for going on with code are called `code` and `python`."""

_BREAKS = re.compile(r"[^a-z0-9.]+|(?<![0-9])\.|\.(?![0-9])")
"""Between words; a dot is part of a number."""


def plain(name: str) -> str:
    """A name in one case, with compatibility characters (full-width letters) as ordinary ones."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def words_of(text: str) -> list[str]:
    """The words of a plain name: `qwen2.5-coder:7b-base` is `qwen2.5`, `coder`, `7b`, `base`."""
    return [word for word in _BREAKS.split(text) if word]


def votes(text: str, *, tuned: bool = False) -> Iterator[tuple[Alignment, str]]:
    """The statuses that words of a plain text speak for, each with the word."""
    yield from unaligned_votes(text)
    yield from tuning_votes(text, tuned=tuned)


def tuning_votes(text: str, *, tuned: bool = False) -> Iterator[tuple[Alignment, str]]:
    """Those for `base` and `instruct`. tuned: the text tells how a model was tuned: `it` and `pt` are no languages."""
    short = tuned or GEMMA.search(text) is not None
    for word in words_of(text):
        if word in BASE_WORDS or (short and word == "pt"):
            yield "base", word
        elif word in INSTRUCT_WORDS or (short and word == "it"):
            yield "instruct", word
        elif found := _instruct_part(word):
            yield "instruct", found


def unaligned_votes(text: str) -> Iterator[tuple[Alignment, str]]:
    """Only those for `unaligned`."""
    squeezed = re.sub(r"[^a-z0-9]+", "", text)  # `un-censored` too
    for part in UNALIGNED_PARTS:
        if part in squeezed:
            yield "unaligned", part
    for word in words_of(text):
        if word in UNALIGNED_WORDS:
            yield "unaligned", word


def is_embedding(text: str) -> bool:
    """Whether a plain name is that of a model which gives numbers for a text: `nomic-embed-text`."""
    words = words_of(text)
    known = ("minilm", "bge", "gte", "paraphrase", "rerank", "reranker")
    return any(word.startswith("embed") or word in known for word in words)


def is_guard(text: str) -> bool:
    """Whether a plain name is that of a model which judges texts: `llama-guard3`, `shieldgemma`, `qwen3guard`."""
    stems = [word.rstrip("0123456789.") for word in words_of(text)]
    return any(stem.startswith(("guard", "shieldgemma")) or stem.endswith("guard") for stem in stems)


def _instruct_part(word: str) -> str:
    """`instruct` of `instruction`, `chat` of `openchat`; never a word that somebody else has made up."""
    if word.startswith("instruct"):
        return "instruct"
    return "chat" if word.startswith("chat") or word.endswith("chat") else ""
