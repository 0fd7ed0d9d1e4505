"""Numbers that states give to people, by the check digits of the package python-stdnum."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stdnum.at import vnr
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.ie import pps
from stdnum.il import idnr as teudat
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import cc
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.za import idnr as za_id

from proxy.checks.detectors.detector import (
    DASHES,
    EMPHASIS,
    NOT_BEFORE,
    NOT_BEHIND,
    SPACES,
    Detector,
    Options,
    Recogniser,
    Validation,
    dropped,
    found,
    plain,
)


class _National(NamedTuple):
    """pattern: how the number is written, `~` for a hyphen.

    words: what has to stand before it where its form says too little
    """

    about: str
    pattern: str
    valid: Callable[[str], bool]
    words: str = ""


_KINDS: dict[str, _National] = {
    "at_vnr": _National(
        "Austria, Versicherungsnummer", r"\d{4} ?\d{6}", vnr.is_valid, r"svnr|sv-?nummer|versicherungsnummer|vsnr"
    ),
    "au_tfn": _National("Australia, tax file number", r"\d{3} ?\d{3} ?\d{2,3}", tfn.is_valid, r"tfn|tax file"),
    "be_nn": _National("Belgium, national number", r"\d{2}\.\d{2}\.\d{2}~\d{3}\.\d{2}", nn.is_valid),
    "br_cpf": _National("Brazil, CPF", r"\d{3}\.\d{3}\.\d{3}~\d{2}", cpf.is_valid),
    "ca_sin": _National("Canada, social insurance number", r"\d{3}(?: |~)\d{3}(?: |~)\d{3}", sin.is_valid),
    "ch_ahv": _National("Switzerland, AHV number", r"756\.?\d{4}\.?\d{4}\.?\d{2}", ahv.is_valid),
    "cl_rut": _National("Chile, RUT", r"\d{1,2}\.\d{3}\.\d{3}~[\dkK]", rut.is_valid),
    "cn_ric": _National("China, resident identity card", r"\d{17}[\dxX]", ric.is_valid),
    "cz_rc": _National("Czechia and Slovakia, birth number", r"\d{6}/\d{3,4}", rc.is_valid),
    "de_idnr": _National(
        "Germany, tax number", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", idnr.is_valid, r"steuer[a-z-]{0,24}|idnr|tin|tax"
    ),
    "dk_cpr": _National("Denmark, CPR", r"\d{6}~\d{4}", cpr.is_valid, r"cpr|personnummer"),
    "ee_ik": _National(
        "Estonia and Lithuania, personal code", r"[1-8]\d{10}", ik.is_valid, r"isikukood|asmens kodas|personal code"
    ),
    "es_dni": _National("Spain, DNI", r"\d{8}~?[A-HJ-NP-TV-Z]", dni.is_valid),
    "es_nie": _National("Spain, NIE", r"[XYZ]~?\d{7}~?[A-HJ-NP-TV-Z]", nie.is_valid),
    "fi_hetu": _National("Finland, HETU", r"\d{6}(?:~|[+ABCDEFYXWVU])\d{3}[0-9A-FHJ-NPR-Y]", hetu.is_valid),
    "fr_nir": _National(
        "France, NIR", r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", nir.is_valid
    ),
    "gb_nhs": _National("United Kingdom, NHS number", r"\d{3}(?: |~)\d{3}(?: |~)\d{4}", nhs.is_valid, r"nhs"),
    "ie_pps": _National("Ireland, PPS number", r"\d{7}[A-W][A-IW]?", pps.is_valid),
    "il_id": _National("Israel, identity number", r"\d{8,9}", teudat.is_valid, r"teudat|israeli? id|ת\"?ז"),
    "in_aadhaar": _National("India, Aadhaar", r"\d{4} \d{4} \d{4}", aadhaar.is_valid),
    "in_pan": _National("India, PAN", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", pan.is_valid),
    "it_cf": _National(
        "Italy, codice fiscale", r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", codicefiscale.is_valid
    ),
    "kr_rrn": _National("South Korea, resident registration number", r"\d{6}~[1-8]\d{6}", rrn.is_valid),
    "mx_curp": _National("Mexico, CURP", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d", curp.is_valid),
    "nl_bsn": _National("Netherlands, BSN", r"\d{9}", bsn.is_valid, r"bsn|burgerservicenummer|sofi"),
    "no_fnr": _National(
        "Norway, fødselsnummer", r"\d{6} ?\d{5}", fodselsnummer.is_valid, r"fødselsn|fnr|personnummer|national id"
    ),
    "pl_pesel": _National("Poland, PESEL", r"\d{11}", pesel.is_valid, r"pesel"),
    "pt_cc": _National("Portugal, citizen card", r"\d{8} ?\d ?[A-Z][A-Z0-9]\d", cc.is_valid),
    "ro_cnp": _National("Romania, CNP", r"[1-9]\d{12}", cnp.is_valid, r"cnp|cod numeric"),
    "se_personnummer": _National("Sweden, personnummer", r"(?:\d{2})?\d{6}(?:~|[+])\d{4}", personnummer.is_valid),
    "tr_kimlik": _National("Türkiye, kimlik number", r"[1-9]\d{10}", tckimlik.is_valid, r"kimlik|tckn|t\.?c\.? no"),
    "za_id": _National(
        "South Africa, identity number", r"\d{13}", za_id.is_valid, r"south african id|id number|identity number|sa id"
    ),
}


def _spelled(pattern: str) -> str:
    """With spaces and hyphens of every kind; `~` stands for a hyphen."""
    return pattern.replace(" ", f"[{SPACES}]").replace("~", rf"\\?[{DASHES}]")


NATIONAL = {name: one._replace(pattern=_spelled(one.pattern)) for name, one in _KINDS.items()}


_END = rf"{EMPHASIS}{NOT_BEFORE}(?![/-])"


def _national_pattern(kinds: frozenset[str]) -> str:
    """Numbers that their form tells, and those that a word before them has to."""
    by_form = [f"(?P<{name}>{one.pattern}){_END}" for name, one in NATIONAL.items() if name in kinds and not one.words]
    named = [
        f"(?<![A-Za-z])(?i:{one.words})(?![A-Za-z])[^\\d\\n]{{0,24}}(?<![\\w.-])(?P<{name}>{one.pattern}){_END}"
        for name, one in NATIONAL.items()
        if name in kinds and one.words
    ]
    return rf"{NOT_BEHIND}(?<![.+/-]){EMPHASIS}(?:{'|'.join(named + by_form)})"


def _national(match: re.Match[str]) -> Validation:
    name = match.lastgroup or ""
    text = match[name]
    valid = next((kind for kind in (name, *_of_same_form(name, text)) if _is_valid(kind, plain(text))), "")
    if not valid:
        return dropped(f"a wrong check digit for {NATIONAL[name].about}")
    return found(*match.span(name), valid)


def _is_valid(kind: str, number: str) -> bool:
    """Whether the package takes it for a number of this kind. It raises LookupError or ValueError for some that name a
    place or a day which its tables do not have: those are none."""
    try:
        return NATIONAL[kind].valid(number)
    except (LookupError, ValueError):
        return False


def _of_same_form(name: str, text: str) -> Iterator[str]:
    """Other kinds of numbers that are written in the same way, and need no word before them."""
    for kind, one in NATIONAL.items():
        if kind != name and not one.words and re.fullmatch(one.pattern, text):
            yield kind


def _national_recogniser(options: Options) -> Recogniser:
    return Recogniser(_national_pattern(options.kinds), _national)


NATIONAL_ID = Detector(
    "national_id",
    "numbers that more than thirty states give to people, with right check digits",
    _national_recogniser,
    (
        "CPF 111.444.777-35",
        "756.9217.0769.85",
        "PESEL: 44051401458",
        "12345678Z is my DNI",
        "RCCMNL83S18D969H",
        "131052-308T",
        "BSN 111222333",
        "811218-9876",
    ),
    ("111.444.777-36", "44051401458", "12345678A", "131052-3080", "BSN 111222334"),
    {name: one.about for name, one in NATIONAL.items()},
)
