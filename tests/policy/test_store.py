"""The set in force: swapped whole, kept when a newer version is wrong."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import tracemalloc
import weakref
from pathlib import Path

import pytest

from proxy.checks.fail_open import FailOpen
from proxy.core.check import Check
from proxy.core.gate import Gate
from proxy.core.types import Direction, Kind
from proxy.errors import PolicyError
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.pauses import Pause
from proxy.matching.rules import MatchRule
from proxy.matching.scan import MatchPass
from proxy.policy import files, policyset
from proxy.policy import rule_compiler as compile_module
from proxy.policy import store as store_module
from proxy.policy.store import PolicyStore
from tests.policy.stores import Loads, ids, policy, rename_over
from tests.waiting import a_moment

pytestmark = pytest.mark.anyio
HASH_KEY = b"key"


async def loaded(directory: Path, text: str = "") -> PolicyStore:
    """A store that has loaded one policy."""
    (directory / "a.yaml").write_text(text or policy("bomb"))
    store = PolicyStore(directory, hash_key=HASH_KEY)
    await store.load()
    return store


async def test_the_first_load_is_told_in_the_status(tmp_path: Path) -> None:
    """Revision, time and count; no error."""
    store = await loaded(tmp_path)
    status = store.status
    assert (status.revision, status.loads, status.failures, status.error) == (store.current.revision, 1, 0, "")
    assert abs(status.loaded_at - time.time()) < 60


async def test_a_set_in_force_is_made_quick_with_long_texts(tmp_path: Path) -> None:
    """Every check that there is has its quick look then, whether it fails open or not."""
    pytest.importorskip("ahocorasick_rs")
    store = await loaded(tmp_path)
    (tmp_path / "b.yaml").write_text(policy("tnt", name="open") + "on_error: allow\n")
    assert await store.reload()
    plan = store.current.plan(Direction.INPUT, model="m", role="user")
    checks = plan.checks(Kind.CONTENT)
    await store.prepare()
    matchers = [check._check if isinstance(check, FailOpen) else check for check in checks]
    assert [isinstance(check, FailOpen) for check in checks] == [False, True]
    passes = [one for check in matchers if isinstance(check, Matcher) for _, one in check._passes]
    assert len(passes) == 2
    assert all(isinstance(one, MatchPass) and one.look is not None for one in passes)


async def test_a_first_load_that_fails_raises_every_problem(tmp_path: Path) -> None:
    """There is nothing to fall back on."""
    (tmp_path / "a.yaml").write_text("version: 2\npolicy: a b\n")
    with pytest.raises(PolicyError) as caught:
        await PolicyStore(tmp_path, hash_key=HASH_KEY).load()
    assert len(caught.value.problems) == 2


async def test_a_wrong_version_leaves_the_old_set_in_force(tmp_path: Path) -> None:
    """The error stands in the status until a version is right again."""
    store = await loaded(tmp_path)
    before = store.current
    (tmp_path / "a.yaml").write_text("version: 1\npolicy: house\nrules: [{id: a, pattern: '(', action: block}]\n")
    assert await store.reload() is False
    assert store.current is before
    assert store.status.revision == before.revision
    assert f"{tmp_path}/a.yaml:3:26: rule a:" in store.status.error
    assert (store.status.loads, store.status.failures) == (1, 1)
    (tmp_path / "a.yaml").write_text(policy("tnt"))
    assert await store.reload() is True
    assert (ids(store), store.status.error, store.status.loads) == (["tnt"], "", 2)
    assert store.status.failed_at


@pytest.mark.parametrize("empty", ["", "version: 1\npolicy: house\n", None])
async def test_a_reload_to_empty_is_refused(tmp_path: Path, empty: str | None) -> None:
    """An empty file, a file without rules and an empty directory do not unload a policy, even if a start allows it."""
    (tmp_path / "a.yaml").write_text(policy("bomb"))
    store = PolicyStore(tmp_path, hash_key=HASH_KEY, allow_empty=True)
    await store.load()
    if empty is None:
        (tmp_path / "a.yaml").unlink()
    else:
        (tmp_path / "a.yaml").write_text(empty)
    assert await store.reload() is False
    assert ids(store) == ["bomb"]


async def test_a_start_without_a_rule_has_to_be_allowed(tmp_path: Path) -> None:
    """Then the first rule that appears takes effect."""
    with pytest.raises(PolicyError, match="there is no policy file"):
        await PolicyStore(tmp_path, hash_key=HASH_KEY).load()
    store = PolicyStore(tmp_path, hash_key=HASH_KEY, allow_empty=True)
    assert (await store.load()).rules == ()
    assert await store.reload() is True
    (tmp_path / "a.yaml").write_text(policy("bomb"))
    assert await store.reload() is True
    assert ids(store) == ["bomb"]


async def test_refresh_loads_only_what_has_changed(tmp_path: Path) -> None:
    """The same files, right or wrong, are not tried again; `reload` tries them all the same."""
    store = await loaded(tmp_path)
    loads = Loads(store)
    await store.refresh()
    (tmp_path / "a.yaml").write_text("nonsense")
    for _ in range(3):
        await store.refresh()
    assert [status.failures for status in loads.seen] == [1]
    await store.reload()
    assert store.status.failures == 2


async def test_an_error_of_the_program_itself_keeps_the_old_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong in a load, the running policies stay."""
    store = await loaded(tmp_path)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store_module, "Compilation", broken)
    assert await store.reload() is False
    assert "loading failed (ZeroDivisionError)" in store.status.error
    assert ids(store) == ["bomb"]


async def test_reloads_at_the_same_time_come_one_after_the_other(tmp_path: Path) -> None:
    """All of them answer, and the last one that starts has seen the last version."""
    store = await loaded(tmp_path)
    (tmp_path / "a.yaml").write_text(policy("tnt"))
    assert await asyncio.gather(*(store.reload() for _ in range(5))) == [True] * 5
    assert (ids(store), store.status.loads) == (["tnt"], 6)


async def test_who_began_with_a_set_ends_with_it(tmp_path: Path) -> None:
    """A swap is seen by the next request, not by one that is under way."""
    store = await loaded(tmp_path)
    gate = Gate(store.current.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT))
    first = gate.feed("a bomb, ")
    (tmp_path / "a.yaml").write_text(policy("tnt"))
    await store.reload()
    assert first + gate.feed("tnt, bomb", final=True) == "a [removed], tnt, [removed]"
    gate = Gate(store.current.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT))
    assert gate.feed("bomb, tnt", final=True) == "bomb, [removed]"


async def test_files_that_say_the_same_leave_the_set_as_it_is(tmp_path: Path) -> None:
    """A comment more: a load that went well, and the set goes on with what it has learnt of texts."""
    store = await loaded(tmp_path)
    before = store.current
    (tmp_path / "a.yaml").write_text("# the house's rules\n" + policy("bomb"))
    assert await store.reload() is True
    assert store.current is before
    assert store.status.loads == 2


async def test_a_new_version_is_ready_for_what_the_old_one_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request after a load finds its checks composed, whoever it comes from."""
    narrow = "[{{id: a, words: [{}], action: rewrite, roles: [user]}}, {{id: b, words: [x], action: rewrite}}]"
    text = "version: 1\npolicy: house\nrules: " + narrow
    store = await loaded(tmp_path, text.format("bomb"))

    def checks() -> tuple[Check, ...]:
        return store.current.plan(Direction.INPUT, model="m", role="assistant").checks(Kind.CONTENT)

    checks()
    (tmp_path / "a.yaml").write_text(text.format("tnt"))
    assert await store.reload() is True
    monkeypatch.setattr(policyset, "Matcher", None)
    assert Gate(checks()).feed("tnt x", final=True) == "tnt [removed]"


async def test_a_version_that_is_fixed_costs_no_more_than_its_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules of the set in force are known, whatever was tried in between."""
    compiled: list[str] = []

    def noting(match: MatchRule, pause: Pause) -> CompiledRule:
        compiled.append(match.rule.id)
        return compile_rule(match, pause)

    monkeypatch.setattr(compile_module, "compile_rule", noting)
    store = await loaded(tmp_path, policy("bomb", "tnt"))
    (tmp_path / "a.yaml").write_text(policy("new", "removed", "bomb", "tnt"))
    assert await store.reload() is False
    (tmp_path / "a.yaml").write_text(policy("new", "bomb", "tnt"))
    assert await store.reload() is True
    assert compiled == ["bomb", "tnt", "new", "removed", "new"]


async def test_a_set_that_nobody_has_any_more_is_freed_by_the_next_load(tmp_path: Path) -> None:
    """Sets refer to themselves, so they need the collector, which a quiet server may not run for hours."""
    store = await loaded(tmp_path)
    first = weakref.ref(store.current)
    for word in ("tnt", "semtex"):
        (tmp_path / "a.yaml").write_text(policy(word))
        assert await store.reload() is True
    assert first() is None


@pytest.mark.parametrize(("cheap", "collected"), [(0, False), (10**9, True)])
async def test_nobody_waits_for_a_long_collection(
    cheap: int, collected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many objects around, old sets stay until the collector comes by itself."""
    store = await loaded(tmp_path)
    calls: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: calls.append(None))
    monkeypatch.setattr(store_module, "MAX_GC_OBJECTS", cheap)
    await store.reload()
    assert bool(calls) is collected


async def test_a_thread_that_computes_waits_for_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it rests, what the loop had to do by then is done, more than once."""
    monkeypatch.setattr(store_module, "WORK_TIME", 0.0)
    loop = asyncio.get_running_loop()
    rests = store_module._CooperativeYield(loop)
    turns = 0
    computing = True

    def turn() -> None:
        nonlocal turns
        turns += 1
        if computing:
            loop.call_soon(turn)

    def compute() -> int:
        before = turns
        rests()
        return turns - before

    turn()
    assert await asyncio.to_thread(compute) >= store_module.LOOP_TURNS
    computing = False


def test_a_thread_that_computes_does_not_wait_for_a_loop_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is being stopped: the load comes to its end."""
    monkeypatch.setattr(store_module, "WORK_TIME", 0.0)
    loop = asyncio.new_event_loop()
    loop.close()
    store_module._CooperativeYield(loop)()


EDITS = ("rename", "write", "broken", "empty", "gone")


def edit(path: Path, kind: str, number: int) -> None:
    """One of the things that happen to files."""
    whole = policy(f"a{number}", f"b{number}")
    if kind == "rename":
        rename_over(path, whole)
    elif kind == "gone":
        path.unlink(missing_ok=True)
    else:
        path.write_text({"write": whole, "broken": whole + "x: [", "empty": ""}[kind])


@pytest.mark.parametrize("seed", range(4))
async def test_no_request_ever_sees_half_a_policy(tmp_path: Path, seed: int) -> None:
    """Any edits, any moment: both rules in force are of one version, and a request's text is treated by that one."""
    chance = random.Random(seed)
    store = await loaded(tmp_path, policy("a0", "b0"))
    done = asyncio.Event()

    async def requests() -> int:
        asked = 0
        while not done.is_set():
            now = store.current
            one, two = (rule.id for rule in now.rules)
            assert one[1:] == two[1:]
            gate = Gate(now.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT))
            assert gate.feed(f"{one} {two}", final=True) == "[removed] [removed]"
            asked += 1
            await asyncio.sleep(0)
        return asked

    asking = asyncio.create_task(requests())
    for number in range(1, 12):
        edit(tmp_path / "a.yaml", chance.choice(EDITS), number)
        await store.refresh()
        await a_moment()
    done.set()
    assert await asking > 100


async def test_a_hundred_reloads_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 streams run on while valid and broken versions come and go: no stream breaks, memory stays flat."""
    monkeypatch.setattr(files, "PAUSE", 0.0)
    store = await loaded(tmp_path)
    done, beat = asyncio.Event(), asyncio.Event()  # at each beat every stream has its next token
    finished = 0

    async def stream() -> None:
        nonlocal finished
        while not done.is_set():
            gate = Gate(store.current.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT))
            out = ""
            for token in ("a", " bo", "mb and", " a tn", "t", "."):
                out += gate.feed(token)
                await beat.wait()
            out += gate.feed("", final=True)
            assert out in ("a [removed] and a tnt.", "a bomb and a [removed].")
            finished += 1

    async with asyncio.TaskGroup() as group:
        streams = [group.create_task(stream()) for _ in range(200)]
        after_ten = 0
        for number in range(100):
            beat.set()
            beat.clear()
            broken = number % 3 == 2
            rename_over(tmp_path / "a.yaml", policy("tnt" if number % 2 else "bomb") + ("x: [" if broken else ""))
            assert await store.reload() is not broken
            if number in (9, 99):
                gc.collect()
                after_ten = after_ten or _traced()
        grown = _traced() - after_ten
        done.set()
        while not all(stream.done() for stream in streams):
            beat.set()
            beat.clear()
            await asyncio.sleep(0)
    tracemalloc.stop()
    assert (store.status.loads, store.status.failures) == (68, 33)
    assert finished >= 200
    assert grown < 300_000, f"{grown} bytes more after 90 reloads"


def _traced() -> int:
    """Bytes that Python has allocated since this was first asked."""
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]
