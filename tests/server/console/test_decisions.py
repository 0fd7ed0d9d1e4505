"""The pages of decisions: what happened to a request, and why."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.store.database import Limits
from proxy.store.writer import Writer
from tests.server.console.pages import Seen, console, pages_of
from tests.store.samples import MIB, finding, opened, record

pytestmark = pytest.mark.anyio

BLOCK = finding("codename", action="block", direction="output")
TIMINGS = {"total": 2.0, "request": 0.1, "input": 0.2, "queue": None, "first_byte": 0.5, "first_text": 0.7}
BAD_TEXT = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}\u202eevil\u200b\u0000\ud800\u2028"


async def opened_page(http: httpx.AsyncClient, path: str) -> Seen:
    """A page that is there."""
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return Seen(answer.text)


async def test_the_list_leads_from_an_id_to_the_reason(tmp_path: Path) -> None:
    """Who has the id of a notice finds the exchange, which rule it was, and where."""
    blocked = record(7, outcome="blocked", findings=[BLOCK], timings=TIMINGS)
    async with console(tmp_path, [record(1), blocked]) as http:
        found = await opened_page(http, "/decisions?id=id-7")
        (link,) = [link for link in found.links() if re.fullmatch(r"/decisions/\d+", link)]
        assert "1 exchange" in found.plain
        detail = await opened_page(http, link)
    told = "Blocked: the rule house/codename found something in the answer (characters 3 to 9)."
    assert told in detail.plain
    assert "request read 100 ms prompt judged 200 ms first byte of the model server 500 ms" in detail.plain
    assert "No text was recorded (record_text = none), so there are offsets and lengths only." in detail.plain
    assert "Not in force any more: house/codename." in detail.plain


async def test_the_start_is_the_list(tmp_path: Path) -> None:
    """/ leads there."""
    async with console(tmp_path) as http:
        answer = await http.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/decisions")
        assert "No exchange is like that." in (await opened_page(http, "/decisions")).plain


async def test_older_pages_hold_the_rest(tmp_path: Path) -> None:
    """Each exchange stands on one page, also with a filter."""
    records = [record(number, outcome=("allowed", "blocked")[number % 2]) for number in range(230)]
    async with console(tmp_path, records) as http:
        ids: list[str] = []
        link: str | None = "/decisions?outcome=blocked"
        while link is not None:
            seen = await opened_page(http, link)
            ids += re.findall(r"id-\d+", seen.text)
            link = next((attrs["href"] for _, attrs in seen.tags if attrs.get("rel") == "next"), None)
    assert ids == [f"id-{number}" for number in range(229, 0, -2)]


async def test_filters_show_how_many_there_are(tmp_path: Path) -> None:
    """Each value with its count, and the chosen one stays chosen even if nothing has it."""
    records = [record(number, findings=[finding()] if number < 3 else []) for number in range(5)]
    async with console(tmp_path, records) as http:
        seen = await opened_page(http, "/decisions?model=nobody")
        assert "nobody (0)" in seen.plain
        seen = await opened_page(http, "/decisions?rule=house/mail")
        assert "house/mail (3)" in seen.plain
        assert "allowed (3)" in seen.plain
    chosen = [attrs["value"] for tag, attrs in seen.tags if tag == "option" and "selected" in attrs]
    assert chosen == ["house/mail"]


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/decisions?since=yesterday", 400, "From: a time is written as 2027-01-31T12:00 (UTC)"),
        ("/decisions?before=1", 400, "This link to older exchanges is not complete"),
        ("/decisions/99", 404, "There is no such record any more"),
        (f"/decisions/{10**40}", 404, "There is no such record any more"),
    ],
)
async def test_what_is_not_there_is_told(tmp_path: Path, path: str, status: int, told: str) -> None:
    """With a sentence."""
    async with console(tmp_path) as http:
        answer = await http.get(path)
    assert (answer.status_code, told in Seen(answer.text).plain) == (status, True)


async def test_without_a_store_the_page_says_how_to_have_one() -> None:
    """And which setting it is."""
    async with pages_of(None) as http:
        assert "Nothing is stored here: set state_dir" in (await opened_page(http, "/decisions")).plain


async def test_what_was_not_stored_is_told(tmp_path: Path) -> None:
    """So that nobody takes the list for complete; a store that is being opened is told too."""
    writer = Writer(lambda: opened(tmp_path), Limits(30, 64 * MIB))
    writer.lost, writer.error = 12, "disk I/O error"
    async with pages_of(writer) as http:
        seen = await opened_page(http, "/decisions")
        assert "Records cannot be stored now: disk I/O error" in seen.plain
        assert "12 records were not stored since the start" in seen.plain
        writer.error = ""
        assert "The store is being opened" in (await opened_page(http, "/decisions")).plain


def text(shown: str, *findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A text of a record."""
    about = {"role": "user", "channel": "content", "choice": 0, "json": False, "left_out": 0}
    return {**about, "text": shown, "findings": list(findings), **more}


@pytest.mark.parametrize(
    ("mode", "shown", "marked"),
    [("full", "abcMAILxyz", ["MAIL"]), ("masked", "abc[house/mail]xyz", ["[house/mail]"])],
)
async def test_texts_have_their_spans_marked(tmp_path: Path, mode: str, shown: str, marked: list[str]) -> None:
    """As far as they are recorded; what is left out is told."""
    span = {"policy": "house", "rule": "mail", "start": 3, "end": 7, "length": 4}
    texts = {"prompt": [text(shown, span, left_out=9)], "answer": [text("", text=None)]}
    async with console(tmp_path, [record(texts=texts, record_text=mode)]) as http:
        answer = await http.get("/decisions/1")
    assert re.findall(r"<mark title=\"house/mail\">(.*?)</mark>", answer.text) == marked
    assert "9 characters were not recorded." in Seen(answer.text).plain
    assert "Not recorded: a check could not judge it." in Seen(answer.text).plain


def hostile(value: str) -> dict[str, Any]:
    """A record with this in every field that can reach a page."""
    span = {"policy": value, "rule": value, "start": 0, "end": 5, "length": 5}
    return record(
        id=value,
        trace_id=value,
        client=value,
        endpoint=value,
        model=value,
        alignment=value,
        key=value,
        policy=value,
        outcome=value,
        refusal=value,
        refusal_kind=value,
        upstream={"name": value, "url": value, "error": value},
        held={"characters": 3, "seconds": 1.0, "rule": value},
        check_errors=[{"check": value, "reason": value, "on_error": value, "place": value}],
        findings=[finding(value, value, action=value, direction=value, channel=value, enforced=False)],
        texts={"prompt": [text(value, span, role=value, channel=value)], "answer": [text(value, span)]},
        record_text="full",
    )


@pytest.mark.parametrize("value", [BAD_TEXT, BAD_TEXT * 200, "x" * 1_000_000, "\u05d0\u0301" * 30_000])
async def test_hostile_text_is_harmless_in_every_field(tmp_path: Path, value: str) -> None:
    """No tag, no attribute, no control character and no endless line comes from it; all of it can be seen."""
    async with console(tmp_path, [hostile(value)]) as http:
        pages = [await http.get(path) for path in ("/decisions", "/decisions/1", "/decisions/1?full=1")]
        asked = value[:2000].encode("utf-8", "replace").decode()
        plain = await http.get("/decisions", params={"model": asked, "id": asked, "rule": asked})
    for answer in (*pages, plain):
        assert answer.status_code == 200
        seen = Seen(answer.text)
        assert {tag for tag, _ in seen.tags}.isdisjoint({"img", "iframe", "style", "object"})
        assert [attrs.get("src") for tag, attrs in seen.tags if tag == "script"] == ["/console/htmx.min.js"]
        assert not any(name.startswith("on") or name == "style" for _, attrs in seen.tags for name in attrs)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u2028\x00\ud800-\udfff]", seen.text)
    assert len(pages[0].content) < 60_000
    assert len(pages[1].content) < 400_000
    whole = Seen(pages[2].text).text
    assert value.translate({ord(c): f"U+{ord(c):04X}" for c in "\u202e\u200b\x00\ud800\u2028"}) in whole


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.dictionaries(
        st.sampled_from(["outcome", "policy", "rule", "model", "key", "id", "since", "until", "before", "x"]),
        st.text(max_size=40) | st.sampled_from(["2027-01-31T12:00", "9999-12-31T23:59:59", "1-1", "9" * 18 + "-1"]),
    )
)
def test_no_field_breaks_the_page(tmp_path_factory: pytest.TempPathFactory, asked: dict[str, str]) -> None:
    """Whatever is asked: a page, or a page that says what is wrong."""
    import anyio

    async def ask() -> None:
        async with console(tmp_path_factory.mktemp("fuzz"), [record(findings=[finding()])]) as http:
            answer = await http.get("/decisions", params=asked)
            assert answer.status_code in (200, 400)
            assert unescape(answer.text).count("<script") <= 1 + sum(map(len, asked.values()))

    anyio.run(ask)
