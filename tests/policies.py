"""The policies that tests run under.

An operator edits policies/, and `make test` passes all the same: a test that needs some policies takes the copies in
tests/data. Only what is about the shipped files themselves reads those.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from proxy.policy.policyset import PolicySet
from proxy.policy.source import Source

COPIES: Final = Path(__file__).with_name("data") / "policies"
"""As they were shipped: .ci/run compares the two on a clean clone."""
SHIPPED: Final = Path(__file__).parent.parent / "policies"
"""As somebody may have edited them since."""


@cache
def copies(*more: str) -> PolicySet:
    """The copies, compiled, with other policies beside them; a set is never changed, so one does for all tests."""
    others = (Source(f"z{number}.yaml", text.encode()) for number, text in enumerate(more))
    return compile_policies([*read_directory(COPIES), *others], hash_key=b"key")
