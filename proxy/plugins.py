"""What the author of a check needs, in one place: the contract, and what a plug-in hands over.

    from proxy.plugins import CheckKind, Finding, Progress, Rule

A plug-in is a package with an entry point in the group `safety_proxy.checks`, or a file in the directory that the
setting `plugins` names. docs/checks.md leads through one; `safety-proxy new-check NAME` writes one.
"""

from proxy.checks.kinds import CheckKind, DetectorKind, NoOptions, OptionError, Remark
from proxy.core.check import Check, Progress, Resumable, Scan
from proxy.core.types import Finding, Rule

__all__ = [
    "Check",
    "CheckKind",
    "DetectorKind",
    "Finding",
    "NoOptions",
    "OptionError",
    "Progress",
    "Remark",
    "Resumable",
    "Rule",
    "Scan",
]
