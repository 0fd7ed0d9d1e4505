"""Settings: where a value comes from, how it is spelled, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy import values
from proxy.errors import SettingsError
from proxy.settings import ROWS, SHIPPED, Settings, flag, nearest, resolve, variable


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No safety-proxy.toml of the developer's is read."""
    monkeypatch.chdir(tmp_path)


def message(flags: dict[str, Any], environ: dict[str, str]) -> str:
    """The one line that a wrong setting gives."""
    with pytest.raises(SettingsError) as caught:
        resolve(flags, environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- where a value comes from


def test_a_flag_wins_over_the_environment_that_wins_over_the_file_that_wins_over_the_default(tmp_path: Path) -> None:
    """Each layer is asked in turn, and the effective settings say which one answered."""
    Path("safety-proxy.toml").write_text('history = "block"\nlog_format = "json"\ngrace = 5\n', "utf-8")
    environ = {"SAFETY_PROXY_LOG_FORMAT": "text", "SAFETY_PROXY_GRACE": "6"}
    settings, sources = resolve({"grace": "7"}, environ)
    assert (settings.history, settings.log_format, settings.grace, settings.max_body) == (
        "block",
        "text",
        7.0,
        32 << 20,
    )
    assert sources["history"] == "safety-proxy.toml: history"
    assert sources["log_format"] == "variable SAFETY_PROXY_LOG_FORMAT"
    assert sources["grace"] == "flag --grace"
    assert sources["max_body"] == "default"


def test_a_file_may_be_named(tmp_path: Path) -> None:
    """--config and SAFETY_PROXY_CONFIG name another file; the flag wins."""
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text('listen = "127.0.0.1:1"', "utf-8")
    two.write_text('listen = "127.0.0.1:2"', "utf-8")
    assert resolve({}, {"SAFETY_PROXY_CONFIG": str(one)}).settings.listen.port == 1
    assert resolve({}, {"SAFETY_PROXY_CONFIG": str(one)}, str(two)).settings.listen.port == 2


def test_a_named_file_has_to_be_there() -> None:
    """A misspelt path is an error, while no safety-proxy.toml at all is none."""
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read: No such file"):
        resolve({}, {}, "nowhere.toml")
    assert resolve({}, {}).settings == Settings()


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    """SAFETY_PROXY_UPSTREAM_KEY_FILE names it; white space around the secret is no part of it."""
    path = tmp_path / "key"
    path.write_text("  s3cret\n", "utf-8")
    found = resolve({}, {"SAFETY_PROXY_UPSTREAM_KEY_FILE": str(path)})
    assert found.settings.upstream_key == "s3cret"
    assert found.sources["upstream_key"] == "variable SAFETY_PROXY_UPSTREAM_KEY_FILE"


def test_a_secret_is_never_shown() -> None:
    """Neither the list of effective settings nor an error repeats it."""
    lines = list(resolve({}, {"SAFETY_PROXY_UPSTREAM_KEY": "s3cret"}).lines())
    assert ("upstream_key", "(hidden)", "variable SAFETY_PROXY_UPSTREAM_KEY") in lines
    assert "s3cret" not in str(lines)
    Path("safety-proxy.toml").write_text("upstream_key = 53144\n", "utf-8")
    assert "53144" not in message({}, {})


def test_defaults_are_shown_as_help_spells_them() -> None:
    """What was never set reads the same in config, in --help and in the docs; of the policies the path is told."""
    lines = {name: value for name, value, _ in resolve({}, {}).lines()}
    assert (lines["max_body"], lines["grace"], lines["upstream"]) == ("32MiB", "10s", "none")
    assert lines["policies"] == str(SHIPPED)


def test_a_section_in_the_file_is_named_as_what_it_is() -> None:
    """Who is used to sections is told that there are none."""
    Path("safety-proxy.toml").write_text('[server]\nlisten = ":1"\n', "utf-8")
    assert (
        message({}, {})
        == "safety-proxy.toml: [server] is a section; the file has none but [[upstream]], write its settings at the top"
    )


def test_every_setting_can_be_set_in_all_three_places(tmp_path: Path) -> None:
    """The table gives each row a flag, a variable and a key, and they agree."""
    for name, row in ROWS.items():
        value = {
            "WORD": "json",
            "BOOL": "true",
            "SIZE": "5KiB",
            "TIME": "3m",
            "FACTOR": "2",
            "TOKENS": "9",
            "NUMBER": "7",
        }.get(row.metadata["metavar"], "127.0.0.1:5")
        value = {
            "history": "block",
            "transport": "own",
            "root_path": "/guard",
            "log_level": "debug",
            "record_text": "masked",
            "otel_endpoint": "http://x:1",
            "require_alignment": "instruct",
            "limits_store": "redis://x:1",
            "store": "postgresql://x/y",
            "store_days": "7",
            "store_bytes": "9MiB",
            "limits_on_error": "refuse",
        }.get(name, value)
        (tmp_path / "x.toml").write_text(f'{name} = "{value}"\n', "utf-8")
        ways = (
            resolve({name: value}, {}),
            resolve({}, {variable(name): value}),
            resolve({}, {}, str(tmp_path / "x.toml")),
        )
        assert len({getattr(way.settings, name) for way in ways}) == 1
        assert [way.sources[name].split()[0] for way in ways] == ["flag", "variable", str(tmp_path / "x.toml:")]


# -- what is said of a wrong one


def test_an_unknown_variable_names_the_nearest() -> None:
    """A typing error in the environment does not silently leave a default in force."""
    said = message({}, {"SAFETY_PROXY_LISTN": ":1"})
    assert "SAFETY_PROXY_LISTN is not a setting; did you mean SAFETY_PROXY_LISTEN?" in said


def test_an_unknown_key_names_the_nearest() -> None:
    """The same for safety-proxy.toml, also for the spelling with a hyphen."""
    Path("safety-proxy.toml").write_text('max-body = "1MiB"\n', "utf-8")
    assert "safety-proxy.toml: max-body is not a setting; did you mean max_body?" in message({}, {})


def test_variables_of_kubernetes_and_of_test_switches_are_not_ours() -> None:
    """A Kubernetes service called safety-proxy sets variables that begin alike; they must not stop the start."""
    environ = {
        "SAFETY_PROXY_SERVICE_HOST": "10.0.0.1",
        "SAFETY_PROXY_SERVICE_PORT_HTTP": "80",
        "SAFETY_PROXY_PORT": "tcp://10.0.0.1:11435",
        "SAFETY_PROXY_PORT_11435_TCP_ADDR": "10.0.0.1",
        "SAFETY_PROXY_TEST_OLLAMA": "http://127.0.0.1:11434",
        "SAFETY": "x",
    }
    assert resolve({}, environ).settings == Settings()


@pytest.mark.parametrize(
    ("flags", "environ", "expected"),
    [
        (
            {"listen": "nonsense"},
            {},
            "flag --listen takes HOST:PORT, such as 127.0.0.1:11435, or unix:/path (it is 'nonsense')",
        ),
        ({"max_body": "big"}, {}, "flag --max-body takes a number of bytes, such as 33554432 or 32MiB (it is 'big')"),
        ({"max_context": "8k"}, {}, "flag --max-context takes a number of tokens, such as 32768, or 0 (it is '8k')"),
        ({}, {"SAFETY_PROXY_HISTORY": "keep"}, "variable SAFETY_PROXY_HISTORY takes replace or block (it is 'keep')"),
        ({}, {"SAFETY_PROXY_HASH_KEY": "\udcff"}, "variable SAFETY_PROXY_HASH_KEY is not UTF-8 text"),
        ({"upstream": "ftp://x"}, {}, "takes http:// or https:// URLs, a host, or HOST:PORT"),
        ({}, {"SAFETY_PROXY_UPSTREAM_KEY_FILE": "/nowhere/key"}, "/nowhere/key cannot be read: No such file"),
        ({}, {"SAFETY_PROXY_UPSTREAM_KEY_FILE": "a", "SAFETY_PROXY_UPSTREAM_KEY": "b"}, "are both set"),
    ],
)
def test_a_wrong_value_says_where_it_stands_and_what_is_taken(
    flags: dict[str, Any], environ: dict[str, str], expected: str
) -> None:
    """One line: the place, what it takes, and what it is."""
    assert expected in message(flags, environ)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"listen = ", "safety-proxy.toml is not TOML: Invalid value"),
        (b"listen = '\xff'", "safety-proxy.toml cannot be read: it is not UTF-8 text"),
        (b"[listen]\nport = 1", "safety-proxy.toml: listen takes HOST:PORT"),
        (b"keep_alive = true", "safety-proxy.toml: keep_alive takes seconds"),
        (b"max_body = true", "safety-proxy.toml: max_body takes a number of bytes"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(content: bytes, expected: str) -> None:
    """TOML's own types are no way around the readers."""
    Path("safety-proxy.toml").write_bytes(content)
    assert expected in message({}, {})


def test_a_far_name_gets_no_guess() -> None:
    """A guess is made only when a known name is near."""
    assert nearest("zzz", ROWS) == ""
    assert nearest("lissten", ROWS) == "; did you mean listen?"


def test_flags_and_variables_are_spelled_from_the_name() -> None:
    """One name, two spellings."""
    assert (flag("max_body"), variable("max_body")) == ("--max-body", "SAFETY_PROXY_MAX_BODY")


# -- how values are spelled


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("[::]", "http://[::1]:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        (" 1.2.3.4 ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        (' " 1.2.3.4 " ', "http://1.2.3.4:11434"),
        ("'1.2.3.4'", "http://1.2.3.4:11434"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("http://1.2.3.4:4321", "http://1.2.3.4:4321"),
        ("https://example.com", "https://example.com:443"),
        ("HTTPS://example.com:4321", "https://example.com:4321"),
        ("https://example.com/ollama", "https://example.com:443/ollama"),
        ("example.com:8000/models/", "http://example.com:8000/models"),
        ("http://localhost:1234/v1", "http://localhost:1234"),
        ("http://localhost:1234/v1/", "http://localhost:1234"),
        ("http://localhost:1234/api/v1", "http://localhost:1234/api"),
        ("http://localhost:1234/xv1", "http://localhost:1234/xv1"),
    ],
)
def test_an_upstream_is_spelled_as_ollama_host_is(given: str, url: str) -> None:
    """The cases of Ollama's own envconfig tests, dialled; and the /v1 that people copy from an app's base_url."""
    assert values.upstream(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "ftp://host",
        "host:99999",
        "host:0",
        "host:-1",
        "host:port",
        "http://user:secret@host",
        "http://host/path?x=1",
        "http://host/#part",
        "http://a b",
        "http://[::1]x:80",
        "http://[zz::1]:80",
        "http://host\\evil",
    ],
)
def test_an_upstream_that_cannot_be_one_is_refused(given: str) -> None:
    """Ollama falls back to a default port; a proxy that guards should not guess."""
    with pytest.raises(ValueError, match=r"^(takes|has)"):
        values.upstream(given)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        (":80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("localhost:0", "localhost:0"),
    ],
)
def test_an_address_reads_and_shows_alike(given: str, shown: str) -> None:
    """What the start banner shows can be given to --listen."""
    assert str(values.address(given)) == shown


@pytest.mark.parametrize("given", ["", "80", "host", "::1:80", "host:65536", "host:x", "host:", "host:²"])
def test_an_address_without_a_port_is_refused(given: str) -> None:
    """Where clients connect is not guessed."""
    with pytest.raises(ValueError, match="takes"):
        values.address(given)


def test_the_admin_listener_can_be_switched_off() -> None:
    """`off`, and false in TOML."""
    assert values.optional_address("off") is None
    assert values.optional_address(False) is None
    assert values.optional_address(":9") == ("127.0.0.1", 9)


@pytest.mark.parametrize(
    ("given", "number"),
    [("1", 1), (1, 1), ("2KiB", 2048), ("2 kb", 2048), ("3M", 3 << 20), ("1GiB", 1 << 30), ("9B", 9)],
)
def test_sizes(given: Any, number: int) -> None:
    """Bytes, or with a unit in steps of 1024."""
    assert values.size(given) == number


@pytest.mark.parametrize("given", ["", "0", "-1", "1.5M", "1TiB", True, "²"])
def test_wrong_sizes(given: Any) -> None:
    """No fractions, no unknown units, nothing that is no number."""
    with pytest.raises(ValueError, match="takes"):
        values.size(given)


@pytest.mark.parametrize(("given", "number"), [("15", 15), (1.5, 1.5), ("500ms", 0.5), ("10m", 600), ("2h", 7200)])
def test_times(given: Any, number: float) -> None:
    """Seconds, or with a unit."""
    assert values.seconds(given) == number


@pytest.mark.parametrize("given", ["", "-1", "1d", "nan", "inf", True, "1e9"])
def test_wrong_times(given: Any) -> None:
    """Nothing that is no length of time."""
    with pytest.raises(ValueError, match="takes"):
        values.seconds(given)


@pytest.mark.parametrize(("given", "truth"), [(True, True), ("on", True), ("1", True), ("No", False), (0, False)])
def test_booleans(given: Any, truth: bool) -> None:
    """The words that people use."""
    assert values.boolean(given) is truth
    with pytest.raises(ValueError, match="takes true or false"):
        values.boolean(f"{given}x")


def test_lists() -> None:
    """A text with commas, or a list in TOML."""
    assert values.names(" a, b ,,") == values.names(["a", "b"]) == ("a", "b")
    with pytest.raises(ValueError, match="takes a list"):
        values.names([1])
