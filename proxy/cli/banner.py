"""What stands on the screen once the proxy is up."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from proxy import __version__
from proxy.checks.registry import Entry
from proxy.server.keys.store import KeyStore
from proxy.startup.discovery import Backend
from proxy.values import Address

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Loaded(NamedTuple):
    """The policies in force: names with their numbers of rules, where they are, and their revision."""

    policies: Sequence[tuple[str, int]]
    folder: str
    revision: str


def lines(
    listen: Address,
    admin: Address | None,
    backend: Backend,
    loaded: Loaded,
    shadow: Loaded | None = None,
    scheme: str = "http",
    plugins: Sequence[str] = (),
    recording: str = "",
    more: Sequence[Backend] = (),
    asked: str = "",
    console: bool = False,
) -> Iterator[tuple[str, str]]:
    """Label and text of each line; a line without a label continues the one before. more: the other backends.
    asked: which keys clients have to show; "": none. console: the admin listener has pages for people."""
    base = f"{dialled(listen, scheme)}/v1"
    yield "base_url", base
    if listen.is_socket:
        yield "", f"listening on {listen}"
    elif not listen.is_local:
        yield "", f"listening on {listen}: other machines can reach it" if asked else open_listener(listen)
    yield "admin", _admin(admin, scheme)
    if admin and not admin.is_local:
        yield "", f"listening on {admin}: other machines can reach it, with a key" if asked else open_admin(admin)
    if console and admin and not admin.is_socket:
        yield "console", f"{dialled(admin, scheme)}/"
    if asked:
        yield "keys", asked
    for number, one in enumerate((backend, *more)):
        yield "" if number else "upstream", _backend(one)
        if one.trouble:
            yield "", one.trouble
    yield "policies", _names(loaded) or "none: everything passes"
    yield "", f"{loaded.folder} at revision {loaded.revision[:12]}; an edit takes effect within a second"
    if shadow is not None:
        yield "shadow", f"{_names(shadow) or 'none'}: counted and logged, changes nothing"
    for number, told in enumerate(plugins):
        yield "" if number else "plug-ins", told
    if recording:
        yield "record", recording
    tried = next((one for one in (backend, *more) if one.model), backend)
    yield "try", curl(base, tried, listen, with_key=bool(asked))


def recording(record_text: str, file: Path | None, has_store: bool = False) -> str:
    """What is recorded, and where; "" for nothing."""
    places = [*([str(file)] if file is not None else []), *(["the store"] if has_store else [])]
    if not places:
        return ""
    where = " and ".join(places)
    if record_text == "full":
        return f"{where}: FULL TEXTS of prompts and answers, as they are (record_text)"
    texts = "texts without all that a rule finds" if record_text == "masked" else "no text"
    return f"{where}: a record for each exchange, {texts}"


def plugin(entry: Entry) -> str:
    """A plug-in's kind, its version, and where it came from."""
    return f"{entry.kind.name} {entry.version or '(no version)'} ({entry.what}, {entry.origin})"


def _backend(backend: Backend) -> str:
    label = f"{backend.label} at " if backend.label else ""
    return f"{label}{backend.url}{f' ({backend.name})' if backend.name else ''}"


def _admin(address: Address | None, scheme: str) -> str:
    if address is None:
        return "off"
    return str(address) if address.is_socket else dialled(address, scheme)


def open_admin(admin: Address) -> str:
    """What everybody who can reach the admin listener can do."""
    return f"listening on {admin}: other machines can reach it, and see metrics and status without a key"


def open_listener(listen: Address) -> str:
    """What everybody who can reach the chat listener can do."""
    return f"listening on {listen}: other machines can reach it, and use the models without a key (allow_anonymous)"


def keys(store: KeyStore) -> str:
    """Which keys clients have to show."""
    number = len(store.current.keys)
    return f"{store.path}: {'1 key' if number == 1 else f'{number} keys'}; each request has to show one"


def curl(base_url: str, backend: Backend, listen: Address, with_key: bool = False) -> str:
    """A command that streams an answer. `with_key`: the key stands in the variable KEY."""
    key = '-H "x-api-key: $KEY" ' if with_key else ""
    socket = f"--unix-socket {shlex.quote(listen.host[5:])} " if listen.host.startswith("unix:") else ""
    message = {"role": "user", "content": backend.prompt}
    ask = {"model": backend.model or "MODEL", "stream": True, "messages": [message]}
    body = shlex.quote(json.dumps(ask, separators=(",", ":")))
    return f"curl -N {socket}{key}{base_url}/chat/completions -d {body}"


def dialled(address: Address, scheme: str = "http") -> str:
    """The URL under which a client on this machine reaches a listener; through a unix socket any name will do."""
    if address.is_socket:
        return f"{scheme}://localhost"
    return f"{scheme}://{Address(EVERYWHERE.get(address.host, address.host), address.port)}"


def write(out: TextIO, rows: Iterator[tuple[str, str]]) -> None:
    """Put the lines on the screen."""
    out.write(f"safety-proxy {__version__}\n")
    for label, text in rows:
        out.write(f"{bold(f'{label:<8}', out)}  {text}\n")
    out.flush()


def bold(text: str, out: TextIO) -> str:
    """The text in bold, where that is wanted (no-color.org) and can be seen."""
    return f"\033[1m{text}\033[0m" if coloured(out) else text


def coloured(out: TextIO) -> bool:
    """Whether `out` is a terminal whose user has not said no to colours."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _names(loaded: Loaded) -> str:
    return ", ".join(f"{name.removeprefix('shadow:')} ({_rules(number)})" for name, number in loaded.policies)


def _rules(number: int) -> str:
    return "1 rule" if number == 1 else f"{number} rules"
