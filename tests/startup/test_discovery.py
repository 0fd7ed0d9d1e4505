"""Finding the model server."""

from __future__ import annotations

import socket
import time

import pytest

from proxy.demo.backend import DemoBackend
from proxy.startup import discovery
from proxy.startup.discovery import Backend, find, look_at

OWN = "http://127.0.0.1:11435"
NOBODY = ("Ollama", "http://127.0.0.1:9", "/api/version", "version")


def test_the_first_that_answers_as_itself_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there is passed over; of the one that is, a model is named."""
    with DemoBackend(0) as backend:
        monkeypatch.setattr(discovery, "KNOWN", (NOBODY, ("LM Studio", backend.url, "/v1/models", "data")))
        assert find(OWN) == Backend("LM Studio", backend.url, "demo")


def test_another_program_on_the_port_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something answers on Ollama's port, but not as Ollama does."""
    with DemoBackend(0) as backend:
        monkeypatch.setattr(discovery, "KNOWN", (("Ollama", backend.url, "/api/version", "version"),))
        assert find(OWN) is None


def test_the_proxy_does_not_find_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is told to listen on Ollama's own port is no model server."""
    with DemoBackend(0) as backend:
        monkeypatch.setattr(discovery, "KNOWN", (("LM Studio", backend.url, "/v1/models", "data"),))
        assert find(backend.url) is None


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at each candidate is bounded."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(discovery, "KNOWN", (("Ollama", url, "/api/version", "version"),))
        start = time.monotonic()
        assert find(OWN) is None
        assert time.monotonic() - start < 4 * discovery.PATIENCE


def test_a_named_server_that_does_not_answer_is_said_to_do_so() -> None:
    """It may come up later, so that is no error."""
    assert look_at("http://127.0.0.1:9") == Backend("", "http://127.0.0.1:9", None, answers=False)
