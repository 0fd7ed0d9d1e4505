"""Names of models, as policies compare them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_REGISTRY = "registry.ollama.ai/"
_LIBRARY = "library/"
_LATEST = ":latest"


def normalise_model(name: str) -> str:
    """One form for all the spellings of a model's name that Ollama takes for the same.

    `llama3`, `LLAMA3:latest`, `library/llama3` and `registry.ollama.ai/library/llama3:latest`, also with a scheme such
    as `https://` before it, are one model; the case is compared as Go's strings.EqualFold does (Ollama:
    types/model/name.go). `:local` stands behind the tag (internal/modelref/modelref.go).
    """
    name = name.strip().casefold()
    base, colon, source = name.rpartition(":")
    if colon and source.strip() == "local":
        name = base
    name = name.partition("://")[2] or name
    name = name.removeprefix(_REGISTRY).removeprefix(_LIBRARY)
    return name.removesuffix(_LATEST)


def model_globs(globs: Iterable[str]) -> re.Pattern[str]:
    """One pattern for normalised names, to be used with `fullmatch`. `*` is any text, `?` any character."""
    return re.compile("|".join(_translated(normalise_model(glob)) for glob in globs), re.DOTALL)


def _translated(glob: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in glob)
