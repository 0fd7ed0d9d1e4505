"""The console of a running proxy, and streams beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.server.ops.decision_log import DecisionLog
from proxy.server.ops.drops import Drops
from proxy.server.ops.store_sink import StoreSink
from proxy.store.database import FILE_NAME, Limits
from proxy.store.writer import Writer
from tests.fakes import FakeUpstream, reply, sse
from tests.server.console.pages import Seen
from tests.server.running import running, said
from tests.store.samples import MIB, opened
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio


async def test_an_answer_stands_in_the_console(tmp_path: Path) -> None:
    """Under the id that its client got; /metrics and the rest stay where they were."""
    with Writer(lambda: opened(tmp_path), Limits(30, 64 * MIB)) as writer:
        log = DecisionLog([StoreSink(writer, Drops())])
        async with (
            FakeUpstream(reply(sse(*said("Hello")))) as upstream,
            running(upstream, records=writer, observers=[log]) as proxy,
        ):
            with log:
                answer = await proxy.chat()
                await proxy.exchange()
            assert writer.settle(PATIENCE)
            await until(lambda: writer.database is not None)
            name = answer.headers["x-safety-proxy-request-id"]
            page = await proxy.client.get(f"{proxy.admin_url}/decisions", params={"id": name})
            assert name in Seen(page.text).text
            assert "1 exchange" in Seen(page.text).plain
            assert (await proxy.client.get(f"{proxy.admin_url}/metrics")).status_code == 200


async def test_the_console_can_be_off() -> None:
    """Then nothing is at / of the admin listener, as before there was one."""
    async with running("http://127.0.0.1:9", console=False) as proxy:
        for path in ("/", "/decisions", "/login", "/console/console.css"):
            assert (await proxy.client.get(proxy.admin_url + path)).status_code == 404


async def test_the_chat_listener_has_no_console() -> None:
    """Whoever may chat may not read what others have said."""
    async with running("http://127.0.0.1:9") as proxy:
        assert (await proxy.client.get(f"{proxy.url}/decisions")).status_code == 404


async def test_a_locked_store_changes_no_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come whole while another program holds the file; what finds no room is counted."""
    monkeypatch.setattr("proxy.store.database.BUSY", 0.01)
    opened(tmp_path).close()
    drops = Drops()
    with (
        closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as lock,
        Writer(lambda: opened(tmp_path), Limits(30, 64 * MIB), lambda: drops.add("store"), most=2) as writer,
    ):
        lock.execute("BEGIN IMMEDIATE")
        log = DecisionLog([StoreSink(writer, drops)])
        async with (
            FakeUpstream(reply(sse(*said("Hello", " there")))) as upstream,
            running(upstream, records=writer, observers=[log]) as proxy,
        ):
            with log:
                for number in range(5):
                    answer = await proxy.chat()
                    assert (answer.text(), answer.complete) == ("Hello there", True)
                    await proxy.exchange(number)
        assert drops.take() == {"store": 3}
        lock.execute("ROLLBACK")
        assert writer.settle(PATIENCE)
