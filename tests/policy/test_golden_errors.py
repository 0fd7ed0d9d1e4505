"""Every error message of a policy file, as the operator reads it. A directory a case: the files, and EXPECTED."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import PolicyError
from proxy.policy.compile import compile_policies
from proxy.policy.document import MAX_BYTES, Source

CASES = sorted(Path(__file__).parent.joinpath("golden_errors").iterdir())


def load(case: Path) -> list[str]:
    """The problems of a case's files."""
    files = [path for path in case.iterdir() if path.name != "EXPECTED"]
    sources = [Source(f"policies/{path.name}", path.read_bytes()) for path in files]
    with pytest.raises(PolicyError) as caught:
        compile_policies(sources, hash_key=b"key")
    return caught.value.problems


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_told_where_and_with_its_fix(case: Path) -> None:
    """All problems of all files, in order, each with file, line, column, rule and how to fix it."""
    assert load(case) == (case / "EXPECTED").read_text("utf-8").splitlines()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_message_is_longer_than_a_screen(case: Path) -> None:
    """A problem is one line of at most 320 characters, so that a log can be read."""
    for line in load(case):
        assert len(line) <= 320
        assert line.isprintable()


def test_a_file_that_is_too_big_is_not_read() -> None:
    """Over 16 MiB nothing is parsed."""
    with pytest.raises(PolicyError) as caught:
        compile_policies([Source("policies/x.yaml", b"#" * (MAX_BYTES + 1))], hash_key=b"key")
    assert caught.value.problems == ["policies/x.yaml: larger than 16 MiB: split it into several files"]
