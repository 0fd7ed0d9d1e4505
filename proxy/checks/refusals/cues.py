"""Which languages an answer may refuse in: those of which its beginning has a cue, a word that every refusal needs.

So an answer is searched for the phrases of one or two languages, and the others are not even loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "en": "cannot can't cant not no don't won't unable decline refuse sorry apologize apologise lack just couldn't "
    "wouldn't isn't against uncomfortable discourage condemn strongly violates let's illegal "
    "unethical never inappropriate harmful request ai",
    "de": "nicht kein keine keinen keinerlei leider weder ablehnen",
    "fr": "ne n pas désolé désolée refuse impossible",
    "es": "no siento imposible",
    "it": "non dispiace impossibile",
    "pt": "não desculpe impossível",
    "nl": "niet geen helaas",
    "pl": "nie niestety",
    "ru": "не нет",
    "uk": "не немає",
    "tr": "üzgünüm maalesef olarak değilim değil yok yardımcı edemem veremem yapamam edemiyorum veremiyorum olamam "
    "olamıyorum yapamıyorum reddediyorum veremesem edemesem olamasam yapamasam sunamasam",
}
"""The cues of languages that share a script with others."""
SCRIPTS: Mapping[str, str] = {
    "ar": "\u0600-\u06ff",
    "hi": "\u0900-\u097f",
    "zh": "\u4e00-\u9fff",
    "ja": "\u3040-\u30ff",
    "ko": "\uac00-\ud7a3",
}
"""Languages that are known by their letters."""
LANGUAGES = (*WORDS, *SCRIPTS)

_WORD = re.compile(r"[^\W\d_]+(?:'t|'s)?")
_OTHER_SCRIPTS = re.compile(f"[{''.join(SCRIPTS.values())}]")
_SCRIPT_OF = {code: re.compile(f"[{letters}]") for code, letters in SCRIPTS.items()}
_CUES: dict[str, tuple[str, ...]] = {}
for _code, _words in WORDS.items():
    for _cue in _words.split():
        _CUES[_cue] = (*_CUES.get(_cue, ()), _code)


def languages_of(head: str) -> list[str]:
    """The codes, in the order of LANGUAGES. `head`: a normalised text."""
    found = {code for cue in _CUES.keys() & _WORD.findall(head) for code in _CUES[cue]}
    if not head.isascii() and _OTHER_SCRIPTS.search(head):
        found |= {code for code, letters in _SCRIPT_OF.items() if letters.search(head)}
    return [code for code in LANGUAGES if code in found]
