"""models.yaml: what is wrong in one, which entry is for which model, and when an entry lapses."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import PolicyError
from proxy.policy.document import Source
from proxy.policy.models_file import NO_REVIEWS, Review, Reviews, read_models_file

CASES = sorted(Path(__file__).parent.joinpath("golden_models").iterdir())
DIGEST = "46e0c10c039e" + "0" * 52
OTHER = "9f438cb9cd58" + "0" * 52


def read(text: str) -> Reviews:
    """The reviews in a file."""
    return read_models_file(Source("models.yaml", text.encode()))


def reviews(*entries: str) -> Reviews:
    """Of entries without their braces."""
    return read("version: 1\nmodels:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries))


def note(found: Review | None) -> str | None:
    """Which entry it is."""
    return None if found is None else found.note


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_told_where_and_with_its_fix(case: Path) -> None:
    """Every problem with file, line, column and how to fix it, on one line of at most 320 characters."""
    source = Source("policies/models.yaml", (case / "models.yaml").read_bytes())
    with pytest.raises(PolicyError) as caught:
        read_models_file(source)
    assert caught.value.problems == (case / "EXPECTED").read_text("utf-8").splitlines()
    assert all(len(line) <= 320 and line.isprintable() for line in caught.value.problems)


def test_a_whole_entry() -> None:
    """All keys; a date needs no quotes; names are compared as policies compare them."""
    found = read(
        "version: 1\nmodels:\n  - model: Library/LLAMA3.1:latest\n    digest: sha256:46e0c10c039e\n"
        "    status: unaligned\n    reviewed_by: Ada\n    on: 2026-11-30\n    note: answers everything\n"
    ).entries
    place = "models.yaml:3:5"
    assert found == (Review("unaligned", "llama3.1", "46e0c10c039e", "Ada", "2026-11-30", "answers everything", place),)


def test_without_models_there_are_none() -> None:
    """`models` may be left out."""
    assert read("version: 1\n").entries == NO_REVIEWS.entries == ()


def test_the_narrowest_entry_counts() -> None:
    """Name and digest before the digest alone, that before the name alone, wherever they stand."""
    entries = [
        "model: m, status: base, note: name",
        "digest: 46e0c10c039e, status: base, note: digest",
        "model: m, digest: 46e0c10c039e, status: base, note: both",
    ]
    for given in (entries, entries[::-1]):
        found = reviews(*given)
        assert note(found.find(["m"], DIGEST)) == "both"
        assert note(found.find(["other"], DIGEST)) == "digest"
        assert note(found.find(["m"], OTHER)) == "name"
        assert note(found.find(["other"], OTHER)) is None
        assert note(reviews(*[one for one in given if "both" not in one]).find(["m"], DIGEST)) == "digest"


def test_an_entry_lapses_with_its_digest() -> None:
    """It is for the very model that was looked at: with another digest, or none, it does not apply."""
    found = reviews("model: m, digest: 46e0c10c039e, status: instruct, note: pinned")
    assert note(found.find(["m"], f"sha256:{DIGEST}")) == "pinned"
    assert found.lapsed(["m"], DIGEST) is None
    for digest in (OTHER, ""):
        assert found.find(["m"], digest) is None
        assert note(found.lapsed(["m"], digest)) == "pinned"
    assert found.lapsed(["other"], OTHER) is None


def test_nothing_lapses_where_another_entry_applies() -> None:
    """One without a digest takes its place."""
    found = reviews("model: m, digest: 46e0c10c039e, status: instruct", "model: m, status: base, note: any")
    assert note(found.find(["m"], OTHER)) == "any"
    assert found.lapsed(["m"], OTHER) is None


def test_any_name_of_a_model_will_do() -> None:
    """The model server may list more than one."""
    assert note(reviews("model: b, status: base, note: n").find(["a", "b"], "")) == "n"
