"""Readers for the values of settings, whether they come from a flag, the environment or TOML.

Each reader raises ValueError with the rest of a sentence that begins with the setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, NamedTuple

Read = Callable[[Any], Any]


class Address(NamedTuple):
    """Where to listen. Port 0: any free one.

    host: a host; or `unix:/path` for a unix socket, or `fd:N` for a socket that was inherited (the port is then 0)
    """

    host: str
    port: int

    @property
    def is_socket(self) -> bool:
        """It is a unix socket or an inherited one, and no host."""
        return self.host.startswith(("unix:", "fd:"))

    def __str__(self) -> str:
        if self.is_socket:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Only this machine can reach it. Of a socket that was inherited that is not known, and taken for so."""
        if self.is_socket:
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def address(value: Any) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT`, `:PORT` (this machine only), `unix:/path`, or `fd:N`."""
    text = str(value).strip()
    if re.fullmatch(r"unix:/.+|fd:\d{1,6}", text, re.ASCII):
        return Address(text, 0)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("takes HOST:PORT, such as 127.0.0.1:11435, or unix:/path")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("takes an IPv6 address in brackets, such as [::1]:11435")
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def optional_address(value: Any) -> Address | None:
    """An address, or `off`."""
    return None if value is False or str(value).strip().lower() == "off" else address(value)


def upstream(value: Any) -> str:
    """A model server's base URL, written as in OLLAMA_HOST (Ollama, envconfig/config.go).

    Without a scheme the port is 11434, with http:// 80, with https:// 443. A host that stands for "every interface"
    is dialled on loopback. A path is kept, but for a final /v1, which is part of every request's own path.
    """
    text = str(value).strip().strip("\"'").strip()
    if text == "demo":
        return text
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
    if scheme.lower() not in ("http", "https"):
        raise ValueError("takes http:// or https:// URLs, a host, or HOST:PORT")
    netloc, slash, path = rest.partition("/")
    host, port = _host_and_port(netloc)
    if port is None:
        port = {"http": 80, "https": 443}[scheme.lower()] if found else 11434
    if any(c in path for c in "?#") or "@" in netloc:
        raise ValueError("takes no user name, query or fragment (a key goes into upstream_key)")
    path = re.sub(r"(^|/)v1$", "", path.rstrip("/"))
    return f"{scheme.lower()}://{host}:{port}{slash and path and '/'}{path}"


class Upstream(NamedTuple):
    """One of several model servers; see the settings file's `[[upstream]]`.

    name:   for logs and metrics; "": its URL
    key:    bearer token for this model server alone
    models: names of the models that it gets, with `*` and `?`; none: those that it lists
    weight: how much it takes beside others that have the same model
    """

    url: str
    name: str = ""
    key: str | None = None
    models: tuple[str, ...] = ()
    weight: int = 1


def one_upstream(value: Any) -> Upstream:
    """A table of `[[upstream]]`. Raises ValueError with the rest of a sentence that begins with the table's name."""
    table = dict(value)
    if unknown := [key for key in table if key not in _UPSTREAM]:
        raise ValueError(f"has no setting {unknown[0]}; it takes {', '.join(_UPSTREAM)}")
    if "url" not in table:
        raise ValueError("has no url")
    if "key_file" in table:
        if "key" in table:
            raise ValueError("has key and key_file; leave out one of them")
        table["key"] = _from_file(table.pop("key_file"))
    found = {}
    for key, given in table.items():
        try:
            found[key] = _UPSTREAM[key](given)
        except ValueError as error:
            raise ValueError(f"{key} {error}") from None
    return Upstream(**found)


def _listed_upstream(value: Any) -> str:
    url = upstream(value)
    if url == "demo":
        raise ValueError("takes the URL of a model server; the demo model stands alone")
    return url


def _label(value: Any) -> str:
    """A short name that fits into a log and a metric's label."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}", value):
        raise ValueError("takes a name of at most 64 letters, digits, spaces and . _ / -")
    return value


def _model_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not names(value):
        raise ValueError('takes a list of names, such as ["llama3.1:8b", "qwen*"]')
    return names(value)


def _from_file(value: Any) -> str:
    try:
        return folder(value).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"key_file {value} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _host_and_port(netloc: str) -> tuple[str, int | None]:
    """Host and port of `host:port`. Either may be missing. IPv6 has brackets in the result."""
    bare = netloc.strip("[]")
    if netloc.count(":") > 1 and "]:" not in netloc:
        host, port = bare, ""
    else:
        host, _, port = netloc.rpartition(":") if ":" in netloc else (netloc, "", "")
        host = host.strip("[]")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"has the port {port!r}; a port is a number from 1 to 65535")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        shown = f"[{IPv6Address(host)}]" if ":" in host else host
    except ValueError:
        shown = ""
    if not re.fullmatch(r"[^\s\\?#@%]+", shown):
        raise ValueError(f"has the host {host!r}, which is not one")
    return shown, int(port) if port else None


def text(value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("takes a text")
    return value.strip()


def folder(value: Any) -> Path:
    """A path. Whether it exists is found out when it is read."""
    return Path(text(value)).expanduser()


def root_path(value: Any) -> str:
    """A path such as /guard, or nothing."""
    path = str(value).strip().rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path, re.ASCII):
        raise ValueError("takes a path such as /guard")
    return path


def boolean(value: Any) -> bool:
    """true or false; also 1, 0, yes, no, on, off."""
    word = str(value).strip().lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    raise ValueError("takes true or false")


def size(value: Any) -> int:
    """Bytes, or with KiB, MiB or GiB behind the number, in steps of 1024."""
    match = re.fullmatch(r"(\d+)\s*(?:([KMG])(?:i?B)?|B)?", str(value).strip(), re.IGNORECASE | re.ASCII)
    if match is None or isinstance(value, bool) or int(match[1]) == 0:
        raise ValueError("takes a number of bytes, such as 33554432 or 32MiB")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[(match[2] or "").upper()]


def store_size(value: Any) -> int:
    """Bytes, at least 8 MiB: one record with texts may take one."""
    found = size(value)
    if found < 8 << 20:
        raise ValueError("takes at least 8MiB")
    return found


def size_or_none(value: Any) -> int:
    """The same, or 0 for none."""
    return 0 if value == 0 or str(value).strip() == "0" else size(value)


def seconds(value: Any) -> float:
    """Seconds, or with ms, s, m or h behind the number."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", str(value).strip(), re.ASCII)
    if match is None or isinstance(value, bool):
        raise ValueError("takes seconds, such as 15, 1.5, 500ms or 10m")
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2] or "s"]


def margin(value: Any) -> float:
    """A factor of at least 1, or 0."""
    match = re.fullmatch(r"\d{1,4}(?:\.\d{1,4})?", str(value).strip(), re.ASCII)
    if match is None or isinstance(value, bool) or 0 < float(match[0]) < 1:
        raise ValueError("takes 0, or a factor of at least 1, such as 1.5")
    return float(match[0])


def tokens(value: Any) -> int:
    """A number of tokens; 0 for none."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value).strip(), re.ASCII):
        raise ValueError("takes a number of tokens, such as 32768, or 0")
    return int(str(value).strip())


def number(value: Any) -> int:
    """A whole number; 0 for none."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value).strip(), re.ASCII):
        raise ValueError("takes a whole number, such as 60, or 0")
    return int(str(value).strip())


def store_url(value: Any) -> str:
    """The URL of a Redis or Valkey server."""
    found = text(value)
    if not re.fullmatch(r"(redis|valkey)s?://[^\s?#]+|(redis|valkey)\+unix://[^\s#]+", found, re.ASCII):
        raise ValueError("takes a URL such as redis://127.0.0.1:6379")
    return found


def record_store(value: Any) -> str:
    """`off`, `sqlite`, or the URL of a data base."""
    if value is False or str(value).strip().lower() == "off":
        return "off"
    found = text(value)
    if found != "sqlite" and not re.fullmatch(r"postgresql://\S+|sqlite:///\S+", found):
        raise ValueError("takes off, sqlite, or a URL such as postgresql://user:password@127.0.0.1/decisions")
    return found


def count(value: Any) -> int:
    """A number from 1 to 9999."""
    if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d{0,3}", str(value).strip(), re.ASCII):
        raise ValueError("takes a number from 1 to 9999")
    return int(str(value).strip())


def url(value: Any) -> str:
    """An http or https URL; a slash at its end is dropped."""
    found = text(value).rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+[^\s?#]*", found):
        raise ValueError("takes a URL such as http://127.0.0.1:4318")
    return found


def names(value: Any) -> tuple[str, ...]:
    """A list, or a text with commas."""
    items = value if isinstance(value, list) else str(value).split(",")
    if not all(isinstance(item, str) for item in items):
        raise ValueError("takes a list of texts, or one text with commas")
    return tuple(item.strip() for item in items if item.strip())


def one_of(*words: str) -> Read:
    """A reader for one of these words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError("takes " + " or ".join(words))
        return str(value)

    return read


_UPSTREAM: dict[str, Read] = {
    "name": _label,
    "url": _listed_upstream,
    "key": text,
    "key_file": text,
    "models": _model_names,
    "weight": count,
}
"""What a table of `[[upstream]]` takes."""
