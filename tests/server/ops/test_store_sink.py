"""Exchanges end in the store, as they end in the decision log."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from proxy.core.types import Action, Finding, Rule
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.ops.drops import Drops
from proxy.settings import resolve
from proxy.startup.configuration import open_decision_log, open_store
from proxy.store.queries import Filter, page
from proxy.store.upkeep import export
from tests.store.samples import opened


def test_an_exchange_is_stored_as_the_log_has_it(tmp_path: Path) -> None:
    """The same record, with its findings as rows."""
    folder, file = tmp_path / "state", tmp_path / "log.jsonl"
    folder.mkdir(mode=0o700)
    settings = resolve({"state_dir": str(folder), "decision_log": str(file)}, {}).settings
    exchange = Exchange("/v1/chat/completions", id="c0ffee", outcome=Outcome.BLOCKED)
    exchange.add_finding("output", Finding(2, 5, Rule("house", "mail", Action.BLOCK)))
    kept = open_store(settings, Drops())
    assert kept is not None
    with kept, open_decision_log(settings, Drops(), kept) as decisions:
        decisions.end(exchange)
    with closing(opened(folder)) as database, database.read() as connection:
        assert [json.loads(line) for line in export(database)] == [json.loads(file.read_text())]
        assert page(connection, Filter())[0].rules == (("house", "mail", "block", True),)


def test_without_a_directory_there_is_no_store(tmp_path: Path) -> None:
    """Nor when it is off."""
    assert open_store(resolve({}, {}).settings, Drops()) is None
    assert open_store(resolve({"state_dir": str(tmp_path), "store": "off"}, {}).settings, Drops()) is None
