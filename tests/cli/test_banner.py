"""The start banner."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from proxy.cli.banner import Loaded, lines, recording, write
from proxy.startup.discovery import Backend
from proxy.values import Address

LOADED = Loaded([("starter", 5), ("house", 1)], "policies", "0123456789abcdef")
LOCAL, ADMIN = Address("127.0.0.1", 11435), Address("127.0.0.1", 9435)


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_it_tells_where_what_and_how() -> None:
    """Labels and values stand in two aligned columns."""
    out = io.StringIO()
    write(out, lines(LOCAL, ADMIN, Backend("Ollama", "http://127.0.0.1:11434", "llama3.2"), LOADED))
    assert out.getvalue().splitlines()[1:] == [
        "base_url  http://127.0.0.1:11435/v1",
        "admin     http://127.0.0.1:9435",
        "upstream  http://127.0.0.1:11434 (Ollama)",
        "policies  starter (5 rules), house (1 rule)",
        "          policies at revision 0123456789ab; an edit takes effect within a second",
        "try       curl -N http://127.0.0.1:11435/v1/chat/completions -d "
        '\'{"model":"llama3.2","stream":true,"messages":[{"role":"user","content":"Hello!"}]}\'',
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_console_has_its_address(host: str) -> None:
    """One that can be clicked on this machine; through a unix socket no browser comes."""
    backend = Backend("", "http://x:1")
    assert dict(lines(LOCAL, Address(host, 9435), backend, LOADED, console=True))["console"] == "http://127.0.0.1:9435/"
    for admin in (None, Address("unix:/run/a", 0)):
        assert "console" not in dict(lines(LOCAL, admin, backend, LOADED, console=True))


def test_full_texts_in_the_store_are_told() -> None:
    """As those in a file are: nobody should keep what people write by a slip."""
    assert recording("full", None) == ""
    assert recording("full", None, has_store=True).startswith("the store: FULL TEXTS")
    assert recording("none", Path("a.jsonl"), has_store=True) == (
        "a.jsonl and the store: a record for each exchange, no text"
    )


def test_shadow_policies_are_named_as_such() -> None:
    """Nobody should think that they guard anything."""
    rows = dict(lines(LOCAL, ADMIN, Backend("", "http://x:1"), LOADED, LOADED._replace(policies=[("shadow:next", 2)])))
    assert rows["shadow"] == "next (2 rules): counted and logged, changes nothing"


@pytest.mark.parametrize(("host", "dialled"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_an_address_that_everybody_can_reach_is_said_to_be_one(host: str, dialled: str) -> None:
    """The base_url can be used on this machine all the same."""
    rows = list(lines(Address(host, 80), None, Backend("", "http://x:1"), LOADED))
    assert rows[0] == ("base_url", f"http://{dialled}:80/v1")
    assert "other machines can reach it" in rows[1][1]
    assert ("admin", "off") in rows


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "proxy.example"])
def test_an_admin_listener_that_others_can_reach_is_said_to_be_one(host: str) -> None:
    """Without keys, who can reach it reads metrics and status."""
    rows = list(lines(LOCAL, Address(host, 9435), Backend("", "http://x:1"), LOADED))
    shown = str(Address(host, 9435))
    assert rows[2][1].startswith(f"listening on {shown}: other machines can reach it, and see metrics and status")


def test_with_keys_the_banner_says_so() -> None:
    """Which file, and that both listeners ask for one."""
    everywhere = Address("0.0.0.0", 80), Address("0.0.0.0", 9435)
    rows = list(lines(*everywhere, Backend("", "http://x:1"), LOADED, asked="keys.yaml: 2 keys"))
    assert ("keys", "keys.yaml: 2 keys") in rows
    assert rows[-1][1].startswith('curl -N -H "x-api-key: $KEY" http://127.0.0.1:80/v1/chat/completions -d')
    told = [text for _, text in rows if "machines" in text]
    assert told == [
        "listening on 0.0.0.0:80: other machines can reach it",
        "listening on 0.0.0.0:9435: other machines can reach it, with a key",
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_listener_of_this_machine_needs_no_warning(host: str) -> None:
    """Neither of the two."""
    address = Address(host, 9435)
    assert not [text for _, text in lines(address, address, Backend("", "http://x:1"), LOADED) if "machines" in text]


def test_what_is_wrong_with_the_model_server_stands_below_its_url() -> None:
    """As the first look found it."""
    rows = list(lines(LOCAL, None, Backend("", "http://x:1", trouble="answers with poems"), LOADED))
    assert rows[rows.index(("upstream", "http://x:1")) + 1] == ("", "answers with poems")


def test_several_model_servers_stand_below_each_other() -> None:
    """Each with its name, what it is, and what is wrong with it; the command asks for a model that there is."""
    first = Backend("", "http://x:1", trouble="answers with poems", label="desk")
    second = Backend("llama.cpp", "http://y:1", "tiny", label="big")
    rows = list(lines(LOCAL, None, first, LOADED, more=[second]))
    start = rows.index(("upstream", "desk at http://x:1"))
    assert rows[start + 1 : start + 3] == [("", "answers with poems"), ("", "big at http://y:1 (llama.cpp)")]
    assert '"model":"tiny"' in dict(rows)["try"]


def test_a_models_name_cannot_break_out_of_the_command() -> None:
    """The name comes from the model server; pasted into a shell it stays one argument."""
    rows = dict(lines(LOCAL, ADMIN, Backend("", "http://x:1", 'a\'; rm -rf "$HOME"'), LOADED))
    assert len(shlex.split(rows["try"])) == 5


@pytest.mark.parametrize(
    ("key", "value", "coloured"), [("TERM", "xterm", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)]
)
def test_colours_are_for_terminals_whose_users_want_them(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, coloured: bool
) -> None:
    """NO_COLOR and dumb terminals are heeded; a pipe never gets any."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(key, value)
    for out, expected in ((Terminal(), coloured), (io.StringIO(), False)):
        write(out, lines(LOCAL, ADMIN, Backend("", "http://x:1"), LOADED))
        assert ("\033[" in out.getvalue()) is expected
