"""The policies that tests run under.

An operator edits policies/, and `make test` passes all the same: a test that needs some policies takes the copies in
tests/data. Only what is about the shipped files themselves reads those.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.files import read_directory
from proxy.policy.policyset import PolicySet

COPIES: Final = Path(__file__).with_name("data") / "policies"
"""chat-markers and starter, as they were shipped: .ci/run compares the two on a clean clone."""
DEFAULT: Final = (COPIES / "chat-markers.yaml", COPIES.with_name("default") / "secrets.yaml")
"""What applies without a setting, as it was shipped."""
UNALIGNED: Final = COPIES.with_name("unaligned") / "unaligned.yaml"
"""What is for models that are not known to be instruct, as it was shipped."""
SHIPPED: Final = Path(__file__).parent.parent / "policies"
"""As somebody may have edited them since."""
COPY_OF: Final = {
    COPIES / "chat-markers.yaml": SHIPPED / "chat-markers.yaml",
    COPIES / "starter.yaml": SHIPPED / "more" / "starter.yaml",
    UNALIGNED: SHIPPED / "more" / "unaligned.yaml",
    DEFAULT[1]: SHIPPED / "secrets.yaml",
}
"""Of which shipped policy each copy is one."""


def as_shipped(folder: Path) -> Path:
    """A folder like the shipped one, whatever an operator has made of that: the default, and others in `more` and
    `models`."""
    (folder / "more").mkdir(parents=True)
    (folder / "models").mkdir()
    for path in DEFAULT:
        (folder / path.name).write_bytes(path.read_bytes())
    others = {"more": ("house-words", "personal-data", "prompts", "starter"), "models": ("harmful", "off-topic")}
    for part, names in others.items():
        for name in names:
            text = f"version: 1\npolicy: {name}\nrules: [{{id: r, words: [{name}], action: flag}}]\n"
            (folder / part / f"{name}.yaml").write_text(text, "utf-8")
    return folder


@cache
def copies(*more: str) -> PolicySet:
    """The copies, compiled, with other policies beside them; a set is never changed, so one does for all tests."""
    others = (Source(f"z{number}.yaml", text.encode()) for number, text in enumerate(more))
    return compile_policies([*read_directory(COPIES), *others], hash_key=b"key")


@cache
def default() -> PolicySet:
    """The policies that apply without a setting."""
    return compile_policies([Source(path.name, path.read_bytes()) for path in DEFAULT], hash_key=b"key")
