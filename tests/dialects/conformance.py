"""What every dialect of a text stream has to do, as one class of tests: a dialect's own tests subclass it with a Wire.

    class TestChat(Conformance):
        wire = ChatWire()

A Wire tells how an upstream of the dialect speaks and what a client of it understands; it shares no code with the
dialect. Golden streams come whole, byte by byte and in random pieces; forbidden words stand at every place.
"""

from __future__ import annotations

from tests.dialects.conformance_clean import CleanAnswers
from tests.dialects.conformance_faults import FaultyAnswers
from tests.dialects.conformance_rules import RuledAnswers
from tests.dialects.wires import BAD, NOTICE, Deltas, Late, Stream, Told, Wire, notice

__all__ = ["BAD", "NOTICE", "Conformance", "Deltas", "Late", "Stream", "Told", "Wire", "notice"]


class Conformance(CleanAnswers, RuledAnswers, FaultyAnswers):
    """All of them."""
