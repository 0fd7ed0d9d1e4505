"""`[[upstream]]` in the settings file: several model servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli import serve
from proxy.errors import SettingsError
from proxy.settings import Settings, resolve
from proxy.startup.configuration import server_config
from proxy.values import Upstream

TWO = """
grace = "1s"

[[upstream]]
name = "desk"
url = "10.0.0.7"

[[upstream]]
url = "http://127.0.0.1:8080/v1"
key = "s3cret"
models = ["qwen*", "phi"]
weight = 2
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No safety-proxy.toml of the developer's is read."""
    monkeypatch.chdir(tmp_path)


def written(text: str) -> Path:
    """The settings file."""
    path = Path("safety-proxy.toml")
    path.write_text(text, "utf-8")
    return path


def refused(text: str, flags: dict[str, str] | None = None) -> str:
    """Why the settings cannot be used."""
    written(text)
    with pytest.raises(SettingsError) as caught:
        resolve(flags or {}, {})
    return str(caught.value)


def test_the_tables_are_read_in_their_order() -> None:
    """URLs are written as in OLLAMA_HOST."""
    written(TWO)
    found = resolve({}, {})
    assert found.settings.upstream is None
    assert found.settings.grace == 1.0
    assert found.settings.upstreams == (
        Upstream("http://10.0.0.7:11434", "desk"),
        Upstream("http://127.0.0.1:8080", key="s3cret", models=("qwen*", "phi"), weight=2),
    )


def test_they_reach_the_server() -> None:
    """Each with its key, its models and its weight; one alone is made of the settings for one."""
    written(TWO)
    config = server_config(resolve({}, {}).settings, "http://10.0.0.7:11434")
    desk, other = config.backends
    assert (desk.name, desk.url, desk.key, desk.models, desk.weight) == ("desk", "http://10.0.0.7:11434", None, (), 1)
    assert (other.key, other.models, other.weight) == ("s3cret", ("qwen*", "phi"), 2)
    (only,) = server_config(Settings(upstream_key="k"), "http://x:1").backends
    assert (only.url, only.key) == ("http://x:1", "k")


@pytest.mark.parametrize(
    ("flags", "environ"),
    [({"upstream": "http://x:1"}, {}), ({}, {"SAFETY_PROXY_UPSTREAM": "http://x:1"})],
    ids=["flag", "variable"],
)
def test_a_flag_or_a_variable_comes_before_the_tables(flags: dict[str, str], environ: dict[str, str]) -> None:
    """As before every line of the file: it means one model server."""
    written(TWO)
    settings = resolve(flags, environ).settings
    assert (settings.upstream, settings.upstreams) == ("http://x:1", ())


def test_one_url_in_the_file_is_one_model_server() -> None:
    """As ever."""
    written('upstream = "10.0.0.7"')
    assert resolve({}, {}).settings == Settings(upstream="http://10.0.0.7:11434")


def test_the_settings_in_force_name_them_without_their_keys() -> None:
    """`safety-proxy config`."""
    written(TWO)
    (line,) = [line for line in resolve({}, {}).lines() if line[0] == "upstream"]
    assert line == ("upstream", "http://10.0.0.7:11434, http://127.0.0.1:8080", "safety-proxy.toml: upstream")


def test_a_key_may_stand_in_a_file() -> None:
    """White space around it is no part of it."""
    Path("key").write_text("  s3cret\n", "utf-8")
    written('[[upstream]]\nurl = "http://x:1"\nkey_file = "key"\n')
    assert resolve({}, {}).settings.upstreams[0].key == "s3cret"


KEYS = "name, url, key, key_file, models, weight"
LIST = 'takes a list of names, such as ["llama3.1:8b", "qwen*"]'
LABEL = "takes a name of at most 64 letters, digits, spaces and . _ / -"
UNREAD = "cannot be read: No such file or directory"
FIRST = "safety-proxy.toml: upstream: [[upstream]] number 1"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('name = "x"', f"{FIRST} has no url"),
        (
            'url = "http://x:1"\nurls = "y"',
            f"{FIRST} has no setting urls; it takes {KEYS}",
        ),
        ('url = "ftp://x"', f"{FIRST} url takes http:// or https:// URLs, a host, or HOST:PORT"),
        ('url = "demo"', f"{FIRST} url takes the URL of a model server; the demo model stands alone"),
        ("url = 5\nweight = 0", f"{FIRST} weight takes a number from 1 to 9999"),
        ('url = "http://x:1"\nweight = true', f"{FIRST} weight takes a number from 1 to 9999"),
        (
            'url = "http://x:1"\nmodels = "a, b"',
            f"{FIRST} models {LIST}",
        ),
        ('url = "http://x:1"\nmodels = []', f"{FIRST} models {LIST}"),
        ('url = "http://x:1"\nmodels = [5]', f"{FIRST} models takes a list of texts, or one text with commas"),
        (
            'url = "http://x:1"\nname = "a\\nb"',
            f"{FIRST} name {LABEL}",
        ),
        ('url = "http://x:1"\nkey = ""', f"{FIRST} key takes a text"),
        ('url = "http://x:1"\nkey = "a"\nkey_file = "b"', f"{FIRST} has key and key_file; leave out one of them"),
        (
            'url = "http://x:1"\nkey_file = "nowhere"',
            f"{FIRST} key_file nowhere {UNREAD}",
        ),
    ],
)
def test_a_table_that_cannot_be_used(table: str, message: str) -> None:
    """The error names the table, the key and the fix, and never a key's value."""
    assert refused(f"[[upstream]]\n{table}\n") == message


def test_two_of_one_name() -> None:
    """The log and the metrics could not tell them apart."""
    tables = '[[upstream]]\nurl = "http://x:1"\n[[upstream]]\nurl = "http://x:1"\n'
    assert refused(tables) == (
        "safety-proxy.toml: upstream: [[upstream]] number 2 is called http://x:1, as one before; give it another name"
    )


def test_a_single_table_is_told_its_second_bracket() -> None:
    """[upstream] is what who knows sections writes."""
    assert refused('[upstream]\nurl = "http://x:1"\n') == (
        "safety-proxy.toml: [upstream] is a section; write [[upstream]] before each model server"
    )


def test_lists_that_are_no_tables() -> None:
    """A list of URLs says too little: which one has which models."""
    assert refused('upstream = ["http://x:1", "http://y:1"]') == (
        "safety-proxy.toml: upstream: takes one URL, or a table [[upstream]] for each of several"
    )


def test_the_key_of_one_model_server_beside_tables() -> None:
    """It would be sent to nobody, or to the wrong one."""
    assert refused(TWO, {"upstream_key": "k"}) == (
        "flag --upstream-key is for one model server; give each [[upstream]] its own key"
    )


def test_the_proxy_is_none_of_its_own_model_servers() -> None:
    """It would call itself for ever."""
    written('[[upstream]]\nurl = "http://x:1"\n[[upstream]]\nurl = "http://localhost:11435"\n')
    with pytest.raises(SettingsError, match="is http://localhost:11435, which is where the proxy itself listens"):
        serve._refuse_loops(resolve({}, {}).settings)
