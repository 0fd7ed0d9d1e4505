"""The answers of every dialect: damaged streams and bodies, cut anywhere, with a word planted in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from fuzz.mutations import Mutation, cuts, mutate, mutations, numbers, split
from tests.census.answer_fields import Field
from tests.census.doors import DOORS, Door
from tests.census.driving import RULES, Carried, carry
from tests.census.planting import AFTER, BAD, BEFORE, PLAIN, documents, leaks, written
from tests.dialects.golden_files import golden, golden_names

TEXT = BEFORE + BAD + AFTER


class Seeds:
    """Good streams and bodies of one path: from the table of fields, with the word in them, and real ones."""

    def __init__(self, door: Door) -> None:
        self._script = door.script
        self._fields = door.script.fields
        self.real = [answer.frames for answer in map(golden, golden_names()) if answer.path == door.path]
        self.frames = [frame for frames in self.real for frame in frames]

    def stream(self, number: int, cut: int) -> list[bytes]:
        """The frames of one."""
        if self.real and number % 3 == 0:
            return self.real[number // 3 % len(self.real)]
        field = self._fields[number // 3 % len(self._fields)]
        return self._told(field, cut) if field.event is not None else [self.body(number)]

    def _told(self, field: Field, cut: int) -> list[bytes]:
        script = self._script
        source = field.inside[0] + TEXT + field.inside[1]
        assert field.event is not None
        at = cut % (len(source) + 1)
        parts = (source[:at], source[at:]) if field.joins else (source,)
        before = [script.framed(event) for event in (*script.before, *field.lead)]
        after = [script.framed(event) for event in (*field.tail, *script.after)]
        return [*before, *(script.framed(field.event, part) for part in parts), *after, script.end]

    def body(self, number: int) -> bytes:
        """One whole answer."""
        wholes = [field for field in self._fields if field.whole is not None]
        field = wholes[number % len(wholes)]
        assert field.whole is not None
        return written(field.whole, field.inside[0] + TEXT + field.inside[1])


def make_check(door: Door) -> Callable[[], None]:
    """The driver for one path."""
    seeds = Seeds(door)

    @given(numbers, numbers, mutations, cuts, st.sampled_from(RULES), st.booleans(), st.booleans())
    def check(
        number: int,
        cut: int,
        applied: Sequence[Mutation],
        at: Sequence[int],
        rule: str,
        stream: bool,
        whole: bool,
    ) -> None:
        frames = [seeds.body(number)] if whole else seeds.stream(number, cut)
        data = mutate(frames, seeds.frames, applied)
        if whole:
            _check(carry(door, data, rule, stream=stream))
            return
        got = carry(door, split(data, ()), rule, stream=stream)
        _check(got)
        again = carry(door, split(data, at), rule, stream=stream)
        assert list(documents(again.out)) == list(documents(got.out)), "what arrives depends on the cuts"

    return check


def _check(got: Carried) -> None:
    """Nothing of the word, and what arrives can be read by an app."""
    assert not leaks(got.out, BAD, PLAIN)
    got.out.decode("utf-8")
    if not got.answer.request.stream:
        json.loads(got.out)


CHECKS: dict[str, Callable[[], None]] = {f"answers: {door.path}": make_check(door) for door in DOORS}
