"""Read-only endpoints: lists and descriptions of models, and what of them may be shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ollama import ListResponse, ProcessResponse, ShowResponse
from openai.types import Model

from proxy.dialects.common import catalogue
from proxy.dialects.lmstudio import models as lmstudio_models
from proxy.dialects.ollama import models as ollama_models
from proxy.dialects.openai import models as openai_models
from proxy.errors import BadRequest, UpstreamBroken
from tests.dialects.golden_files import golden

Clean = Callable[..., Any]

V0_MODELS = {
    "object": "list",
    "data": [
        {
            "id": "qwen2-vl-7b-instruct",
            "object": "model",
            "type": "vlm",
            "publisher": "mlx-community",
            "arch": "qwen2_vl",
            "compatibility_type": "mlx",
            "quantization": "4bit",
            "state": "not-loaded",
            "max_context_length": 32768,
        }
    ],
}
V1_MODELS = {
    "models": [
        {
            "type": "llm",
            "publisher": "lmstudio-community",
            "key": "gemma-3-270m-it-qat",
            "display_name": "Gemma 3 270m Instruct Qat",
            "architecture": "gemma3",
            "quantization": {"name": "Q4_0", "bits_per_weight": 4},
            "size_bytes": 241410208,
            "params_string": "270M",
            "loaded_instances": [{"id": "gemma-3-270m-it-qat", "config": {"context_length": 4096}}],
            "max_context_length": 32768,
            "format": "gguf",
            "capabilities": {"vision": False, "trained_for_tool_use": False},
        },
        {
            "type": "embedding",
            "publisher": "gaianet",
            "key": "text-embedding-nomic-embed-text-v1.5-embedding",
            "display_name": "Nomic Embed Text v1.5",
            "quantization": {"name": "F16", "bits_per_weight": 16},
            "size_bytes": 274290560,
            "params_string": None,
            "loaded_instances": [],
            "max_context_length": 2048,
            "format": "gguf",
        },
    ]
}
PARAMETERS = 'stop                           "<|im_end|>"\ntemperature                    0.7\nnum_ctx   4096'


def told(name: str) -> Any:
    """A real answer, read."""
    return json.loads(golden(name).body)


SHOWN: dict[str, tuple[Clean, Any, tuple[str, ...]]] = {  # and what is left out of it
    "tags": (ollama_models.tags, told("ollama_api_tags"), ()),
    "ps": (ollama_models.loaded, told("ollama_api_ps"), ()),
    "version": (ollama_models.version, told("ollama_api_version"), ()),
    "models": (openai_models.openai_models, told("ollama_v1_models"), ()),
    "model": (openai_models.openai_model, told("ollama_v1_model"), ()),
    "llama models": (openai_models.openai_models, told("llama_models"), ("models", "tags")),
    "show": (ollama_models.show, told("ollama_api_show_instruct"), ("system", "template", "modelfile")),
    "show base": (ollama_models.show, told("ollama_api_show_base"), ("template", "modelfile")),
    "show parameters": (ollama_models.show, {"parameters": PARAMETERS, "license": "MIT ..."}, ("license",)),
    "v0 models": (lmstudio_models.lmstudio_v0_models, V0_MODELS, ()),
    "v0 model": (lmstudio_models.lmstudio_v0_model, V0_MODELS["data"][0], ()),
    "v1 models": (lmstudio_models.lmstudio_v1_models, V1_MODELS, ()),
    "health": (openai_models.health, {"status": "ok"}, ()),
}


def without(value: Any, keys: tuple[str, ...]) -> Any:
    """The value without those keys, at any depth."""
    if isinstance(value, dict):
        return {k: without(v, keys) for k, v in value.items() if k not in keys}
    return [without(v, keys) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_known_is_shown(name: str) -> None:
    """A real answer passes whole, but for the operator's words and what nobody needs."""
    clean, value, left_out = SHOWN[name]
    shown = json.loads(catalogue.cleaned(clean, json.dumps(value).encode()))
    assert shown == without(value, left_out)


PROSE = "FORBIDDEN words; of an operator, or of a model!"


def planted(value: Any) -> Iterator[Any]:
    """The value with prose in the place of each of its strings in turn, under each unknown key, and as a key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from ({**value, key: changed} for changed in planted(item))
        yield {**value, "unknown": PROSE}
        yield {**value, "unknown": [{"deep": PROSE}]}
        yield {**value, PROSE: 1}
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from ([*value[:i], changed, *value[i + 1 :]] for changed in planted(item))
        yield [*value, PROSE]
    elif isinstance(value, str):
        yield PROSE
        yield value + "\n" + PROSE


@pytest.mark.parametrize("name", SHOWN)
def test_prose_is_never_shown(name: str) -> None:
    """Whichever string holds sentences instead of a name or a word is left out, or the answer is refused."""
    clean, value, _ = SHOWN[name]
    count = 0
    for changed in planted(value):
        count += 1
        try:
            shown = catalogue.cleaned(clean, json.dumps(changed).encode())
        except UpstreamBroken:
            continue
        assert b"FORBIDDEN" not in shown, changed
    assert count > 3


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>", b'"text"', b'{"models":3,"data":"x","status":1}'])
def test_what_is_no_such_answer_is_refused(name: str, body: bytes) -> None:
    """Anything else than the expected object is an error of the model server, never an empty success."""
    clean = SHOWN[name][0]
    if clean is ollama_models.show and body.startswith(b"{"):
        assert catalogue.cleaned(clean, body) == b"{}"  # nothing in it has to be there
        return
    with pytest.raises(UpstreamBroken):
        catalogue.cleaned(clean, body)


def test_the_clients_can_read_it() -> None:
    """The ollama and openai packages read what is left."""
    tags = ListResponse.model_validate_json(catalogue.cleaned(ollama_models.tags, golden("ollama_api_tags").body))
    assert len(tags.models) == 9
    loaded = ProcessResponse.model_validate_json(catalogue.cleaned(ollama_models.loaded, golden("ollama_api_ps").body))
    assert loaded.models[0].details is not None
    show = ShowResponse.model_validate_json(
        catalogue.cleaned(ollama_models.show, golden("ollama_api_show_instruct").body)
    )
    assert show.modelinfo is not None
    assert show.modelinfo["general.architecture"] == "llama"
    models = json.loads(catalogue.cleaned(openai_models.openai_models, golden("llama_models").body))
    assert Model.model_validate(models["data"][0], strict=True).id == "tiny.gguf"


def test_the_operators_words_can_be_revealed() -> None:
    """With the flag, /api/show has the system prompt, the template and the rest of them as they are."""
    value = told("ollama_api_show_instruct") | {"license": PROSE, "messages": [{"role": "user", "content": PROSE}]}
    revealed = json.loads(catalogue.cleaned(ollama_models.show, json.dumps(value).encode(), reveal=True))
    assert revealed == value


def test_parameters_are_lines_of_a_known_form() -> None:
    """A line that is not a name with a number or a short quoted text is left out, the others stay."""
    value = {"parameters": PARAMETERS + "\nYou are a helper\nstop   " + '"' + "x" * 65 + '"\n' + 'stop "a" and more'}
    assert ollama_models.show(value) == {"parameters": PARAMETERS}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"model":"","system":"","template":"","verbose":false,"options":null,"name":"tiny"}',
            {"model": "tiny", "verbose": False},
        ),
        (
            b'{"model":"tiny","system":"","template":"","verbose":false,"options":null,"name":""}',
            {"model": "tiny", "verbose": False},
        ),
        (b'{"model":"tiny","verbose":true,"unknown":"x"}', {"model": "tiny", "verbose": True}),
        (
            b'{"model":"tiny","system":"be nice","template":"x","options":{"num_ctx":8192}}',
            {"model": "tiny", "verbose": False},
        ),
    ],
)
def test_the_command_may_ask_for_a_description(body: bytes, expected: dict[str, Any]) -> None:
    """What `ollama show` and `ollama run` send is taken; only the model's name and `verbose` go on."""
    model, sent = ollama_models.show_request(body)
    assert model == "tiny"
    assert json.loads(sent) == expected


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "", "name": ""}, "model"),
        ({"Model": "m"}, "Model"),
        ({"model": 3}, "model"),
    ],
)
def test_other_questions_are_refused(body: dict[str, Any], param: str) -> None:
    """A question in which no model is named, or in a hidden way, is refused with the field's name."""
    with pytest.raises(BadRequest) as refused:
        ollama_models.show_request(json.dumps(body).encode())
    assert refused.value.param == param


def test_the_root_says_one_of_two_things() -> None:
    """Ollama's own words pass; whatever page stands there otherwise does not."""
    assert ollama_models.root(golden("ollama_root").body) == b"Ollama is running"
    assert ollama_models.root(b"<html>FORBIDDEN</html>") == b"The model server is running"


@pytest.mark.parametrize(
    "name",
    ["someone/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "/models/a model (1).gguf", "C:\\m\\x.gguf", "gpt-oss:20b"],
)
def test_names_of_models_pass(name: str) -> None:
    """The forms that names have: repositories, tags, paths of files."""
    assert openai_models.openai_model({"id": name}) == {"id": name}


class Judging:
    """What a policy says of names: one that holds `bad` is not shown."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def admits(self, name: str) -> bool:
        """Whether it may be shown."""
        return "bad" not in name

    def refused(self, name: object) -> None:
        """It was not."""
        self.told.append(name)


LISTS: dict[str, tuple[Clean, Callable[[str], Any], str]] = {
    "OpenAI": (openai_models.openai_models, lambda name: {"object": "list", "data": [{"id": name}, {"id": "m"}]}, "id"),
    "Ollama": (ollama_models.tags, lambda name: {"models": [{"name": name, "model": name}, {"name": "m"}]}, "name"),
    "loaded": (ollama_models.loaded, lambda name: {"models": [{"name": name, "model": name}, {"name": "m"}]}, "name"),
    "LM Studio, older": (
        lmstudio_models.lmstudio_v0_models,
        lambda name: {"data": [{"id": name, "publisher": name}, {"id": "m"}]},
        "id",
    ),
    "LM Studio": (
        lmstudio_models.lmstudio_v1_models,
        lambda name: {"models": [{"key": name, "display_name": name, "variants": [name]}, {"key": "m"}]},
        "key",
    ),
}
WORDY = (
    "DeepSeek-R1 Distill Qwen 7B",
    "通义千问-7b",
    "Модель (русская), v2",
    "ลับมาก",
    "é",
    "a" * 256,
    "می\u200cخواهم",
    "日本\u3000一",
    "Qwen🦙",
)
UNSHOWN = (
    "x\ny",
    "x\u202ey",
    "x\u200by",
    "x\u2066y\u2069",
    "x\x00",
    "x\x7f",
    " ",
    "",
    "a b" * 100,
    "x\u00ady",
    "x\u2028y",
)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("model", WORDY)
def test_names_in_words_and_in_other_scripts_are_shown(name: str, model: str) -> None:
    """They stay in the lists, whole, as names, titles and variants, if no rule minds them."""
    clean, listed, _ = LISTS[name]
    names = Judging()
    body = json.dumps(listed(model)).encode()
    assert json.loads(catalogue.cleaned(clean, body, names)) == listed(model)
    assert names.told == []


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("model", ["a bad model", *UNSHOWN])
def test_names_that_are_not_shown_are_told(name: str, model: str) -> None:
    """A rule minds it, or it has no form of a name: the entry is left out, the others stay, and somebody is told."""
    clean, listed, key = LISTS[name]
    names = Judging()
    shown = json.loads(catalogue.cleaned(clean, json.dumps(listed(model)).encode(), names))
    entries = shown.get("data") or shown.get("models")
    assert [entry[key] for entry in entries] == ["m"]
    assert names.told == [model]


def test_a_description_under_a_name_that_is_not_shown() -> None:
    """It is an error, not an empty success; a title alone is left out of it."""
    with pytest.raises(UpstreamBroken, match="withheld"):
        catalogue.cleaned(openai_models.openai_model, b'{"id": "a bad model"}', Judging())
    shown = catalogue.cleaned(openai_models.openai_model, b'{"id": "m", "owned_by": "bad people, all"}', Judging())
    assert json.loads(shown) == {"id": "m"}


def test_without_policies_plain_names_are_shown_alone() -> None:
    """Who has nothing to judge names with shows no words."""
    body = b'{"data": [{"id": "two words"}, {"id": "one"}]}'
    assert json.loads(catalogue.cleaned(openai_models.openai_models, body)) == {"data": [{"id": "one"}]}


@pytest.mark.parametrize(
    ("told", "cloud", "shown"),
    [
        ({"disabled": False, "source": "none"}, False, {"disabled": True}),
        ({"disabled": True, "source": "env"}, False, {"disabled": True}),
        ({"disabled": False, "source": "none"}, True, {"disabled": False, "source": "none"}),
        ({"disabled": False, "source": PROSE, "url": PROSE}, True, {"disabled": False}),
    ],
)
def test_there_are_no_cloud_models_unless_they_are_allowed(told: Any, cloud: bool, shown: Any) -> None:
    """The ollama command then recommends none of them."""
    assert ollama_models.cloud_status({"cloud": told}, cloud) == {"cloud": shown}
