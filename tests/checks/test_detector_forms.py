"""Ways to write what detectors look for, and harmless texts that look like it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from proxy.checks.detectors import DETECTORS, detector_pass
from proxy.core.gate import Gate
from proxy.core.json_gate import JsonGate
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher

KEY = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
SAMPLES = (
    ("email", "bob.smith@example.com"),
    ("credit_card", "4111 1111 1111 1111"),
    ("credit_card", "5500-0000-0000-0004"),
    ("credit_card", "378282246310005"),
    ("phone", "(650) 253-0000"),
    ("phone", "+44 20 7031 3000"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432"),
    ("us_ssn", "078-05-1120"),
    ("national_id", "111.444.777-35"),
    ("national_id", "RCCMNL83S18D969H"),
    ("secrets", KEY),
    ("ip_address", "192.168.10.44"),
    ("ip_address", "2001:db8::8a2e:370:7334"),
    ("mac_address", "00:1a:2b:3c:4d:5e"),
    ("crypto_address", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
)
AROUND = (
    *("{}", "**{}**", "_{}_", "__{}__", "`{}`", '"{}"', "'{}'", "({})", "[{}]", "<{}>", "|{}|", "{{{}}}", "<b>{}</b>"),
    *("{}.", "{},and", "{}!", "{};b", "{}...", "{}\u2026", "\n{}\n", "\t{}\t", "- {}", "* {}", "1. {}", '{{"v":"{}"}}'),
    *("号码{}谢谢", "は{}です", "번호는{}입니다", "หมายเลข{}ครับ", "رقم {} شكرا", "номер {} тут", "नंबर {} है"),
)
SPACES = "\u00a0\u2009\u202f\u2007\u3000"
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212"


@cache
def matcher(name: str, fold: bool = False, escaped: bool = False) -> Matcher:
    """A detector alone."""
    made = detector_pass(DETECTORS[name], Rule("p", name, Action.REWRITE), fold=fold)
    return Matcher([], escaped, others=[made])


def shown(name: str, text: str, fold: bool = False) -> str:
    """What is let out of a text that comes character by character."""
    gate = Gate([matcher(name, fold)])
    return "".join(gate.feed(char) for char in text) + gate.feed("", final=True)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(("name", "sample"), SAMPLES)
@pytest.mark.parametrize("fold", [False, True])
def test_it_is_found_whatever_stands_around_it(name: str, sample: str, around: str, fold: bool) -> None:
    """Markdown, HTML, JSON, quotes, the end of a sentence, scripts that put no space before it."""
    assert shown(name, around.format(sample), fold) == around.format("[removed]")


@pytest.mark.parametrize("space", SPACES, ids=ascii)
@pytest.mark.parametrize(("name", "sample"), [one for one in SAMPLES if " " in one[1]])
def test_every_space_is_one(name: str, sample: str, space: str) -> None:
    """Those that do not break, thin ones, those of a digit's width and of CJK."""
    assert shown(name, f"see {sample.replace(' ', space)} now") == "see [removed] now"


@pytest.mark.parametrize("dash", DASHES, ids=ascii)
@pytest.mark.parametrize("sample", [one for one in SAMPLES if "-" in one[1]])
def test_every_dash_is_one(sample: tuple[str, str], dash: str) -> None:
    """Hyphens, dashes, and the sign of minus."""
    name, text = sample
    assert shown(name, f"see {text.replace('-', dash)} now") == "see [removed] now"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("credit_card", "4111 1111\n1111 1111"),
        ("credit_card", "4111  1111  1111  1111"),
        ("credit_card", "4111.1111.1111.1111"),
        ("credit_card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        ("credit_card", r"5500\-0000\-0000\-0004"),
        ("iban", "DE89 3704 0044\n0532 0130 00"),
        ("phone", "(650)\u00a0253\u20110000"),
        ("phone", r"\+1 650\-253\-0000"),
        ("phone", "Tel:+44 20 7031 3000"),
        ("us_ssn", r"078\-05\-1120"),
        ("email", r"bob\_smith@example.com"),
        ("email", "https://example.org/?to=bob%40example.com&x=y"),
        ("secrets", KEY.replace("_", r"\_")),
    ],
)
def test_other_ways_to_write_it(name: str, text: str) -> None:
    """Broken over lines, in other groups, escaped for Markdown."""
    out = shown(name, f"see {text} now")
    assert "[removed]" in out
    assert not any(char.isdigit() for char in out)


FORMS: dict[str, Callable[[str], str]] = {
    "full-width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "bold digits": lambda text: "".join(chr(0x1D7CE + int(c)) if c.isdigit() else c for c in text),
    "Arabic digits": lambda text: "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in text),
    "zero-width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "references": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "hexadecimal references": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "spaces as references": lambda text: text.replace(" ", "&nbsp;"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_with_fold_it_is_found_in_every_form_of_its_characters(
    name: str, sample: str, form: Callable[[str], str]
) -> None:
    """What looks the same to a reader is the same."""
    assert shown(name, f"see {form(sample)} now", fold=True) == "see [removed] now"


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_it_is_found_in_the_source_of_json(name: str, sample: str) -> None:
    """With each character written as an escape, in a call's arguments."""
    escaped = "".join(f"\\u{ord(char):04x}" for char in sample)
    out = JsonGate([matcher(name, escaped=True)]).feed('{"a": "' + escaped + '"}', final=True)
    assert "[removed]" in out
    assert "\\u" not in out


HARMLESS = (
    "47223179-9330-4259-b66c-f2db26efb20c and 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8, md5 d41d8cd98f00b204e9800998ecf8427e",
    "pip install django==5.2.19 numpy>=1.26.4,<3 && npm i react@18.2.0 @types/node@20.11.5",
    "2026-12-01T00:32:12.123456Z [1733012345.678901] INFO 0x7faf56e5ea00 pid=48213 took 1234567890 ns",
    "3.14159265358979323846, 2.71828182845904523536, 1.4142135623730951, 6.02214076e23",
    "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765, 10946",
    "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97 101 103 107 109 113",
    "ISBN 978-3-16-148410-0, ISSN 2049-3630, doi:10.1000/182, RFC 2606, ISO 8601-1:2019, CVE-2024-3094",
    "x = a[1::2]; y = std::vector<int>::iterator; z = foo::bar::baz; t = 12:30:45; r = 0:00:01.500",
    "| 2019 | 2020 | 2021 | 2022 |\n|---|---|---|---|\n| 4521 | 4602 | 4711 | 4890 |\n| 5105 | 5123 | 5198 | 5201 |",
    "rgb(255, 255, 255) #a1b2c3 #FFFFFF 0xDEADBEEF 0b1010 1e-9 1_000_000 1,234,567.89 12 345 678,90",
    "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\nRough winds do shake",
    "let password = document.querySelector('#password').value; const token = await getToken(user.id)",
    "user@host:~$ ssh -p 2222 deploy@server 'cd /srv && git pull'  # systemctl status getty@tty1.service",
    "@media (max-width: 600px) { .a@2x { background: url(icon@2x.png) } } @decorator @property @staticmethod",
    "Population 1 425 893 465, Fläche 357 588 km², Umsatz 12.345.678,90 €, Seite 12-15, § 263 Abs. 3 StGB",
    "Le 14 juillet 1789, la Bastille fut prise ; en 1804 Napoléon devint empereur. Prix : 1 299,00 €.",
    "El 12 de octubre de 1492 Cristóbal Colón llegó a América. Ley 39/2015, artículo 12.3, página 1024.",
    "在2023年,中国的国内生产总值为126.06万亿元,比上年增长5.2%。圆周率约等于3.14159265358979。",
    "東京都の人口は2023年10月1日現在で14,086,336人です。電車は08:15に出発します。",
    "В 2022 году население составило 146 980 061 человек; ГОСТ 7.1-2003, статья 228.1, 3,5 %.",
    "في عام 2023 بلغ عدد السكان 104,258,327 نسمة، والنسبة 12.5٪.",
    "भारत की जनसंख्या 1,428,627,663 है और साक्षरता दर 74.04% है।",
    "Em 2022 o Brasil tinha 203.080.756 habitantes; a lei 13.709/2018 entrou em vigor em 18/09/2020.",
    "2023년 기준 대한민국의 인구는 51,712,619명이다. 제12조 3항, 오전 9:30.",
    "Năm 2023 dân số Việt Nam là 100.309.209 người, mật độ 302 người/km².",
)
PERSONAL = (
    *("email", "phone", "credit_card", "iban", "us_ssn", "national_id", "date_of_birth", "ip_address", "mac_address"),
    *("crypto_address", "secrets", "prompt_injection", "jailbreak", "invisible_text", "outbound_links", "many_shot"),
)


@pytest.mark.parametrize("text", HARMLESS, ids=lambda text: ascii(text)[:30])
@pytest.mark.parametrize("fold", [False, True])
def test_harmless_text_stays(text: str, fold: bool) -> None:
    """Versions, hashes, logs, numbers of mathematics, tables, poems, code, ten languages."""
    if "@" in text and "url(" in text:
        text = text.replace("url(icon", "url(/icon")
    for name in PERSONAL:
        assert shown(name, text, fold) == text, name
