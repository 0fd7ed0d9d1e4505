"""The proxy with a hook of the bench in it: how long the turns of its event loop take.

    python -m bench.loop_turns REPORT serve ...

The rest is what `python -m proxy` takes. On SIGUSR1 it writes what was measured since the last time to the file REPORT,
as JSON. A call that asks for itself again in every turn sees each turn; so the process never sleeps.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Any

import orjson

from proxy.cli import main
from proxy.server.app import Server

LONG_NS = 20_000_000


class Turns:
    """The longest turn, in milliseconds and in CPU time, and how many took more than 20 ms of that.

    On a busy machine the loop may stand still in any turn; a thread that computes may keep the interpreter from it.
    """

    def __init__(self, report: Path) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._worst = self._worst_cpu = self._long = 0
        self._last, self._last_cpu = perf_counter_ns(), thread_time_ns()
        self._loop.add_signal_handler(signal.SIGUSR1, self._write)
        self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        now, cpu = perf_counter_ns(), thread_time_ns()
        took, self._last = now - self._last, now
        used, self._last_cpu = cpu - self._last_cpu, cpu
        self._worst = max(self._worst, took)
        self._worst_cpu = max(self._worst_cpu, used)
        self._long += used > LONG_NS
        self._loop.call_soon(self._tick)

    def _write(self) -> None:
        figures = {"worst_ms": self._worst / 1e6, "worst_cpu_ms": self._worst_cpu / 1e6, "long": self._long}
        whole = self._report.with_suffix(".new")
        whole.write_bytes(orjson.dumps(figures))
        whole.replace(self._report)
        self._clear()

    def _clear(self) -> None:
        self._worst = self._worst_cpu = self._long = 0
        self._last, self._last_cpu = perf_counter_ns(), thread_time_ns()


def watch(report: Path) -> None:
    """Watch the loop of every server that starts in this process."""
    start = Server.__aenter__

    async def watched(self: Server) -> Server:
        server = await start(self)
        self.__dict__["turns"] = Turns(report)
        return server

    enter: Any = watched
    Server.__aenter__ = enter  # type: ignore[method-assign]


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    sys.exit(main())
