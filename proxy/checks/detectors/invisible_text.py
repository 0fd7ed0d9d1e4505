"""Text that a person does not see (Unicode Technical Standard 51: emoji sequences; Annex 9: bidirectional text)."""

from __future__ import annotations

import re

from proxy.checks.detectors.detector import Detector, Options, Recogniser, Validation, dropped, found

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


def _invisible(match: re.Match[str]) -> Validation:
    kind = match.lastgroup or ""
    if kind == "flag":
        return dropped("the flag of a region", skip=True)
    return found(*match.span(), kind)


def _invisible_recogniser(options: Options) -> Recogniser:
    return Recogniser("|".join(_PATTERNS[kind] for kind in _PATTERNS if kind in options.kinds), _invisible)


INVISIBLE_TEXT = Detector(
    "invisible_text",
    "text that nobody sees: tag characters, overrides of direction, runs of zero-width characters and selectors",
    _invisible_recogniser,
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
