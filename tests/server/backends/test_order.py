"""The order in which backends are asked, beside a plain statement of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.server.backends.backend import Backend
from proxy.server.backends.choice import ordered
from proxy.server.backends.look import Look
from proxy.server.config import ServerConfig, UpstreamConfig

CONFIG = ServerConfig(upstream="http://127.0.0.1:9")


def backend(number: int, digest: str, named: bool, up: bool | None, running: int, weight: int) -> Backend:
    """One that has the model `m`."""
    row = UpstreamConfig(url=f"http://127.0.0.1:{number + 1}", models=("m",) if named else (), weight=weight)
    made = Backend(row, CONFIG)
    made.known = Look(models={"m": digest}, answers=True)
    made.up, made.running = up, running
    return made


numbers = st.integers(0, 5)
some = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b"]), st.booleans(), st.sampled_from([None, True, False]), numbers, st.integers(1, 3)
    ),
    min_size=1,
    max_size=6,
).map(lambda rows: [backend(number, *row) for number, row in enumerate(rows)])


@given(some)
def test_the_order(backends: list[Backend]) -> None:
    """Everybody once, and who is down last. Of those that have the first one's build nobody has less to do for its
    weight; they stand before all others."""
    order = ordered(backends, "m")
    assert sorted(map(id, order)) == sorted(map(id, backends))
    first = order[0]
    if build := first.build("m"):
        alike = [one for one in backends if one.build("m") == build and (one.up is False) == (first.up is False)]
        assert first.load == min(one.load for one in alike)
    else:
        assert first is next(one for one in backends if (one.up is False) == (first.up is False))
    ranks = [(one.up is False, one is not first and (not build or one.build("m") != build)) for one in order]
    assert ranks == sorted(ranks)


@given(some)
def test_all_standing_equal_it_is_the_operators_order(backends: list[Backend]) -> None:
    """While nobody is busy or down, the first in the settings is asked first."""
    for one in backends:
        one.up, one.running, one.weight = True, 0, 1
    assert ordered(backends, "m")[0] is backends[0]
