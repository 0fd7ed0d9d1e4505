"""Who may see pages, and from where forms may come."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import httpx
import pytest

from proxy.server.console.pages import CSP
from proxy.server.console.static_files import STATIC
from proxy.server.keys.store import KeyStore
from tests.server.console.pages import EVERYWHERE, Seen, console
from tests.server.keys.samples import bearer, secret, written
from tests.store.samples import record

pytestmark = pytest.mark.anyio

AFAR = "192.0.2.7"
ORIGIN = {"origin": "http://localhost:9435"}


def keys_of(folder: Path) -> KeyStore:
    """Ann administers, Alice chats."""
    store = KeyStore(written(folder / "keys.yaml", {"name": "ann", "admin": True}, {"name": "alice"}))
    store.load()
    return store


async def log_in(http: httpx.AsyncClient, key: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send the form of the login page."""
    token = Seen((await http.get("/login")).text).token()
    return await http.post("/login", data={"key": key, "token": token}, headers=ORIGIN if headers is None else headers)


async def test_on_the_loopback_nobody_is_asked_and_there_is_no_cookie(tmp_path: Path) -> None:
    """As for the rest of the admin listener."""
    async with console(tmp_path, [record()], keys=keys_of(tmp_path)) as http:
        answer = await http.get("/decisions")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/decisions", "/decisions/1"])
async def test_elsewhere_nothing_is_shown_without_a_key(tmp_path: Path, path: str) -> None:
    """The page leads to the login; a wrong key, and one that only chats, open nothing."""
    async with console(tmp_path, [record()], host=EVERYWHERE, keys=keys_of(tmp_path), client=AFAR) as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/login", "")
        assert (await log_in(http, "wrong")).status_code == 401
        assert (await log_in(http, secret("alice"))).status_code == 403
        assert (await http.get(path)).status_code == 303
        assert (await http.get(path, headers=bearer("alice"))).status_code == 403


async def test_an_admin_key_opens_a_session(tmp_path: Path) -> None:
    """Once; the cookie is not the key, no script reads it, no other page sends it; logging out ends it."""
    async with console(tmp_path, [record()], host=EVERYWHERE, keys=keys_of(tmp_path), client=AFAR) as http:
        answer = await log_in(http, secret("ann"))
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 303
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert secret("ann") not in cookie
        page = await http.get("/decisions")
        assert page.status_code == 200
        kept = {"cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}
        out = await http.post("/logout", data={"token": Seen(page.text).token()}, headers=ORIGIN)
        assert out.status_code == 303
        assert (await http.get("/decisions", headers=kept)).status_code == 303


async def test_a_key_that_is_taken_away_ends_its_session(tmp_path: Path) -> None:
    """With the next page."""
    keys = keys_of(tmp_path)
    async with console(tmp_path, [record()], host=EVERYWHERE, keys=keys, client=AFAR) as http:
        await log_in(http, secret("ann"))
        assert (await http.get("/decisions")).status_code == 200
        written(tmp_path / "keys.yaml", {"name": "alice"})
        keys.load()
        assert (await http.get("/decisions")).status_code == 303


async def test_a_program_may_show_its_key_with_each_request(tmp_path: Path) -> None:
    """As everywhere on the admin listener."""
    async with console(tmp_path, [record()], host=EVERYWHERE, keys=keys_of(tmp_path), client=AFAR) as http:
        assert (await http.get("/decisions", headers=bearer("ann"))).status_code == 200


@pytest.mark.parametrize(("client", "status"), [(AFAR, 403), ("127.0.0.1", 200)])
async def test_without_keys_pages_are_for_this_machine(tmp_path: Path, client: str, status: int) -> None:
    """allow_anonymous shows others numbers, but no exchanges."""
    async with console(tmp_path, [record()], host=EVERYWHERE, client=client) as http:
        assert (await http.get("/decisions")).status_code == status


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "null"}, {"origin": "http://evil.example"}, {**ORIGIN, "sec-fetch-site": "cross-site"}],
)
async def test_a_form_of_another_page_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """By its origin."""
    async with console(tmp_path, host=EVERYWHERE, keys=keys_of(tmp_path), client=AFAR) as http:
        assert (await log_in(http, secret("ann"), headers)).status_code == 403


@pytest.mark.parametrize("form", [{}, {"token": "x"}, {"token": "x" * 20_000}])
async def test_a_form_without_its_token_is_refused(tmp_path: Path, form: dict[str, str]) -> None:
    """And one that is too long is not read."""
    async with console(tmp_path, host=EVERYWHERE, keys=keys_of(tmp_path), client=AFAR) as http:
        for path in ("/login", "/logout"):
            answer = await http.post(path, data={"key": secret("ann"), **form}, headers=ORIGIN)
            assert answer.status_code in (403, 413)


async def test_a_name_that_only_resolves_here_is_refused(tmp_path: Path) -> None:
    """DNS rebinding: a page of evil.example must not read what went through the proxy."""
    async with console(tmp_path, [record()]) as http:
        for path in ("/decisions", "/login"):
            assert (await http.get(path, headers={"host": "evil.example:9435"})).status_code == 403


@pytest.mark.parametrize("path", ["/decisions", "/decisions/1", "/decisions/77", "/login", "/", "/console/console.css"])
async def test_every_answer_forbids_what_it_does_not_need(tmp_path: Path, path: str) -> None:
    """No inline script or style, no frame, no other host."""
    assert "unsafe" not in CSP
    async with console(tmp_path, [record()]) as http:
        answer = await http.get(path)
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http://" not in answer.text.replace("http://www.w3.org", "")


async def test_only_known_files_are_served(tmp_path: Path) -> None:
    """There is no way out of the folder."""
    async with console(tmp_path) as http:
        assert (await http.get("/console/console.css")).headers["content-type"].startswith("text/css")
        for name in ("vendored.json", "..%2Fapp.py", "%2e%2e/app.py", "x"):
            assert (await http.get(f"/console/{name}")).status_code == 404


def test_vendored_files_are_those_that_were_published() -> None:
    """By the SHA-512 of the file in the package, with its licence beside it; every script is in the list."""
    listed = json.loads((STATIC / "vendored.json").read_text("utf-8"))
    for one in listed:
        assert hashlib.sha512((STATIC / one["file"]).read_bytes()).hexdigest() == one["sha512"], one["file"]
        assert (STATIC / one["licence_file"]).read_text("utf-8").strip()
    assert {one["file"] for one in listed} == {path.name for path in STATIC.glob("*.js")}
