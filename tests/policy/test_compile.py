"""From files to a set: what is compiled, what it is called, and what counts as a change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.core.types import Action, Direction, Ending, Kind
from proxy.errors import PolicyError
from proxy.policy.compile import Compilation, compile_policies
from proxy.policy.document import Source
from proxy.policy.explain import Sample, outcome
from proxy.policy.policyset import PolicySet

HEAD = "version: 1\npolicy: house\n"
BOMB = HEAD + "rules: [{id: a, words: [bomb], action: block}]\n"


def compiled(text: str, name: str = "x.yaml", **options: Any) -> PolicySet:
    """The set of one file."""
    return compile_policies([Source(name, text.encode())], hash_key=b"key", **options)


def with_rule(rule: str) -> str:
    """A policy with one rule."""
    return HEAD + f"rules: [{{id: a, {rule}}}]\n"


def out(policies: PolicySet, text: str, direction: Direction = Direction.OUTPUT) -> str:
    """What is let out of a text."""
    return outcome(policies, Sample(text, direction)).out


def test_a_rule_keeps_what_its_file_says() -> None:
    """Name, action, message and place."""
    policies = compiled(
        HEAD + "rules: [{id: a, words: [x], action: flag}, {id: b, words: [y], action: block, message: m}]"
    )
    first, second = policies.rules
    assert (first.name, first.action, second.name, second.message) == ("house/a", Action.FLAG, "house/b", "m")
    assert first.order < second.order
    assert policies.policies[0].name == "house"


def test_order_runs_over_files_by_name() -> None:
    """The file that comes first by name has the rules that come first, in whatever order files are given."""
    files = [Source("b.yaml", BOMB.encode()), Source("a.yaml", BOMB.replace("house", "other").encode())]
    policies = compile_policies(files, hash_key=b"key")
    assert [rule.name for rule in sorted(policies.rules, key=lambda r: r.order)] == ["other/a", "house/a"]


@pytest.mark.parametrize(
    ("rule", "text", "result"),
    [
        ("words: [bomb], action: block", "a bomb!", "a "),
        ("words: [bomb, big bang], action: rewrite", "BOMBS, Bomb, BIG bang", "BOMBS, [removed], [removed]"),
        ("pattern: '[0-9]{3,}', action: rewrite, replacement: '#'", "12 1234 567", "12 # #"),
        ("pattern: '<t>.*?</t>', match: shortest, action: rewrite, replacement: ''", "<t>a</t>b</t>", "b</t>"),
        ("detector: email, action: rewrite, replacement: {mask: '*'}", "to a@b.cd!", "to ******!"),
        ("words: [bomb], fold: true, action: rewrite", "a b\u200bömb", "a [removed]"),
        ("words: [bomb], action: flag", "a bomb!", "a bomb!"),
    ],
)
def test_each_kind_of_rule_does_what_it_says(rule: str, text: str, result: str) -> None:
    """Words, patterns and detectors; fixed texts, masks and nothing at all; block and flag."""
    assert out(compiled(with_rule(rule)), text) == result


def test_equal_values_get_equal_tags() -> None:
    """A hash tells values apart without showing them, and depends on the key."""
    rule = with_rule("detector: email, action: rewrite, replacement: {hash: true}")
    one, two, again = out(compiled(rule), "a@b.cd e@f.gh a@b.cd").split()
    assert one == again != two
    assert one.startswith("[email:")
    other = compile_policies([Source("x.yaml", rule.encode())], hash_key=b"other")
    assert out(other, "a@b.cd") != one


def test_words_come_from_a_file_beside_the_policy() -> None:
    """One entry a line; empty lines and comments do not count, Windows line ends do not matter."""
    files = [
        Source("x.yaml", with_rule("words_file: names.txt, action: rewrite").encode()),
        Source("names.txt", "# names\r\nanna b\r\n\r\n  zoë \n".encode()),
        Source("unused.txt", b"\xff"),
    ]
    assert (
        out(compile_policies(files, hash_key=b"key"), "Anna B met ZOË, # names") == "[removed] met [removed], # names"
    )


def test_json_is_read_like_yaml() -> None:
    """The same content is the same revision; surrogate pairs and escaped slashes are read as JSON reads them."""
    text = '{"version": 1, "policy": "house",\n\t"rules": [{"id": "a", "words": ["bomb"], "action": "block"}]}'
    assert compiled(text, "x.json").revision == compiled(BOMB).revision
    rule = r'{"id": "a", "pattern": "\ud83d\ude00\/", "action": "rewrite"}'
    emoji = compiled('{"version": 1, "policy": "house", "rules": [' + rule + "]}", "x.json")
    assert out(emoji, "a 😀/") == "a [removed]"


def test_limits_end_an_answer_like_its_longest_length() -> None:
    """They are rules of their own, for output only."""
    policies = compiled(HEAD + "limits: {max_output_characters: 5, repetition: {max: 3}}\n")
    assert [rule.name for rule in policies.rules] == ["house/limits.max_output_characters", "house/limits.repetition"]
    assert {rule.ending for rule in policies.rules} == {Ending.LENGTH}
    assert out(policies, "0123456789") == "01234"
    assert out(policies, "0123456789", Direction.INPUT) == "0123456789"
    assert out(compiled(HEAD + "limits: {repetition: {max: 3}}\n"), "ab " * 300) == ("ab " * 300)[:447]


@pytest.mark.parametrize("change", ["mode: monitor\n", ""])
def test_what_only_watches_changes_nothing(change: str) -> None:
    """Monitor mode and a shadow set find the same, and let everything pass without holding a character."""
    policies = compiled(BOMB + change + "limits: {max_output_characters: 3}\n", shadow=not change)
    done = outcome(policies, Sample("a bomb"))
    assert (done.out, done.verdict) == ("a bomb", "flagged")
    assert [f.rule.id for f in done.findings] == ["a", "limits.max_output_characters"]
    checks = policies.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT)
    assert [check.hold for check in checks] == [0, 0]


def test_a_shadow_set_is_labelled() -> None:
    """Metrics and logs can tell the two sets apart, also when they hold the same policy."""
    policies = compiled(BOMB, shadow=True)
    assert policies.shadow
    assert [rule.name for rule in policies.rules] == ["shadow:house/a"]
    assert policies.revision == compiled(BOMB).revision


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\n" + BOMB,
        'policy: "house"\nversion: 1\nmode: enforce\nrules:\n- action: block\n  id: a\n  words:\n  - bomb\n',
    ],
)
def test_comments_and_layout_are_no_change(same: str) -> None:
    """The revision is that of the content."""
    assert compiled(same).revision == compiled(BOMB).revision
    assert len(compiled(BOMB).revision) == 64


def test_every_change_of_content_is_a_new_revision() -> None:
    """A word, a mode, the order of files, and a word in a words_file."""

    def revision(*files: tuple[str, str]) -> str:
        sources = [Source(name, text.encode()) for name, text in files]
        return compile_policies(sources, hash_key=b"key").revision

    listed = with_rule("words_file: names.txt, action: block")
    other = BOMB.replace("house", "other")
    revisions = [
        revision(("x.yaml", BOMB)),
        revision(("x.yaml", BOMB.replace("bomb", "bombs"))),
        revision(("x.yaml", BOMB + "mode: monitor\n")),
        revision(("x.yaml", listed), ("names.txt", "a")),
        revision(("x.yaml", listed), ("names.txt", "b")),
        revision(("a.yaml", BOMB), ("b.yaml", other)),
        revision(("a.yaml", other), ("b.yaml", BOMB)),
    ]
    assert len(set(revisions)) == len(revisions)


def test_a_set_without_a_rule_has_to_be_allowed() -> None:
    """Nothing to enforce is most likely a mistake."""
    with pytest.raises(PolicyError, match="there is no rule in any file: write one, or start with --allow-empty"):
        compiled(HEAD)
    with pytest.raises(PolicyError, match="/etc/p: there is no policy file"):
        compile_policies([], hash_key=b"key", origin="/etc/p")
    assert compiled(HEAD, allow_empty=True).rules == ()
    assert compile_policies([], hash_key=b"key", allow_empty=True).policies == ()


def test_entries_that_may_surprise_get_a_hint() -> None:
    """They are allowed, and `check` says what they do: three of them in full, and how many more there are."""
    policies = compiled(with_rule('words: ["c++", ok, ".net", "#1", "-x-", "$y"], action: block'))
    assert policies.hints[0].startswith("x.yaml:3:25: rule a: the entry `c++` begins or ends with a sign, and there is")
    assert len(policies.hints) == 4
    assert policies.hints[-1].endswith("2 more entries may surprise, from here on")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("机", "is found inside longer words too"), ("パン", "is found inside longer words too"), ("机密", ""),
        ("パンダ", ""), ("हिन्दी", ""), ("می\u200cخواهم", ""), ("bo\u200bmb", "U+200B"),
        ("\u0301a", "begins with a mark"),
        ("secretproj", ""), ("C#", "a sign"),
    ],
)  # fmt: skip
def test_which_entries_may_surprise(entry: str, said: str) -> None:
    """Signs at an end, short entries of scripts without spaces, marks that lack their letter, what nobody sees."""
    hints = compiled(with_rule(f"words: [{json.dumps(entry)}], action: block")).hints
    assert [said in hint for hint in hints] == [True] * bool(said)
    folded = compiled(with_rule(f"words: [{json.dumps(entry)}], fold: true, action: block")).hints
    assert len(folded) == (bool(said) and said != "U+200B")


def test_the_report_says_how_much_each_rule_can_hold() -> None:
    """A line per rule: bounded, bounded by max_hold, or never; limits are rules too."""
    rules = [
        "{id: w, words: [bomb], action: block}",
        "{id: p, pattern: 'k=[^;]*;', action: rewrite}",
        "{id: f, words: [x], action: flag}",
    ]
    limits = "limits: {max_output_characters: 9}"
    loaded = compiled(HEAD + f"rules: [{', '.join(rules)}]\n{limits}\n")
    report = loaded.report
    assert report[0] == "house/w: block, holds at most 8 characters"
    assert report[1] == "house/p: rewrite, holds at most 256 characters (max_hold) while nothing has matched"
    assert report[2] == "house/f: flag, never holds"
    assert report[3] == "house/limits.max_output_characters: a limit on answers"
    assert len(report) == len(loaded.rules)


def test_a_load_pauses_often() -> None:
    """After each rule and after each piece of an example, so that whoever drives it can let others in."""
    rule = "{{id: r{}, words: [bomb], action: block, examples: {{hits: [bomb], misses: [a, b]}}}}"
    source = Source("x.yaml", (HEAD + f"rules: [{', '.join(map(rule.format, range(10)))}]").encode())
    pauses: list[None] = []
    load = Compilation([source], hash_key=b"k", pause=lambda: pauses.append(None))
    load.run()
    assert len(pauses) >= 10 + 30
    assert len(load.results) == 30
    assert all(result.passed for result in load.results)


def test_examples_are_run_in_monitor_mode_too() -> None:
    """They test the rule as it will be once it is enforced."""
    rule = HEAD + "mode: monitor\nrules: [{id: a, words: [bomb], action: rewrite, examples: {becomes: {a bomb: %s}}}]"
    assert compiled(rule % "'a [removed]'").rules
    with pytest.raises(PolicyError, match=r"`a bomb` becomes `a \[removed\]`, not `a bomb`"):
        compiled(rule % "a bomb")
