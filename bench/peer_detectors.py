"""What other packages find, for bench.detection: runs in an environment of its own, which bench/peer-detectors.txt
describes. It reads texts as JSON from standard input and writes what was found to standard output.

presidio-analyzer: its recognisers by pattern and check digit, without a model of language. detect-secrets: a file at a
time, as its authors mean it. better-profanity: lists of words.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Spans = list[tuple[int, int]]


def presidio(texts: Sequence[str]) -> dict[str, list[Spans]]:
    """For each entity the spans in each text."""
    import tldextract
    from presidio_analyzer import predefined_recognizers as known

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # its own copy of the list, not the network's
    made = {
        "EMAIL_ADDRESS": known.EmailRecognizer(),
        "PHONE_NUMBER": known.PhoneRecognizer(),
        "CREDIT_CARD": known.CreditCardRecognizer(),
        "IBAN_CODE": known.IbanRecognizer(),
        "US_SSN": known.UsSsnRecognizer(),
        "IP_ADDRESS": known.IpRecognizer(),
        "CRYPTO": known.CryptoRecognizer(),
    }
    return {
        entity: [[(r.start, r.end) for r in one.analyze(text, [entity], None) or []] for text in texts]
        for entity, one in made.items()
    }


def detect_secrets(texts: Sequence[str]) -> list[list[str]]:
    """The secrets in each text."""
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    found = []
    with tempfile.TemporaryDirectory() as folder, default_settings():
        path = Path(folder) / "text.txt"
        for text in texts:
            path.write_text(text, "utf-8")
            found.append([one.secret_value or "" for one in scan_file(str(path))])
    return found


def better_profanity(lists: Sequence[Sequence[str]], texts: Sequence[str]) -> Iterator[list[bool]]:
    """For each list whether something is hidden in each text."""
    from better_profanity import Profanity

    for words in lists:
        filter_ = Profanity(words)
        yield [filter_.censor(text) != text for text in texts]


def main() -> None:
    """One question, one answer."""
    question: dict[str, Any] = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        answer = {
            "personal": presidio(question["personal"]),
            "secrets": detect_secrets(question["secrets"]),
            "words": list(better_profanity(question["lists"], question["words"])),
        }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
