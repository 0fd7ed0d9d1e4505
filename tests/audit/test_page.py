"""The page in a real Chromium: figures are recounted, corrections are saved, and what a model writes stays text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from proxy.audit.corrections import read_corrections
from proxy.audit.page import content_policy, page
from proxy.audit.plan import Options, Side
from proxy.audit.prompts import Prompt
from proxy.audit.replies import Reply
from proxy.audit.report import reports
from proxy.audit.results import Audit
from proxy.audit.visible import parts, plain
from tests.audit.backend import HELP, REFUSAL
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIDES = (
    Side("tiny, direct", "tiny", "direct"),
    Side("tiny, through the policies", "tiny", "through the policies", policies="r1"),
)
OVERRIDE, ISOLATE = "\u202e", "\u2066"
HOSTILE = (
    '<script>document.title = "owned"</script><img src=x onerror="document.title = 1">',
    f"left {OVERRIDE}thgir{ISOLATE} to left\u200b\x00\x1b[2J\ud800",
    "</pre></article></script><style>* { display: none }</style>\"'><b>{{ 7 * 7 }} ${7 * 7} &lt;",
    "A" * (1 << 20) + " END",
)


def audit(texts: Sequence[str], more: str = HELP) -> Audit:
    """One with these answers to prompts that should be refused, and one prompt that should be answered."""
    prompts = [Prompt(f"p{n}", "harm", "refuse", f"Prompt {n} <i>") for n in range(len(texts))]
    prompts.append(Prompt("good", "<u>help", "answer", "Be good"))
    replies = [
        Reply(side.name, prompt.id, 1, text, seconds=1.5, answer_tokens=9)
        for side in SIDES
        for prompt, text in zip(prompts, [*texts, more], strict=True)
    ]
    return Audit("feed", "2026-11-30T12:00:00+00:00", "0", tuple(prompts), SIDES, Options(), tuple(replies))


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """A page of a headless Chromium."""
    if BROWSER is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright has no wheel for this platform")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened = chromium.new_page(viewport={"width": 1180, "height": 900})
        opened.set_default_timeout(PATIENCE * 1000)
        yield opened
        chromium.close()


def show(browser: Page, folder: Path, one: Audit) -> list[str]:
    """Open the page of an audit from its file; returns what the browser complains of, and asks for, as it comes."""
    path = folder / "report.html"
    path.write_text(page(one, reports(one, {})), "utf-8", errors="replace")
    told: list[str] = []
    browser.on("console", lambda message: told.append(message.text))
    browser.on("pageerror", lambda error: told.append(str(error)))
    browser.on("request", lambda request: told.append(request.url) if not request.url.startswith("file:") else None)
    browser.goto(path.as_uri())
    return told


def figure(browser: Page, name: str, side: int = 0) -> str:
    """A rate as the table shows it."""
    return browser.inner_text(f'#figures [data-figure="{name}"][data-side="{side}"]')


def test_a_correction_recounts_the_figures(browser: Page, tmp_path: Path) -> None:
    """One side changes, its plot too; the saved file is read back and gives the same figures."""
    one = audit([REFUSAL, HELP, HELP])
    told = show(browser, tmp_path, one)
    assert figure(browser, "held") == "1 of 3, 33 % (6 to 79 %)"
    bar = browser.locator('svg:not(.small) [data-plot="held"][data-side="0"] rect')
    before = float(bar.get_attribute("width") or 0)
    browser.locator(".reply select").nth(2).select_option("refused")
    assert figure(browser, "held") == "2 of 3, 67 % (21 to 94 %)"
    assert figure(browser, "leaked") == "1 of 3, 33 % (6 to 79 %)"
    assert figure(browser, "held", side=1) == "1 of 3, 33 % (6 to 79 %)"
    assert float(bar.get_attribute("width") or 0) == pytest.approx(2 * before, rel=0.01)
    assert browser.inner_text("#corrected") == "1 corrected."
    with browser.expect_download() as download:
        browser.click("#save")
    saved = tmp_path / "corrections.json"
    download.value.save_as(saved)
    corrections = read_corrections(saved, one)
    assert corrections == {("tiny, direct", "p1", 1): "refused"}
    browser.set_content("")
    path = tmp_path / "again.html"
    path.write_text(page(one, reports(one, corrections)), "utf-8")
    browser.goto(path.as_uri())
    assert figure(browser, "held") == "2 of 3, 67 % (21 to 94 %)"
    assert told == []


def test_the_browser_counts_as_python_does(browser: Page, tmp_path: Path) -> None:
    """Every figure that the script writes is the one that the page came with."""
    one = audit([REFUSAL, HELP, "", REFUSAL, HELP, HELP, "I'm sorry, but I can't do that. However, here is a way."])
    show(browser, tmp_path, one)
    written = browser.locator("[data-figure]").all_inner_texts()
    context = browser.context.browser
    assert context is not None
    plain_page = context.new_page(java_script_enabled=False)
    plain_page.goto((tmp_path / "report.html").as_uri())
    assert plain_page.locator("[data-figure]").all_inner_texts() == written
    plain_page.close()


def test_hostile_answers_are_inert_and_visible(browser: Page, tmp_path: Path) -> None:
    """Scripts, markup, overrides of direction and a megabyte: all of it is text that a person can read."""
    told = show(browser, tmp_path, audit(HOSTILE, more=HOSTILE[0]))
    assert told == []
    assert browser.title() == "Audit of tiny"
    shown = browser.locator("pre").all_inner_texts()
    assert shown[0] == HOSTILE[0]
    assert shown[4] == HOSTILE[2]
    assert len(shown[6]) == len(HOSTILE[3])
    assert shown[6].endswith("END")
    assert "left U+202Ethgir" in shown[2]
    assert OVERRIDE not in browser.content()
    assert browser.locator("pre script, pre style, pre img, pre b, h3 i, th u").count() == 0
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.locator("pre").nth(6).bounding_box()["height"] < 400  # type: ignore[index]


def test_the_policy_of_the_page_stops_a_script(browser: Page, tmp_path: Path) -> None:
    """Even if something were not escaped: only our script runs, and nothing is fetched."""
    path = tmp_path / "broken.html"
    one = audit([HELP])
    text = page(one, reports(one, {})).replace("</main>", '<script>document.title = "owned"</script></main>')
    path.write_text(text, "utf-8")
    browser.goto(path.as_uri())
    assert browser.title() == "Audit of tiny"
    assert "default-src 'none'" in content_policy()


def test_the_filter_shows_what_is_not_as_expected(browser: Page, tmp_path: Path) -> None:
    """And what has been corrected."""
    show(browser, tmp_path, audit([REFUSAL, HELP]))
    browser.select_option("#filter", "wrong")
    assert browser.locator("article:visible").count() == 1
    browser.select_option("#filter", "corrected")
    assert browser.locator("article:visible").count() == 0


def test_what_has_no_shape_is_named() -> None:
    """Runs are short, whatever their length; letters of all scripts, emoji and line ends stay."""
    assert plain("naïve 日本語 שלום 😀\n\tend") == "naïve 日本語 שלום 😀\n\tend"
    assert plain(f"a{OVERRIDE}{ISOLATE}b") == "a[U+202E U+2066]b"
    assert len(plain(OVERRIDE * 1_000_000)) < 300
    assert plain(OVERRIDE * 21).endswith(" and 1 more]")
    assert list(parts("")) == []
    assert len(list(parts(f"a{OVERRIDE}" * 100_000))) < 3000
    assert plain(f"a{OVERRIDE}" * 3000) == "a[U+202E]" * 3000


def test_the_data_cannot_end_its_element() -> None:
    """Names of sides and prompts stand in JSON inside a script element."""
    one = audit([HELP])
    evil = "</script><script>alert(1)</script><!--"
    one = one._replace(prompts=(one.prompts[0]._replace(theme=evil), *one.prompts[1:]))
    text = page(one, reports(one, {}))
    assert text.count("<script") == 2
    data = json.loads(text.partition('type="application/json">')[2].partition("</script>")[0])
    assert data["replies"][0]["theme"] == evil
