"""The pages in a real browser, on a telephone's width and by keyboard."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.store.database import Limits
from proxy.store.rows import row_of
from proxy.store.writer import Writer
from tests.server.running import running
from tests.store.samples import MIB, START, finding, opened, record
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BLOCK = finding("codename", action="block")
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


async def fits(page: Any, scripts: bool) -> None:
    """Nothing is wider than the window. It waits where the page is still on its way."""
    if scripts:
        await page.wait_for_function(FITS)


@pytest.mark.parametrize("scripts", [True, False])
async def test_an_id_leads_to_the_reason_by_keyboard(tmp_path: Path, scripts: bool) -> None:
    """With JavaScript and without, nothing wider than the window, and nothing against the page's own policy."""
    if BROWSER is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.async_api", reason="playwright has no wheel for this platform")
    told: list[str] = []
    with Writer(lambda: opened(tmp_path), Limits(30, 64 * MIB), clock=lambda: START) as writer:
        writer.put(row_of(record(1, model="m" * 300)))
        writer.put(row_of(record(2, outcome="blocked", findings=[BLOCK], model="<script>\u202e" * 40)))
        await until(lambda: writer.database is not None and writer.settle(PATIENCE))
        async with running("http://127.0.0.1:9", records=writer) as proxy, playwright.async_playwright() as started:
            chromium = await started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
            context = await chromium.new_context(
                viewport={"width": 360, "height": 740}, java_script_enabled=scripts, color_scheme="dark"
            )
            context.set_default_timeout(PATIENCE * 1000)
            page = await context.new_page()
            page.on("console", lambda message: told.append(message.text))
            await page.goto(f"{proxy.admin_url}/")
            await page.get_by_label("Request id").focus()
            await page.keyboard.type("id-2")
            await page.keyboard.press("Enter")
            link = page.get_by_role("link", name="id-2")
            await page.wait_for_url("**id=id-2**")
            await page.wait_for_load_state()
            await fits(page, scripts)
            await link.press("Enter")
            await page.wait_for_url("**/decisions/2")
            reason = page.get_by_text("Blocked: the rule house/codename found something in the answer")
            await reason.wait_for()
            await fits(page, scripts)
            await chromium.close()
    assert [line for line in told if "favicon" not in line and "404" not in line] == []
