"""Writes a GGUF of a few megabytes that a real llama.cpp server loads, and whose answers the test chooses.

Nothing is trained. Attention and feed-forward add nothing, each token's embedding is one-hot, and the output matrix is
a table "after this token comes that one"; so decoding, greedy or at an ordinary temperature, walks a chain of tokens.
Every position of every script has a token of its own, and the prompt's last token decides which chain is walked:

* `[[name]]` at the very end (the chat template repeats it there) starts the script of that name;
* anything else starts the default script.

What comes out is real wire traffic all the same: a real tokenizer, template, UTF-8 assembly, tool and reasoning parser.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import numpy.typing as npt

CHAT_TEMPLATE: Final = Path(__file__).with_name("chat_template.jinja")
SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"
"""How SentencePiece spells a blank inside a token."""
TURN_TOKENS: Final = ("<|im_start|>", "<|im_end|>")
CHANNEL_TOKENS: Final = ("<think>", "</think>", "<tool_call>", "</tool_call>")
PIECE_LENGTHS: Final = (3, 1, 4, 1)
"""Characters per piece of a script, in turn."""
CONTEXT_LENGTH: Final = 1 << 20
HEAD_SIZE: Final = 16
FEED_FORWARD_SIZE: Final = 32


class TokenType(enum.IntEnum):
    """GGUF's tokenizer.ggml.token_type."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Script:
    """One answer: `text`, and then either the end of the turn or `forever` over and over again."""

    text: str = ""
    forever: str = ""

    def __post_init__(self) -> None:
        if not self.text and not self.forever:
            raise ValueError("a script must say something: text, forever, or both")


@dataclass(slots=True)
class Vocabulary:
    """The tokens, in the order of their ids."""

    texts: list[str] = field(default_factory=list)
    types: list[TokenType] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)

    def add(self, text: str, kind: TokenType) -> int:
        """A new token's id. ValueError if the text is a token already: llama.cpp does not load such a vocabulary."""
        if text in self.ids:
            raise ValueError(f"the token {text!r} is in the vocabulary already")
        self.ids[text] = len(self.texts)
        self.texts.append(text)
        self.types.append(kind)
        return self.ids[text]

    def add_basics(self) -> None:
        """What a prompt is made of: the specials, the 256 bytes, and one token for each printable ASCII character."""
        self.add("<unk>", TokenType.UNKNOWN)
        self.add("<s>", TokenType.CONTROL)
        self.add("</s>", TokenType.CONTROL)
        for byte in range(256):
            self.add(f"<0x{byte:02X}>", TokenType.BYTE)
        for turn in TURN_TOKENS:
            self.add(turn, TokenType.CONTROL)
        for channel in CHANNEL_TOKENS:
            self.add(channel, TokenType.USER_DEFINED)
        for code in range(0x20, 0x7F):
            self.add(chr(code).replace(" ", SPACE), TokenType.NORMAL)

    def add_script_tokens(self, text: str) -> list[int]:
        """New tokens, each used here only, that spell `text` in pieces of 1, 3 and 4 characters.

        The tokenizer builds long tokens by merging two neighbours. With no token of two characters, no merge ever
        begins: a prompt is one token per character (or byte), and no prompt ends within a script by accident.
        """
        return [token for piece in _pieces(text) for token in self._add_piece(piece)]

    def _add_piece(self, piece: str) -> list[int]:
        spelling = piece.replace(" ", SPACE)
        if len(piece) > 2 and piece.isascii() and piece.isprintable() and spelling not in self.ids:
            return [self.add(spelling, TokenType.NORMAL)]
        return [self._add_byte(byte) for byte in piece.encode()]

    def _add_byte(self, byte: int) -> int:
        """One more token for a byte: llama.cpp reads the two hex digits only, so what follows them makes it unique."""
        return self.add(f"<0x{byte:02X}>#{len(self.texts)}", TokenType.BYTE)


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for length in itertools.cycle(PIECE_LENGTHS):
        if start >= len(text):
            return
        yield text[start : start + length]
        start += length


@dataclass(slots=True)
class ScriptedModel:
    """A vocabulary and, for each token that has one, the token that follows it."""

    scripts: Mapping[str, Script]
    default: str = "default"
    control: Iterable[str] = ()
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    followers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.default not in self.scripts:
            raise ValueError(f"the default script {self.default!r} is not among the scripts {sorted(self.scripts)}")
        self.vocabulary.add_basics()
        for text in self.control:
            if text not in self.vocabulary.ids:
                self.vocabulary.add(text, TokenType.CONTROL)
        for name, script in self.scripts.items():
            self._add_script(name, script)

    def _add_script(self, name: str, script: Script) -> None:
        trigger = self.vocabulary.add(f"[[{name}]]", TokenType.USER_DEFINED)
        said = self.vocabulary.add_script_tokens(script.text)
        repeated = self.vocabulary.add_script_tokens(script.forever)
        last = repeated[0] if repeated else self.vocabulary.ids["</s>"]
        self.followers.update(itertools.pairwise([trigger, *said, *repeated, last]))

    def follower(self, token: int) -> int:
        """What is said after `token`: the next of its script, or the default script's first token."""
        first = self.followers[self.vocabulary.ids[f"[[{self.default}]]"]]
        return self.followers.get(token, first)


def write_model(
    path: Path,
    scripts: Mapping[str, Script],
    *,
    default: str = "default",
    base: bool = False,
    control: Iterable[str] = (),
    remark: str = "",
) -> None:
    """Write the model that says `scripts`. `base`: without chat template and fine-tune name, as base models come.

    control: texts that are control tokens of it besides its own
    remark:  a comment in its chat template
    """
    model = ScriptedModel(scripts, default, control)
    writer = gguf.GGUFWriter(path, "llama")
    _add_description(writer, base=base)
    _add_tokenizer(writer, model.vocabulary)
    if not base:
        comment = "{#- " + remark + " -#}" if remark else ""
        writer.add_chat_template(comment + CHAT_TEMPLATE.read_text(encoding="utf-8"))
    embedding_length = _embedding_length(len(model.vocabulary.texts))
    _add_hyperparameters(writer, embedding_length)
    for name, tensor in _tensors(model, embedding_length).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _embedding_length(tokens: int) -> int:
    """One dimension per token, rounded up to the 32 that llama.cpp's kernels work in."""
    return math.ceil(tokens / 32) * 32


def _add_description(writer: Any, *, base: bool) -> None:
    writer.add_name("tiny-scripted")
    writer.add_basename("tiny")
    writer.add_size_label("1M")
    writer.add_license("apache-2.0")
    writer.add_tags(["text-generation"])
    if not base:
        writer.add_finetune("Instruct")


def _add_tokenizer(writer: Any, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary.texts)
    writer.add_token_scores([0.0] * len(vocabulary.texts))
    writer.add_token_types([int(kind) for kind in vocabulary.types])
    writer.add_unk_token_id(vocabulary.ids["<unk>"])
    writer.add_bos_token_id(vocabulary.ids["<s>"])
    writer.add_eos_token_id(vocabulary.ids["</s>"])
    writer.add_eot_token_id(vocabulary.ids["<|im_end|>"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def _add_hyperparameters(writer: Any, embedding_length: int) -> None:
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(embedding_length)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD_SIZE)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD_SIZE)
    writer.add_value_length(HEAD_SIZE)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _tensors(model: ScriptedModel, embedding_length: int) -> dict[str, npt.NDArray[Any]]:
    """All weights: one-hot embeddings, the table of followers, and one block of zeros that adds nothing."""
    tokens = len(model.vocabulary.texts)
    return {
        "token_embd.weight": np.eye(tokens, embedding_length, dtype=np.float16),
        "output_norm.weight": np.ones(embedding_length, np.float32),
        "output.weight": _follower_table(model, embedding_length),
        "blk.0.attn_norm.weight": np.ones(embedding_length, np.float32),
        "blk.0.attn_q.weight": np.zeros((HEAD_SIZE, embedding_length), np.float16),
        "blk.0.attn_k.weight": np.zeros((HEAD_SIZE, embedding_length), np.float16),
        "blk.0.attn_v.weight": np.zeros((HEAD_SIZE, embedding_length), np.float16),
        "blk.0.attn_output.weight": np.zeros((embedding_length, HEAD_SIZE), np.float16),
        "blk.0.ffn_norm.weight": np.ones(embedding_length, np.float32),
        "blk.0.ffn_gate.weight": np.zeros((FEED_FORWARD_SIZE, embedding_length), np.float16),
        "blk.0.ffn_up.weight": np.zeros((FEED_FORWARD_SIZE, embedding_length), np.float16),
        "blk.0.ffn_down.weight": np.zeros((embedding_length, FEED_FORWARD_SIZE), np.float16),
    }


def _follower_table(model: ScriptedModel, embedding_length: int) -> npt.NDArray[np.float16]:
    """Row: the token said next; column: the token before. A little fixed noise ranks the also-rans for top_logprobs.

    After the norm a one-hot vector is sqrt(embedding_length) long, so a follower's logit stands some 28 above all
    others: the sampler picks another one about once in a thousand million tokens.
    """
    tokens = len(model.vocabulary.texts)
    table = np.random.default_rng(seed=0).standard_normal((tokens, embedding_length)) * 0.02
    for token in range(tokens):
        table[model.follower(token), token] = 1.0
    return table.astype(np.float16)
