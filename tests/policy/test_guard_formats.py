"""Files of guard formats: those that are shipped are whole, and what is wrong in one is told with its place."""

from __future__ import annotations

import pytest

from proxy.checks.guards.format import JUDGED, Format, Level
from proxy.policy.document import Source
from proxy.policy.guard_formats import read_formats
from tests.checks.guards.formats import FOLDER, FORMATS, READ, ROOT

DOCUMENT = (ROOT / "docs" / "guard-models.md").read_text("utf-8")
UNVERIFIED = {"llama-guard-4", "granite-guardian-3.2", "granite-guardian-3.3"}
BLOCKED = {"S1", "S2", "S3", "S4", "S9", "S10", "S11"}
RUBRIC = (FOLDER / "rubric.yaml").read_text(encoding="utf-8")
LLAMA = (FOLDER / "llama-guard-3-8b.yaml").read_text(encoding="utf-8")


def lines_of(text: str, name: str = "rubric.yaml") -> list[str]:
    """What is wrong with a file of this content."""
    read = read_formats([Source(name, text.encode())])
    assert bool(read.problems) is not bool(read.formats)
    return [str(problem) for problem in read.problems]


def test_shipped_formats() -> None:
    """All files of the proxy can be read, each with its licence and its sources."""
    assert READ.problems == []
    assert len(FORMATS) == len(list(FOLDER.glob("*.yaml")))
    assert all(guard.licence and guard.sources for guard in FORMATS.values())


def test_what_was_not_seen_is_not_verified() -> None:
    """A format whose template nobody has seen whole says so, and what is missing."""
    assert {name for name, guard in FORMATS.items() if not guard.verified} == UNVERIFIED
    assert all("not been seen" in FORMATS[name].remark for name in UNVERIFIED)


def test_shipped_map() -> None:
    """Where the false positives of Llama Guard are, S6 and its like, it only flags."""
    guard = FORMATS["llama-guard-3-8b"]
    assert {category.code for category in guard.categories if category.action == "block"} == BLOCKED
    assert {category.action for category in guard.categories} == {"block", "flag"}


def test_what_they_judge() -> None:
    """All judge prompts and answers; a jailbreak is a matter of prompts."""
    assert all(guard.judges == JUDGED for guard in FORMATS.values())
    known = FORMATS["qwen3guard-gen"].known("answer")
    assert "jailbreak" not in {category.code for category in known}
    assert FORMATS["qwen3guard-gen"].verdict.values["controversial"] is Level.CONTROVERSIAL


def test_names_of_categories() -> None:
    """A category is known by its code and its name, in any case."""
    guard = FORMATS["nemotron-safety-guard-v3"]
    assert guard.named("GUNS and illegal weapons") is guard.named("s4") is not None
    assert guard.named("S99") is None


def test_rubrics() -> None:
    """A format that judges by words of the policy says that it needs them."""
    assert {name for name, guard in FORMATS.items() if guard.needs_rubric} == {"rubric", "gpt-oss-safeguard"}


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("verified: true\n", "", "rubric.yaml:2:1: the key `verified` is missing: add verified: ..."),
        ("verified: true", "verified: maybe", "rubric.yaml:5:11: `verified` has to be true or false: without quotes"),
        ("transport: chat", "transport: telex", "`telex` cannot be `transport`"),
        ("transport: chat", "transport: raw", "it does not fit `transport: raw`: `raw` is sent raw"),
        ("context: 8192", "context: 12", "rubric.yaml:11:10: 12 is out of range"),
        ("reply: {", "replies: {", "unknown key `replies`: did you mean `reply`?"),
        ("{SAFE: safe, UNSAFE: unsafe}", "{SAFE: safe}", "`safe` and `unsafe` both need a word"),
        ("{SAFE: safe, UNSAFE: unsafe}", "{SAFE: safe, safe: unsafe}", "two words differ only in capitals"),
        ('"{verdict}"', '"{verdikt}"', "{verdikt} is no place in a reply: known: verdict, prompt"),
        ('"{verdict}"', '"{refusal}"', "no place has the verdict on the prompt: write {verdict} where it stands"),
        ("{answer}", "{asnwer}", "{asnwer} stands for nothing: known: conversation, user, answer"),
        ("{answer}", "", "what is judged is not in it: write {conversation} or {answer} where it belongs"),
        ("{answer}", "{answer} {answer}", "{answer} stands there 2 times: write it once"),
        (
            "format: rubric",
            "format: my-rubric",
            "rubric.yaml:2:9: the file is named `rubric.yaml`: name it `my-rubric.yaml`",
        ),
        ("name: Rule broken", "name: broken, text: [1]", "`text` has to be text"),
    ],
)
def test_wrong_files(old: str, new: str, wanted: str) -> None:
    """What is wrong is told with file, line, column, reason and fix."""
    assert old in RUBRIC
    lines = lines_of(RUBRIC.replace(old, new))
    assert any(wanted in line for line in lines), lines
    assert all(line.startswith("rubric.yaml:") for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("code: S2", "code: S1", "a second category is called `s1`: rename one of the two"),
        ("asks: all", "asks: one", "write {criterion} into the prompts"),
        ("User: {text}", "User:", "a turn has its text once: write {text} in it, once"),
        ("verified: true", "verified: false", ""),
    ],
)
def test_wrong_files_of_guards(old: str, new: str, wanted: str) -> None:
    """The same for what only a guard's file can have wrong."""
    lines = lines_of(LLAMA.replace(old, new), "llama-guard-3-8b.yaml")
    assert any(wanted in line for line in lines) if wanted else not lines


def test_no_prompt() -> None:
    """A format that can judge nothing is none."""
    text = RUBRIC.partition("prompts:")[0] + "prompts: {}\n"
    assert any("it has no prompt: write one under `prompt`, under `answer`, or both" in line for line in lines_of(text))


@pytest.mark.parametrize(("data", "wanted"), [(b"", "the file is empty"), (b"a: [", "not YAML"), (b"- a", "mapping")])
def test_no_yaml(data: bytes, wanted: str) -> None:
    """A file that is no YAML mapping is told, and the others are read."""
    good = Source("rubric.yaml", RUBRIC.encode())
    read = read_formats([Source("x.yaml", data), good])
    assert wanted in str(read.problems[0])
    assert list(read.formats) == ["rubric"]


def test_a_format_twice() -> None:
    """Two files cannot hold one format."""
    source = Source("rubric.yaml", RUBRIC.encode())
    other = Source("more/rubric.yaml", RUBRIC.encode())
    read = read_formats([source, other])
    (problem,) = read.problems
    assert str(problem).startswith("more/rubric.yaml:1:1: there is a second format `rubric`: rename one of the two")


def test_the_table_in_the_docs() -> None:
    """docs/guard-models.md has a row for each format, as its file says."""
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `") and line.count(" | ") == 6]
    assert rows == [row_of(guard) for guard in FORMATS.values()]


def row_of(guard: Format) -> str:
    """A format's row."""
    languages = "119" if guard.format == "qwen3guard-gen" else ", ".join(guard.languages) or "not told"
    cells = [f"`{guard.format}`", guard.about, ", ".join(guard.judges), guard.transport, languages, guard.licence]
    return f"| {' | '.join(cells)} | {'yes' if guard.verified else 'no'} |"
