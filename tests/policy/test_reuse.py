"""A load uses what the load before it made of rules that have not changed, and nothing else of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.types import Action, Direction, Kind, Rule
from proxy.errors import PolicyError
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.pauses import no_pause
from proxy.matching.rules import MatchRule
from proxy.policy import rule_compiler as compile_module
from proxy.policy.compile import Compilation
from proxy.policy.document import Source
from proxy.policy.explain import Sample, outcome
from proxy.policy.policyset import PolicySet
from proxy.policy.rule_compiler import CompileCache, RuleCompiler, cache_key
from proxy.policy.schema import Examples

Spec = dict[str, Any]
Files = dict[str, Spec]


class Done(NamedTuple):
    """A load that went well."""

    policies: PolicySet
    cache: CompileCache
    tried: list[str]  # texts of the examples that were run


def load(*policies: Spec, cache: CompileCache | None = None, shadow: bool = False) -> Done:
    """Load policies, each from a file of its own."""
    sources = [Source(f"{number}.json", json.dumps(policy).encode()) for number, policy in enumerate(policies)]
    compilation = Compilation(sources, hash_key=b"key", cache=cache, shadow=shadow)
    done = compilation.run()
    return Done(done, compilation.cache, [result.text for result in compilation.results])


def house(*rules: Spec, **keys: Any) -> Spec:
    """A policy."""
    return {"version": 1, "policy": "house", "rules": list(rules), **keys}


def word(text: str, **keys: Any) -> Spec:
    """A rule for a word, with the word as its id."""
    return {"id": text, "words": [text], "action": "rewrite", **keys}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the rules that are compiled, as they are."""
    ids: list[str] = []

    def noting(match: Any, *rest: Any) -> CompiledRule:
        ids.append(match.rule.id)
        return compile_rule(match, *rest)

    monkeypatch.setattr(compile_module, "compile_rule", noting)
    return ids


A, B, C = word("a"), word("b", fold=True), {"id": "c", "pattern": "xc+", "action": "block"}


@pytest.mark.parametrize(
    ("after", "anew"),
    [
        ([A, B, C], []),
        ([C, B, A], []),
        ([A, C], []),
        ([word("new"), A, B, C], ["new"]),
        ([A, {**B, "words": ["b", "bb"]}, C], ["b"]),
        ([A, B, {**C, "pattern": "xc"}], ["c"]),
        ([A, B, {**C, "message": "no"}], ["c"]),
        ([A, B, {**C, "match": "shortest"}], ["c"]),
        ([{**A, "replacement": "x"}, B, C], ["a"]),
        ([{**A, "action": "flag"}, B, C], ["a"]),
        ([A, {**B, "fold": False}, C], ["b"]),
        ([A, {**B, "max_hold": 9}, C], ["b"]),
        ([{**A, "id": "other"}, B, C], ["other"]),
        ([{**A, "examples": {"hits": ["a"]}}, B, C], ["a"]),
    ],
)
def test_only_what_has_changed_is_compiled_again(after: list[Spec], anew: list[str], compiled: list[str]) -> None:
    """Whatever is put before a rule, behind it, or instead of another one."""
    before = load(house(A, B, C))
    compiled.clear()
    load(house(*after), cache=before.cache)
    assert compiled == anew


def test_what_a_kept_rule_finds_is_found_by_the_new_set() -> None:
    """Also where it has waited too long and ends the text by that: the finding's rule stands where it stands now."""
    late = {"id": "late", "pattern": "q[^k]*k", "action": "rewrite", "max_hold": 4, "on_overflow": "block"}
    before = load(house(late))
    after = load(house(A, late), cache=before.cache)
    (check,) = after.policies.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT)
    (finding,) = check.open().feed("q123456789", final=True).findings
    assert finding.rule.order == after.policies.rules[1].order


def test_the_examples_of_a_rule_that_has_not_changed_are_not_run_again() -> None:
    """Those of one that has are; and so are those that are new."""
    rules = [word(w, examples={"hits": [f"{w} 1"]}) for w in ("a", "b", "c")]
    before = load(house(*rules))
    assert before.tried == ["a 1", "b 1", "c 1"]
    rules[0] = word("a", examples={"hits": ["a 1", "a 2"]})
    rules[2] = word("c", fold=True, examples={"hits": ["c 1"]})
    assert load(house(*rules), cache=before.cache).tried == ["a 1", "a 2", "c 1"]


def test_an_example_that_has_become_wrong_is_found() -> None:
    """The rule is the same, what is expected of it is not."""
    before = load(house(word("a", examples={"becomes": {"a": "[removed]"}})))
    with pytest.raises(PolicyError, match="becomes"):
        load(house(word("a", examples={"becomes": {"a": "gone"}})), cache=before.cache)


@pytest.mark.parametrize(
    "after",
    [
        [word("a", replacement="[secret]"), word("secret")],
        [word("a", replacement="[secret]"), {"id": "p", "pattern": "secre", "action": "block"}],
        [word("a", replacement="[secret]"), word("b", replacement="[secret]"), word("secret", fold=True)],
    ],
)
def test_a_new_rule_that_finds_an_old_label_is_refused(after: list[Spec]) -> None:
    """The label was looked at by the load before, but not with this rule."""
    before = load(house(word("a", replacement="[secret]"), word("b", replacement="[secret]")))
    with pytest.raises(PolicyError, match=r"its replacement `\[secret\]` is itself found by house/(secret|p)"):
        load(house(*after), cache=before.cache)


def test_a_new_label_that_an_old_rule_finds_is_refused() -> None:
    """The rule was looked at by the load before, but not with this label."""
    before = load(house(word("a"), word("secret")))
    with pytest.raises(PolicyError, match=r"its replacement `\[secret\]` is itself found by house/secret"):
        load(house(word("a", replacement="[secret]"), word("secret")), cache=before.cache)


def test_a_rule_that_only_flagged_may_not_find_a_label_when_it_acts() -> None:
    """While it flagged, nothing was wrong with it."""
    before = load(house(word("a"), word("removed", action="flag")))
    with pytest.raises(PolicyError, match="is itself found by house/removed"):
        load(house(word("a"), word("removed")), cache=before.cache)


def test_a_rule_that_was_moved_has_its_new_place() -> None:
    """Where matches merge the first rule names them; the set before keeps its own order."""
    long = {"id": "long", "pattern": "ab+", "action": "rewrite", "replacement": "L"}
    short = {"id": "short", "pattern": "b+c", "action": "rewrite", "replacement": "S"}
    before = load(house(long, short))
    after = load(house(short, long), cache=before.cache)
    assert [outcome(done.policies, Sample("abbc")).out for done in (before, after, before)] == ["L", "S", "L"]
    assert [rule.order for rule in after.policies.rules] == [1, 2]


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_a_mode_is_never_that_of_the_load_before(mode: str) -> None:
    """A policy that only watches lets everything pass; one that is enforced does not."""
    other = "monitor" if mode == "enforce" else "enforce"
    before = load(house(word("a"), mode=other))
    after = load(house(word("a"), mode=mode), cache=before.cache)
    assert outcome(after.policies, Sample("a")).out == ("[removed]" if mode == "enforce" else "a")
    assert after.policies.report == load(house(word("a"), mode=mode)).policies.report


def test_a_load_that_fails_leaves_nothing() -> None:
    """What it compiled is not for the next one, and what it began with is as it was."""
    before = load(house(A))
    known = dict(before.cache.rules)
    compilation = Compilation(
        [Source("x.json", json.dumps(house(A, B, {**C, "pattern": "("})).encode())], hash_key=b"key", cache=before.cache
    )
    with pytest.raises(PolicyError):
        compilation.run()
    assert not compilation.cache.rules
    assert before.cache.rules == known


def test_what_is_kept_is_that_of_one_load() -> None:
    """A hundred loads, each with other rules and other labels: no more is kept than the last one has."""
    cache = None
    for number in range(100):
        rules = [word(f"w{n}", replacement=f"[label {n}]") for n in range(number, number + 5)]
        cache = load(house(*rules), cache=cache).cache
    assert cache is not None
    assert (len(cache.rules), len(cache.clean)) == (5, 5)


def test_two_rules_of_one_load_are_never_one() -> None:
    """Of two that are alike (their policies have one name, which is refused later) one is compiled anew."""
    match = MatchRule(Rule("p", "a", Action.REWRITE), "ab")
    first, _ = RuleCompiler(CompileCache(), no_pause).compile(match, Examples())
    again = RuleCompiler(CompileCache({cache_key(match, Examples()): first}), no_pause)
    (one, known), (two, _) = again.compile(match, Examples()), again.compile(match, Examples())
    assert known
    assert one == first != two


@pytest.mark.parametrize("layout", [None, 1])
def test_an_id_that_stands_twice_is_refused(layout: int | None) -> None:
    """On whatever line: JSON may stand on a single one."""
    with pytest.raises(PolicyError, match="the id is given a second time here"):
        Compilation([Source("x.json", json.dumps(house(A, A), indent=layout).encode())], hash_key=b"key").run()


# -- any edits

IDS = ("r1", "r2", "r3", "r4")
WORDS = ("bomb", "tnt", "bo", "boom", "abc", "b", "bombs", "removed", "Straße", "c++")
PATTERNS = ("b+o", "bo.{0,3}b", "(?i)TNT", "[a-c]{2,}", "oo+", "x|TNT", "b(?=o)", "bo?m", "(", r"\bremoved\b", "o*")
TEXTS = ("bomb", "a b0mb and TNT", "strasse boooob abc", "the label [removed] stands", "bbo bo bomb tnt c++x", "")


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Spec]:
    """A mapping with some of the keys."""
    return st.fixed_dictionaries({}, optional=keys)


SEARCHES = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=2, unique=True).map(lambda words: {"words": words}),
    st.sampled_from(PATTERNS).map(lambda pattern: {"pattern": pattern}),
    st.sampled_from(("email", "ip_address", "credit_card", "chat_markers")).map(lambda name: {"detector": name}),
)
EXTRAS = optional(
    fold=st.booleans(),
    max_hold=st.sampled_from((2, 256)),
    on_overflow=st.sampled_from(("release", "block")),
    examples=st.sampled_from(
        ({"misses": ["quiet"]}, {"becomes": {"so": "so"}}, {"misses": ["calm"]}, {"hits": ["bo"]})
    ),
    directions=st.just(["output"]),
)
ACTIONS = st.sampled_from(
    (
        {"action": "flag"},
        {"action": "rewrite"},
        {"action": "rewrite", "replacement": "[bo]"},
        {"action": "rewrite", "replacement": "[x]"},
        {"action": "rewrite", "replacement": ""},
        {"action": "rewrite", "replacement": {"mask": "#"}},
        {"action": "rewrite", "replacement": {"hash": True}},
        {"action": "block"},
        {"action": "block", "message": "no tnt"},
    )
)
RULES = st.builds(
    lambda name, *parts: {"id": name} | {k: v for part in parts for k, v in part.items()},
    *(st.sampled_from(IDS), SEARCHES, EXTRAS, ACTIONS),
)
POLICIES = st.builds(
    lambda rules, keys: house(*rules, **keys),
    st.lists(RULES, min_size=1, max_size=4, unique_by=lambda rule: rule["id"]),
    optional(mode=st.just("monitor"), on_error=st.just("allow"), policy=st.just("other")),
)


def shown(load: Callable[[], Done]) -> tuple[Any, Done | None]:
    """All that can be seen of a load: its errors, or the set and what it does with texts."""
    try:
        done = load()
    except PolicyError as error:
        return error.problems, None
    policies = done.policies
    rules = [[getattr(rule, name) for name in type(rule).__slots__] for rule in policies.rules]
    effects = [
        (done.out, done.blocked and done.blocked.name, [(f.start, f.end, f.rule.name) for f in done.findings])
        for direction in Direction
        for text in TEXTS
        for done in [outcome(policies, Sample(text, direction))]
    ]
    return (policies.revision, policies.report, policies.hints, rules, effects), done


@settings(max_examples=40, deadline=None)
@given(st.lists(POLICIES, min_size=2, max_size=5), st.data())
def test_a_load_is_the_same_whatever_was_loaded_before(versions: list[Spec], data: st.DataObject) -> None:
    """Errors, rules, reports, and what becomes of texts: as if it were the first load."""
    cache = None
    for version in versions:
        rules = data.draw(st.permutations([*version["rules"], *versions[0]["rules"]]))
        edited = {**version, "rules": list({rule["id"]: rule for rule in rules}.values())}
        fresh, _ = shown(lambda: load(edited))  # noqa: B023
        again, done = shown(lambda: load(edited, cache=cache))  # noqa: B023
        assert again == fresh
        cache = done.cache if done is not None else cache


def after_edit(before: PolicySet, *policies: Spec) -> PolicySet:
    """The set of these policies, loaded while another one is in force."""
    sources = [Source(f"{number}.json", json.dumps(policy).encode()) for number, policy in enumerate(policies)]
    return Compilation(sources, hash_key=b"key", previous=before).run()


def for_model(name: str, *rules: Spec) -> Spec:
    """A policy for one model."""
    return {"version": 1, "policy": name, "applies_to": {"models": [name]}, "rules": list(rules)}


def test_an_edit_leaves_the_checks_of_other_policies_as_they_are() -> None:
    """So what their automata have built is still there, and what is remembered of prompts is still true."""
    before = load(for_model("one", word("gizmo")), for_model("other", word("widget"))).policies
    checks = {model: plan_checks(before, model) for model in ("one", "other")}
    after = after_edit(before, for_model("one", word("gizmo"), word("gadget")), for_model("other", word("widget")))
    assert after.revision != before.revision
    assert plan_checks(after, "other") == checks["other"]
    assert after.policies[1] is before.policies[1]
    assert plan_checks(after, "one") != checks["one"]
    assert {*checks["other"]} <= {*after.checks}
    assert not {*checks["one"]} & {*after.checks}


def test_a_policy_in_another_place_is_another_one() -> None:
    """Its rules come before or after others that way."""
    before = load(for_model("one", word("gizmo")), for_model("other", word("widget"))).policies
    after = after_edit(before, for_model("other", word("widget")), for_model("one", word("gizmo")))
    assert not {*after.policies} & {*before.policies}


def plan_checks(policies: PolicySet, model: str) -> tuple[object, ...]:
    """The checks for what a user of a model says."""
    return policies.plan(Direction.INPUT, model=model, role="user").checks(Kind.CONTENT)
