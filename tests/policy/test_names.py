"""Model names: what Ollama takes for the same model is the same model for a policy."""

from __future__ import annotations

import pytest

from proxy.policy.names import model_globs, normalise_model


@pytest.mark.parametrize(
    "name",
    [
        "llama3",
        "LLAMA3",
        "llama3:latest",
        "Library/Llama3:Latest",
        "registry.ollama.ai/library/llama3:latest",
        "llama3:local",
        " llama3 ",
    ],
)
def test_spellings_of_one_model_are_one_name(name: str) -> None:
    """Registry, library, tag `latest` and case make no difference."""
    assert normalise_model(name) == "llama3"


@pytest.mark.parametrize("name", ["llama3:8b", "me/llama3", "qwen/qwen3-8b", "llama3:latest-x"])
def test_other_models_stay_other_models(name: str) -> None:
    """A size, an owner or a longer tag is another model."""
    assert normalise_model(name) == name


@pytest.mark.parametrize(
    ("glob", "hits", "misses"),
    [
        ("llama3*", ["llama3", "LLAMA3:8b", "library/llama3.1:latest"], ["my-llama3", "me/llama3"]),
        ("library/llama3:latest", ["llama3"], ["llama3:8b", "llama33"]),
        ("qwen?", ["qwen3"], ["qwen", "qwen25"]),
        ("*", ["anything", "a\nb", ""], []),
        ("a.b[c]", ["A.B[C]"], ["axb[c]", "a.bc"]),
        ("ſtar*", ["STAR1", "star"], []),
    ],
)
def test_globs_match_whole_normalised_names(glob: str, hits: list[str], misses: list[str]) -> None:
    """`*` and `?` are the only signs with a meaning; the whole name has to match."""
    pattern = model_globs([glob])
    assert all(pattern.fullmatch(normalise_model(name)) for name in hits)
    assert not any(pattern.fullmatch(normalise_model(name)) for name in misses)


def test_one_of_several_globs_is_enough() -> None:
    """A list of globs is an alternative."""
    pattern = model_globs(["a*", "b"])
    assert [bool(pattern.fullmatch(name)) for name in ("abc", "b", "bc")] == [True, True, False]
