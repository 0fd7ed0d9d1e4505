"""Which check failed, told by the place in the program that raised."""

from __future__ import annotations

from typing import Final

EXCEPTION: Final = "exception"
"""Why a check failed that came with the proxy. A check of another kind says it in its error's `reason`."""

OTHER: Final = "other"
_PLACES: Final = (("proxy.checks.detectors", "detectors"), ("proxy.checks.", ""), ("proxy.matching", "matcher"))
CHECKS: Final = ("matcher", "detectors", "limits", "markers", "passes", "outside", "code", OTHER)
"""Every name that `failed_check` gives to a check that came with the proxy."""


def failed_check(error: Exception) -> str:
    """The check that raised this: one of CHECKS, or what the error itself calls it (its attribute `check`)."""
    own = getattr(error, "check", None)
    if isinstance(own, str):
        return own
    name, step = OTHER, error.__traceback__
    while step is not None:
        module = step.tb_frame.f_globals.get("__name__", "")
        name = next((check or module.rpartition(".")[2] for start, check in _PLACES if module.startswith(start)), name)
        step = step.tb_next
    return name if name in CHECKS else OTHER


def failure_reason(error: Exception) -> str:
    """Why it failed, in a word."""
    own = getattr(error, "reason", None)
    return own if isinstance(own, str) else EXCEPTION
