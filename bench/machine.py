"""What the figures of a bench were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path


def machine(libraries: Iterable[str] = (), more: Iterable[str] = ()) -> str:
    """Processor, system, interpreter, the versions of `libraries`, `more`, and how busy the machine is."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    facts = [
        f"{os.cpu_count()} x {models[0] if models else platform.processor() or platform.machine()}",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        *(f"{name} {importlib.metadata.version(name)}" for name in libraries),
        *more,
        "load " + "/".join(f"{load:.1f}" for load in os.getloadavg()),
    ]
    return ", ".join(facts)
