"""What the classes of conformance tests have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import pytest

from proxy.core.check import Check
from proxy.dialects.answer import Answer
from tests.dialects.wires import Told, Wire


class Driven:
    """What the tests have in common: one test for each golden stream, field and kind of client, and how they drive."""

    wire: ClassVar[Wire]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each golden stream, field and kind of client."""
        wire = self.wire
        values: dict[str, Sequence[Any]] = {
            "golden_stream": wire.streams,
            "streamed": wire.streamed,
            "whole": wire.whole,
            "any_field": (*wire.streamed, *wire.whole),
            "streams_to_client": (True, False),
        }
        for name, choices in values.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, choices, ids=lambda v: getattr(v, "name", str(v)))

    @pytest.fixture(autouse=True)
    def _ask_for_it(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """A golden stream answers its own request."""
        if "golden_stream" in request.fixturenames:
            monkeypatch.setattr(self.wire, "asks", request.getfixturevalue("golden_stream").asks)

    def _carried(self, pieces: Iterable[bytes], *checks: Check, stream: bool, **extra: Any) -> tuple[Answer, bytes]:
        return (self.wire.stream if stream else self.wire.collect)(pieces, *checks, **extra)

    def _told(self, pieces: Iterable[bytes], *checks: Check, stream: bool, **extra: Any) -> Told:
        answer, out = self._carried(pieces, *checks, stream=stream, **extra)
        assert answer.failed is None
        return self.wire.read(out) if stream else self.wire.read_whole(out)
