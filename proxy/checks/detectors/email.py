r"""E-mail addresses, and what only looks like one.

`icon@2x.png`, `getty@tty1.service` and `a @ b.T` have no top-level domain that exists; `git@host:path` and
`ssh://user@host` are addresses of repositories. In Markdown, `bob\_smith@example.com` is one address, and in a URL
`bob%40example.com` is one (RFC 3986).
"""

from __future__ import annotations

import re
from string import ascii_letters, digits

from proxy.checks.detectors.detector import UNSPACED, Detector, Validation, dropped, fixed, found
from proxy.checks.detectors.tlds import TLDS

_LOCAL = r"(?:[\w.%+'-]|\\_){1,64}"
_LABEL = r"[\w-]{1,63}"
_PATTERN = (
    r"(?<![\w.%+'-])"
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,15}://(?:[^\s/@:'\"<>]{1,32}:)?)?"
    rf"(?P<local>{_LOCAL})(?:@|%40)(?P<host>{_LABEL}(?:\.{_LABEL}){{1,8}})"
    r"(?P<after>:[\w~/.-]|['(])?"
)

_REPOSITORY_USERS = frozenset(("git", "hg"))
_FORGE_NAMES = "github.com gitlab.com bitbucket.org codeberg.org git.sr.ht ssh.dev.azure.com gitee.com"
_FORGES = frozenset(_FORGE_NAMES.split())
_METHODS = "all call date dot fit id link map name now open page read run search select zip"
_CALLS = frozenset(_METHODS.split())
_UNITS = frozenset(("target",))  # of systemd; the other kinds of units are no top-level domains
_ZOOMED = re.compile(r"\d+x", re.IGNORECASE)
_QUOTED = re.compile(r"(?:[a-zA-Z]{0,2})'")  # of Python's strings: f'bob@example.com'
_STEM = re.compile(rf"[{UNSPACED}]+(?=[!-~])")
_ASCII_LETTERS = re.compile(r"[A-Za-z]+")


def top_level(label: str) -> int:
    """How many characters at the beginning of a host's last label are a top-level domain; 0: none is.

    In scripts without spaces a word may follow directly: `bob@example.com谢谢`.
    """
    label = label.rstrip("_-")
    if label.lower() in TLDS:
        return len(label)
    ascii_part = _ASCII_LETTERS.match(label)
    follows = label[ascii_part.end() :] if ascii_part else ""
    if ascii_part and follows and not follows[0].isascii() and ascii_part[0].lower() in TLDS:
        return ascii_part.end()
    return 0


def host_length(host: str) -> int:
    """How much of it is a name that can exist: without what a sentence adds (`example.com.Then`); 0: nothing."""
    labels = host.split(".")
    while len(labels) > 1:
        known = top_level(labels[-1])
        if known:
            return len(".".join(labels[:-1])) + 1 + known
        labels.pop()
    return 0


def _validate(match: re.Match[str]) -> Validation:
    if match["scheme"]:
        return dropped("the user of a URL", skip=True)
    host, after = match["host"], match["after"] or ""
    length = host_length(host)
    if not length:
        return dropped("there is no such top-level domain")
    cut = length < len(host)
    host = host[:length].lower()
    local, begins = _local_part(match["local"], not cut and after == "'")
    emphasis = match["host"][length:]
    if cut and emphasis in ("_", "__") and local.startswith(emphasis):
        local, begins = local[len(emphasis) :], begins + len(emphasis)
    if not local:
        return dropped("nothing stands before the @")
    reason = _no_mail(local.lower(), host, "" if cut else after)
    if reason:
        return dropped(reason, skip=True)
    return found(match.start("local") + begins, match.start("host") + length)


def _local_part(local: str, quoted: bool) -> tuple[str, int]:
    """The local part without quotes, dots and words of a script without spaces before it, and where it begins."""
    begins = 0
    opening = _QUOTED.match(local) if quoted or local.startswith("'") else None
    if opening:
        begins = opening.end()
    stem = _STEM.match(local, begins)
    if stem:
        begins = stem.end()
    while begins < len(local) and local[begins] in ".'%-":
        begins += 1
    return local[begins:], begins


def _no_mail(local: str, host: str, after: str) -> str:
    """Why it is none; empty when it is one."""
    labels = host.split(".")
    if local in _REPOSITORY_USERS and (after.startswith(":") or host in _FORGES):
        return "the address of a repository"
    if any(_ZOOMED.fullmatch(label) for label in labels):
        return "the name of a picture"
    if labels[-1] in _UNITS and len(labels) == 2:
        return "a unit of systemd"
    if labels[-1] in _CALLS and len(labels) == 2 and after == "(":
        return "a call in code"
    if any(label.startswith("-") or label.endswith("-") or "_" in label for label in labels):
        return "no name of a host"
    return ""


_SHAPE = str.maketrans({**dict.fromkeys(ascii_letters, "x"), **dict.fromkeys(digits, "1")})


def _canonical(begun: str) -> str:
    """Before the @, of four characters or more only the shape counts: none is a user of repositories."""
    plain = len(begun) > 3 and begun.isascii() and not set(begun) & set("@:%")
    return begun.translate(_SHAPE) if plain else begun


EMAIL = Detector(
    "email",
    "e-mail addresses under a top-level domain that exists",
    fixed(_PATTERN, _validate, _canonical),
    (
        "write to bob@example.com",
        "j.o'hara+lists@mail.example.co.uk, please",
        "ärger@müller.example",
        "AUTHOR = 'bob@example.com'",
        "bob@example.com:x",
        r"bob\_smith@example.com",
        "邮箱bob@example.com谢谢",
        "git@example.com, thanks",
        "_bob@example.com_",
    ),
    (
        "an @mention",
        "a@b",
        "user@localhost",
        "3 @ 4.5",
        "see assets/icon@2x.png",
        "systemctl restart getty@tty1.service",
        "git clone git@github.com:org/repo.git",
        "hg@example.com:path",
        "git+ssh://user@example.com/x",
        "x@y.dot(z)",
        "npm i lodash@4.17.21",
    ),
)
