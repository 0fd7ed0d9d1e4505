"""One llama.cpp server for the whole session, and a second with a base model for the tests that ask for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from tests.e2e.llama_server import LlamaServer
from tests.e2e.minilm import CONTEXT, INSTALL, model_folder, write_minilm
from tests.e2e.scripts import SCRIPTS
from tests.e2e.tiny_model import write_model


@pytest.fixture(scope="session")
def xllamacpp_installed() -> None:
    """Skips where the wheel with the llama.cpp server does not exist for this platform."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp has no wheel for this platform, so there is no real llama.cpp server to test on")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, xllamacpp_installed: None) -> Iterator[LlamaServer]:
    """A server whose chat model says `SCRIPTS[name]` to a message that ends with `[[name]]`."""
    model = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_model(model, SCRIPTS)
    with LlamaServer(model) as server:
        yield server


@pytest.fixture(scope="session")
def llama_base(tmp_path_factory: pytest.TempPathFactory, xllamacpp_installed: None) -> Iterator[LlamaServer]:
    """A server with a base model: no chat template of its own. In a chat it writes both sides of the dialogue.

    llama.cpp then renders ChatML, which does not repeat `[[name]]`; /v1/completions with a prompt ending so still does.
    """
    model = tmp_path_factory.mktemp("models") / "tiny-base.gguf"
    write_model(model, SCRIPTS, default="marker", base=True)
    with LlamaServer(model) as server:
        yield server


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory, xllamacpp_installed: None) -> Iterator[LlamaServer]:
    """A server with a real embedding model, all-MiniLM-L6-v2."""
    folder = model_folder()
    if folder is None:
        pytest.skip(f"there is no embedding model: {INSTALL}")
    model = tmp_path_factory.mktemp("models") / "all-minilm.gguf"
    write_minilm(folder, model)
    with LlamaServer(model, slots=1, context_tokens=CONTEXT, embeddings=True) as server:
        yield server
