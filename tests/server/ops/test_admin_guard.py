"""The admin listener where other machines can reach it."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import Request

from proxy.errors import ClientError
from proxy.server.keys.authentication import Authentication
from proxy.server.keys.store import KeyStore
from proxy.server.ops.admin_guard import AdminGuard, Needs
from tests.fakes import FakeUpstream
from tests.server.keys.samples import bearer, written
from tests.server.running import running

pytestmark = pytest.mark.anyio

EVERYWHERE = ("0.0.0.0", 0)


def admins(folder: Path) -> KeyStore:
    """Ann administers, Pat scrapes, Alice chats."""
    specs = ({"name": "ann", "admin": True}, {"name": "pat", "scrape": True}, {"name": "alice"})
    store = KeyStore(written(folder / "keys.yaml", *specs))
    store.load()
    return store


async def test_elsewhere_than_on_the_loopback_a_key_is_asked_for(tmp_path: Path) -> None:
    """Probes need none; /metrics a key that scrapes or administers; all else an admin key. Reload had no password."""
    async with FakeUpstream([]) as upstream, running(upstream, keys=admins(tmp_path), admin=EVERYWHERE) as proxy:
        got: dict[str | None, list[int]] = {}
        for name in (None, "alice", "pat", "ann"):
            headers = {} if name is None else bearer(name)
            asked = [("GET", "healthz"), ("GET", "readyz"), ("GET", "metrics"), ("GET", "admin/status")]
            for method, path in (*asked, ("POST", "admin/reload")):
                answer = await proxy.client.request(method, f"{proxy.admin_url}/{path}", headers=headers)
                got.setdefault(name, []).append(answer.status_code)
    assert got == {
        None: [200, 200, 401, 401, 401],
        "alice": [200, 200, 403, 403, 403],
        "pat": [200, 200, 200, 403, 403],
        "ann": [200, 200, 200, 200, 422],
    }


async def test_on_the_loopback_nobody_is_asked(tmp_path: Path) -> None:
    """As ever: who is on this machine may look and reload."""
    async with FakeUpstream([]) as upstream, running(upstream, keys=admins(tmp_path)) as proxy:
        assert (await proxy.client.get(f"{proxy.admin_url}/metrics")).status_code == 200
        assert (await proxy.client.get(f"{proxy.admin_url}/admin/status")).status_code == 200


async def test_a_refusal_says_how_to_show_a_key(tmp_path: Path) -> None:
    """One sentence, and the scheme in a header."""
    async with FakeUpstream([]) as upstream, running(upstream, keys=admins(tmp_path), admin=EVERYWHERE) as proxy:
        answer = await proxy.client.get(f"{proxy.admin_url}/admin/status")
        assert answer.text == "A key is needed: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`\n"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("client", "method", "allow_anonymous", "refused"),
    [
        ("192.0.2.7", "GET", False, True),
        ("192.0.2.7", "GET", True, False),
        ("192.0.2.7", "POST", True, True),
        ("127.0.0.1", "POST", False, False),
        ("127.0.0.1", "POST", True, False),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", None])
def test_without_keys_others_may_look_at_most(
    client: str, method: str, allow_anonymous: bool, refused: bool, host: str | None
) -> None:
    """A container's metrics are scraped from another one; what changes something is for its own machine."""
    scope = {"type": "http", "method": method, "path": "/", "headers": [], "client": (client, 1)}
    guard = AdminGuard(Authentication(), host, allow_anonymous)
    if refused:
        with pytest.raises(ClientError, match="has no keys") as caught:
            guard.check(Request(scope), Needs.ADMIN)
        assert caught.value.status == 403
    else:
        guard.check(Request(scope), Needs.ADMIN)
