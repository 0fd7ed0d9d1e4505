"""The fuzz drivers: each runs for a moment, and a fault that is put in is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis import strategies as st

from fuzz.mutations import Mutation, mutate, mutations, numbers
from fuzz.run import CHECKS, main, run_all
from tests.census.doors import DOORS

BRIEFLY = settings(
    max_examples=15,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", CHECKS)
def test_a_driver_finds_nothing_at_once(name: str) -> None:
    """Some damaged inputs for every decoder, the same in every run."""
    check: Callable[[], None] = CHECKS[name]
    seed(1)(check)
    BRIEFLY(check)
    check()


def test_every_decoder_has_a_driver() -> None:
    """Each framing, each path there and back, both readers of JSON, and the encodings of bodies."""
    kinds = [name.partition(": ")[0] for name in CHECKS]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "framing": 2,
        "jsonbody": 2,
        "body": 1,
        "answers": len(DOORS),
        "requests": len(DOORS) + 2,
    }


def test_a_finding_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The driver is named, with the input, and the status is 1."""

    @given(st.integers())
    def check_wrong(number: int) -> None:
        assert number < 1000

    def never() -> None:
        raise KeyboardInterrupt

    assert run_all({"wrong": check_wrong, "next": never}, 5.0, 1) == 1
    said = "".join(capsys.readouterr())
    assert "FINDING in wrong" in said
    assert "number=1000" in said


def test_drivers_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none is an error that lists them all."""
    with pytest.raises(SystemExit):
        main(["--only", "unheard of"])
    assert "framing: sse" in capsys.readouterr().err


def test_damage_does_happen() -> None:
    """Accidents change frames, values in their JSON, and bytes; without any the input stays as it is."""
    frames = [b'data: {"a":[1,{"b":"x"}]}\n\n', b"data: [DONE]\n\n"]
    assert mutate(frames, (), []) == b"".join(frames)
    for kind in (*range(6), *range(60, 66)):
        strategy = st.tuples(st.just(kind), numbers, numbers).map(lambda t: [Mutation(*t)])
        find(strategy, lambda applied: mutate(frames, frames, applied) != b"".join(frames))
    assert find(mutations, lambda applied: len(applied) > 1)
