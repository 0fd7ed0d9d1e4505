"""A process's own clock and memory, read from outside. Linux only."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

_SCHEDULED = 2  # CPUCLOCK_SCHED of include/linux/posix-timers.h


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time that these processes have used, with all their threads (as clock_getcpuclockid(3) has it)."""
    return sum(time.clock_gettime_ns((~pid << 3) | _SCHEDULED) for pid in pids)


def resident_kib(pids: Iterable[int]) -> int:
    """Memory of these processes that is in RAM."""
    return sum(_status(pid) for pid in pids)


def waited_ns(pids: Iterable[int]) -> int:
    """How long their threads were ready to run and had no core (Documentation/scheduler/sched-stats.rst)."""
    return sum(int(_schedstat(task)[1]) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())


def _schedstat(task: Path) -> list[str]:
    try:
        return (task / "schedstat").read_text().split()
    except OSError:  # the thread has ended, or the kernel keeps no such account
        return ["0", "0", "0"]


def _status(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
