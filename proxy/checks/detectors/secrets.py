r"""Keys, tokens and passwords: by their form, or because a name says what stands behind it.

A form alone is not enough where words can have it too: `sk-toggleable__label-arrow` is a class of a style sheet. So
what is found has to look as if chance had made it (`looks_random`), and not like what documents write in the place of a
secret (`is_placeholder`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from math import log2
from zlib import crc32

from proxy.checks.detectors.detector import (
    EMPHASIS,
    Detector,
    Options,
    Recogniser,
    Validation,
    Validator,
    dropped,
    found,
)
from proxy.checks.detectors.formats import AMBIGUOUS, FORMATS

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OTHERS = {
    "private_key": "private key blocks (PEM, OpenSSH, PGP)",
    "jwt": "JSON Web Tokens (RFC 7519)",
    "url_password": "passwords in URLs and connection strings",
    "named_value": "what stands behind a name such as `api_key =` and looks random",
}
KINDS = {one.name: f"{one.provider}" for one in FORMATS} | _OTHERS
UNIQUE = frozenset(("age", "twitter_bearer", "aws_bedrock_short", "flutterwave", "discord_webhook", "paypal"))
"""Formats that nothing else has, whatever their characters look like."""

WORDY = frozenset(("sk_key",))
"""Formats that other things begin like: only what looks random counts."""

_KEY_OF = "api access secret private signing encryption master account auth service client app shared"
_NAMES = (
    *(rf"{word}[_ -]?key" for word in _KEY_OF.split()),
    *["token", "secret", "password", "passwd", "passphrase", "pwd", "credentials?", "authorization"],
)


def _in_any_case(words: Iterable[str]) -> str:
    """Any of the words in any case; those with the same first letter together, so that few are tried at a place."""
    groups: dict[str, list[str]] = defaultdict(list)
    for word in words:
        groups[word[0]].append(word[1:])
    return "|".join(f"[{first}{first.upper()}](?i:{'|'.join(rest)})" for first, rest in groups.items())


def _capital(words: Iterable[str]) -> str:
    """Any of the words, with a capital letter at its beginning."""
    return "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in words)


_OWNERS = "db my user root admin auth access refresh id bot api app client jwt smtp ftp ssh redis mysql pg postgres"
_OWNED = f"(?:{_in_any_case(_OWNERS.split())})(?i:password|passwd|pwd|secret|token)"
_KEYWORD = rf"(?:(?<![A-Za-z])(?:{_in_any_case(_NAMES)}|{_OWNED})|(?<=[a-z])(?:{_capital(_NAMES)}))"
"""A name begins behind what is no letter, at a capital (`authToken`), or with the name of its owner (`dbpassword`)."""
_SUFFIX = r"(?i:[_-]?(?:id|value|v?\d{1,2}|prod|dev|test|base64|b64|string))?"
_SIGN = (
    r"[\"'`\])]{0,2}(?: string| ?: ?(?:str|String|string))?"
    r"(?:\s{0,3}(?:[:?+.]{1,3}=|=>?|:|>|,|\|\|)|\s{1,3}is:?)\s{0,12}"
)
_SCHEME = r"(?i:(?:bearer|basic|token|bot|apikey)\s{1,3})?"
_VALUE = r"[^\s\"'`,;<>(){}\\]{8,256}"
_NAMED = rf"(?P<name>{_KEYWORD}){_SUFFIX}{_SIGN}[rbf]?[\"'`]{{0,3}}{_SCHEME}(?P<value>{_VALUE})"

_BODY = r"[A-Za-z0-9+/=\s\\:,.()]"
_PRIVATE_KEY = (
    r"(?P<private_key>-----BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:\s{0,4}(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^\n-]{1,80}(?:-[^\n-]{1,60}){0,4}){0,3}"
    rf"{_BODY}{{16,3500}}"
    r"(?:-----END [A-Z0-9 ]{1,40}-----)?)"
)
_JWT = r"(?<![A-Za-z0-9_-])(?P<jwt>eyJ[A-Za-z0-9_-]{10,500}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,700})"
_URL = r"://(?P<user>[^\s:/@'\"<>]{0,64}):(?P<url_password>[^\s/@'\"<>]{3,128})@"

_PLACEHOLDER = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|(.)\1{6,}|example|sample|placeholder|changeme|change_me|dummy|redacted|insert|replace|"
    r"your[-_a-z]|my[-_]|_here|[-_]here|<|\$\{?[a-z_]|\{\{|%[a-z_]+%|abcdef.?0?123456|deadbeef",
    re.IGNORECASE,
)
_WEAK_WORDS = "password passwd pass secret pwd user username root admin test guest token postgres mysql"
_WEAK = frozenset(_WEAK_WORDS.split())
_PIECES = re.compile(r"[A-Za-z0-9]+")
_CHANGES = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_HEX = re.compile(r"[0-9a-fA-F]{24,}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_PATH = re.compile(r"(?:https?:|www\.|[./~]{0,2}[\w-]+(?:/[\w.-]+){2,}/?$)")


def entropy(text: str) -> float:
    """Shannon's entropy of a text's characters, in bits for each."""
    counts = [text.count(char) / len(text) for char in set(text)]
    return -sum(share * log2(share) for share in counts)


def is_placeholder(text: str) -> bool:
    """Whether it is what documents write in the place of a secret."""
    return _PLACEHOLDER.search(text) is not None or text.lower() in _WEAK


def looks_random(text: str) -> bool:
    """Whether chance may have made it: letters and digits in turn, within pieces that are no words."""
    pieces = _PIECES.findall(text)
    changes = sum(len(_CHANGES.findall(piece)) for piece in pieces)
    digits = sum(char.isdigit() for char in text)
    if _HEX.search(text) or _UUID.fullmatch(text) or (text.isdigit() and len(text) >= 16):
        return entropy(text) >= 2.2
    return changes >= 3 and digits >= 2 and entropy(text) >= 3.0 and _mixed(pieces, changes)


def _may_be_random(text: str) -> bool:
    """Whether there is a digit, or capital among small letters: words of one case are no key."""
    return any(map(str.isdigit, text)) or (text != text.lower() and entropy(text) >= 3.0)


def _mixed(pieces: list[str], changes: int) -> bool:
    """More letters and digits in turn than names with numbers in them have (`v1-alpha2-beta3`)."""
    longest = max(map(len, pieces))
    return longest >= 8 or changes >= 6


def github_sum(token: str) -> bool:
    """GitHub's tokens end in the CRC-32 of what stands before, in base 62 with six digits."""
    body, given = token.partition("_")[2][:-6], token[-6:]
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return digits == given


def _validate_format(kind: str, written: str, span: tuple[int, int]) -> Validation:
    text = written.replace("\\", "")
    summed = kind in ("github", "github_app") and github_sum(text)
    if kind in UNIQUE or summed:
        return found(*span, kind)
    if is_placeholder(text):
        return dropped("what documents write in the place of a secret", skip=True)
    if (kind in WORDY and not looks_random(text[3:])) or not _may_be_random(text):
        return dropped("words, nothing that chance has made", skip=True)
    return found(*span, kind)


def _validate_named(match: re.Match[str], kinds: frozenset[str]) -> Validation:
    value, name = match["value"].rstrip(".:!?*_"), match["name"].lower()
    start = match.start("value")
    span = start, start + len(value)
    kind = format_of(value, kinds)
    if kind and kind not in AMBIGUOUS:
        return _validate_format(kind, value, span)
    if is_placeholder(value):
        return dropped("what documents write in the place of a secret")
    if _PATH.match(value) or "://" in value:
        return dropped("a path or an address")
    if kind or _is_secret(value, name.startswith("pass") or name == "pwd"):
        return found(*span, kind or "named_value")
    return dropped("behind a name, but nothing that chance has made")


def _is_secret(value: str, password: bool) -> bool:
    if password:
        classes = sum(any(map(test, value)) for test in (str.islower, str.isupper, str.isdigit, _is_sign))
        return classes >= 3 and entropy(value) >= 2.7 and "." not in value and "=" not in value
    return len(value) >= 16 and looks_random(value)


def _is_sign(char: str) -> bool:
    return not char.isalnum() and char not in "_-"


def _validate_url(match: re.Match[str]) -> Validation:
    password = match["url_password"]
    if is_placeholder(password) or password == match["user"] or password.startswith(("$", "{", "[", "%")):
        return dropped("what documents write in the place of a password", skip=True)
    return found(*match.span("url_password"), "url_password")


def _validate(kinds: frozenset[str]) -> Validator:
    def validate(match: re.Match[str]) -> Validation:
        kind = match.lastgroup or ""
        if kind == "value":
            return _validate_named(match, kinds)
        if kind == "url_password":
            return _validate_url(match)
        if kind == "private_key":
            return found(*match.span(), kind)
        if kind == "jwt":
            return found(*match.span(), kind)
        return _validate_format(format_of(match["format"], kinds), match["format"], match.span("format"))

    return validate


_LITERAL_FIRST = re.compile(r"([A-Za-z0-9])(?![{?*+|])")


def _by_first(names: Iterable[str]) -> str:
    """The formats' patterns, those that begin with the same character together, so that few are tried at a place."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in FORMATS:
        if one.name in names and one.name not in AMBIGUOUS:
            first = _LITERAL_FIRST.match(one.pattern)
            groups[first[1] if first else ""].append(one.pattern[1:] if first else one.pattern)
    branches = [f"{first}(?:{'|'.join(group)})" for first, group in groups.items()]
    return rf"(?<![A-Za-z0-9_-]){EMPHASIS}(?P<format>{'|'.join(branches)}){EMPHASIS}(?![A-Za-z0-9_])"


@lru_cache(maxsize=8)
def _formats(kinds: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{one.name}>{one.pattern})" for one in FORMATS if one.name in kinds))


def format_of(value: str, kinds: frozenset[str]) -> str:
    """Which format a value has; empty when it has none of these."""
    match = _formats(kinds).fullmatch(value)
    return (match.lastgroup or "") if match else ""


def _recogniser(options: Options) -> Recogniser:
    kinds = options.kinds
    more = {"jwt": _JWT, "private_key": _PRIVATE_KEY, "url_password": _URL, "named_value": _NAMED}
    parts = [pattern for kind, pattern in more.items() if kind in kinds]
    if any(one.name in kinds and one.name not in AMBIGUOUS for one in FORMATS):
        parts.insert(1 if "jwt" in kinds else 0, _by_first(kinds))
    return Recogniser("|".join(parts), _validate(kinds))


_HITS = (
    "sk-" + "proj-" + "a1B2c3D4e5" * 3,
    "AKIA" + "ABCDEFGH12345678",
    "ghp_" + "x1" * 18,
    "xoxb-" + "123456789012-" + "aB3dE5fG7hJ9kL1mN3pQ5rS7",
    "glpat-" + "aB3dE5fG7hJ9kL1mN3pQ",
    "hf_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z",
)
_MISSES = (
    "sk-learn and task-force",
    "div.sk-toggleable__label-arrow:before {}",
    "sk-estimator-doc-link-container-2",
    "sk-risk-assessment-of-the-second-kind",
    "AKIA is a prefix",
    "glpat-short",
    "the xoxo-gossip",
    "ghp_" + "x" * 36,
    "AKIAIOSFODNN7" + "EXAMPLE",
)

SECRETS = Detector(
    "secrets",
    "keys and passwords: formats of more than 150 providers, private keys, JWTs, connection strings, named values",
    _recogniser,
    (
        *_HITS,
        "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA7" * 4 + "\n-----END RSA " + "PRIVATE KEY-----",
        "postgres://app:" + "s3cr3tPw9@db.example.com/x",
        'api_key = "' + "9f8A7b6C5d4E3f2A1b0C" + '"',
        "token: " + "862e727561ecfe11a9f23ae754eb8666",
    ),
    (
        *_MISSES,
        "password = getpass()",
        "token = request.headers['Authorization']",
        "postgres://user:password@localhost/db",
        "api_key = YOUR_API_KEY_1234567890",
        "secret: see https://example.com/a1b2c3d4e5f6a7",
    ),
    KINDS,
)


def _keys(_: Options) -> Recogniser:
    return _recogniser(Options(frozenset(one.name for one in FORMATS)))


API_KEY = Detector("api_key", "keys with a known form; `secrets` finds more", _keys, _HITS, _MISSES)
