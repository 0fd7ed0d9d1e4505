"""Tool calls are told apart whatever a model server numbers, names or repeats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai.tool_calls import Calls, JsonEnd, Piece

Said = tuple[str, dict[str, str]]  # a call: its name and its arguments
Delta = list[dict[str, Any]]
Server = Callable[[list[Said], int], Iterator[Delta]]


def entry(ident: str | None = None, name: str | None = None, arguments: str | None = None, **more: Any) -> Any:
    """A call in a delta."""
    function = {"name": name, "arguments": arguments}
    return {"id": ident, "function": {k: v for k, v in function.items() if v is not None}, **more}


def pieces(source: str, size: int) -> list[str]:
    """A text in pieces."""
    return [source[at : at + size] for at in range(0, len(source), size)]


def same_index(calls: list[Said], size: int) -> Iterator[Delta]:
    """Every call is number 0, its id and name stand in its first piece."""
    for i, (name, arguments) in enumerate(calls):
        yield [entry(f"call_{i}", name, "", index=0)]
        yield from ([entry(None, None, piece, index=0)] for piece in pieces(json.dumps(arguments), size))


def null_index(calls: list[Said], size: int) -> Iterator[Delta]:
    """No index, and the name is told empty in later pieces."""
    for i, (name, arguments) in enumerate(calls):
        yield [entry(f"call_{i}", name, "", index=None)]
        yield from ([entry("", "", piece, index=None)] for piece in pieces(json.dumps(arguments), size))


def no_index(calls: list[Said], size: int) -> Iterator[Delta]:
    """No index at all, and id and name are told with every piece."""
    for i, (name, arguments) in enumerate(calls):
        yield from ([entry(f"call_{i}", name, piece)] for piece in pieces(json.dumps(arguments), size))


def whole_without_ids(calls: list[Said], size: int) -> Iterator[Delta]:
    """Each call is whole in a delta of its own, all as number 0, without ids."""
    yield from ([entry(None, name, json.dumps(arguments), index=0)] for name, arguments in calls)


def one_delta(calls: list[Said], size: int) -> Iterator[Delta]:
    """All calls stand whole in one delta, without ids and indexes."""
    yield [entry(None, name, json.dumps(arguments)) for name, arguments in calls]


def one_id(calls: list[Said], size: int) -> Iterator[Delta]:
    """All calls have one id, in one delta."""
    yield [entry("call", name, json.dumps(arguments), index=i) for i, (name, arguments) in enumerate(calls)]


def counted_pieces(calls: list[Said], size: int) -> Iterator[Delta]:
    """The index counts pieces instead of calls."""
    index = 0
    for i, (name, arguments) in enumerate(calls):
        source = json.dumps(arguments)
        for at, piece in enumerate(pieces(source, size)):
            yield [entry(f"call_{i}" if not at else None, None if at else name, piece, index=index)]
            index += 1


def jumping_index(calls: list[Said], size: int) -> Iterator[Delta]:
    """The indexes are far apart and go down."""
    for i, (name, arguments) in enumerate(calls):
        index = 1_000_000 - 7 * i
        yield [entry(f"call_{i}", name, "", index=index)]
        yield from ([entry(None, None, piece, index=index)] for piece in pieces(json.dumps(arguments), size))


def side_by_side(calls: list[Said], size: int) -> Iterator[Delta]:
    """All calls begin, then each delta has a piece of every call, and no ids."""
    yield [entry(f"call_{i}", name, "", index=i) for i, (name, _) in enumerate(calls)]
    sources = [pieces(json.dumps(arguments), size) for _, arguments in calls]
    for at in range(max(map(len, sources))):
        yield [entry(None, None, source[at], index=i) for i, source in enumerate(sources) if at < len(source)]


def side_by_side_without_index(calls: list[Said], size: int) -> Iterator[Delta]:
    """The same, told by the place in the delta alone."""
    yield [entry(f"call_{i}", name, "") for i, (name, _) in enumerate(calls)]
    sources = [pieces(json.dumps(arguments), 10_000) for _, arguments in calls]
    yield [entry(None, None, source[0]) for source in sources]


def another_id_for_each_piece(calls: list[Said], size: int) -> Iterator[Delta]:
    """The id is new in every piece, the name stands in the first."""
    for i, (name, arguments) in enumerate(calls):
        source = json.dumps(arguments)
        for at, piece in enumerate(pieces(source, size)):
            yield [entry(f"call_{i}_{at}", None if at else name, piece, index=i)]


def late_id(calls: list[Said], size: int) -> Iterator[Delta]:
    """The id comes with the last piece."""
    for i, (name, arguments) in enumerate(calls):
        yield [entry(None, name, json.dumps(arguments), index=i)]
        yield [entry(f"call_{i}", None, "", index=i)]


def name_in_pieces(calls: list[Said], size: int) -> Iterator[Delta]:
    """The name comes letter by letter, in pieces that are never the whole."""
    for i, (name, arguments) in enumerate(calls):
        yield [entry(f"call_{i}", name[:1], None, index=i)]
        yield [entry(None, name[1:] or None, None, index=i)]
        yield [entry(None, None, json.dumps(arguments), index=i)]


SERVERS: list[Server] = [
    *(same_index, null_index, no_index, whole_without_ids, one_delta, one_id, counted_pieces, jumping_index),
    *(side_by_side, side_by_side_without_index, another_id_for_each_piece, late_id, name_in_pieces),
]
NAMES = st.sampled_from(["look_up", "write", "ab"])
TEXTS = st.text('{}[]"\\ a', max_size=6)
SAID = st.lists(st.tuples(NAMES, st.dictionaries(TEXTS, TEXTS, max_size=2)), min_size=1, max_size=4)


def told_apart(deltas: Iterator[Delta]) -> list[tuple[str, str]]:
    """Names and arguments of the calls in some deltas."""
    calls, found = Calls(), dict[int, tuple[str, str]]()
    for delta in deltas:
        for call, new in calls.take([Piece.of(entry) for entry in delta]):
            name, arguments = found.get(call.number, ("", ""))
            found[call.number] = name + (new.name or ""), arguments + new.arguments
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.__name__)
@given(SAID, st.integers(1, 9))
def test_nothing_is_merged_and_nothing_lost(server: Server, calls: list[Said], size: int) -> None:
    """However a server tells its calls, each has its own name and arguments."""
    expected = [(name, json.dumps(arguments)) for name, arguments in calls]
    assert told_apart(server(calls, size)) == expected


@pytest.mark.parametrize("server", [server for server in SERVERS if server is not one_id], ids=lambda s: s.__name__)
def test_an_id_is_told_once(server: Server) -> None:
    """A client that puts ids together gets the first, once."""
    calls, ids = Calls(), list[str]()
    for delta in server([("a", {"x": "y"}), ("b", {})], 3):
        ids += [new.id for _, new in calls.take([Piece.of(entry) for entry in delta]) if new.id]
    assert len(ids) == len(set(ids)) <= 2


def test_calls_without_arguments_in_one_delta() -> None:
    """Two pieces of one delta that have a name are two calls, though nothing else tells them apart."""
    for arguments in ("", None):
        told = told_apart(iter([[entry(None, "now", arguments, index=0), entry(None, "now", arguments, index=0)]]))
        assert told == [("now", ""), ("now", "")]


JSON = st.recursive(
    st.none() | st.booleans() | st.text('{}[]"\\ a', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"}\\', max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, st.integers(1, 5), st.booleans())
def test_the_end_of_a_json_text(value: Any, size: int, every_piece: bool) -> None:
    """It is complete with its last character, and not before, however it is cut and however often one asks."""
    source = json.dumps(value)
    end = JsonEnd()
    assert not end.begun
    assert not end.half_said
    for piece in pieces(source[:-1], size):
        end.feed(piece)
        if every_piece:
            assert end.half_said
    end.feed(source[-1])
    assert end.complete
    assert not end.half_said


def test_a_number_is_never_complete() -> None:
    """Nobody can know that no digit follows."""
    end = JsonEnd()
    end.feed("12")
    assert end.half_said
