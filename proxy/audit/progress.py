"""How far an audit has come: a bar with the time left on a terminal, else a line now and then."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import IO

WIDTH = 30  # characters of the bar
LINES = 20  # that a whole audit has where there is no terminal


class Progress:
    """Written to `file`, which is standard error as a rule."""

    def __init__(
        self, total: int, done: int, file: IO[str], *, is_terminal: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        """`done`: so many were there at the start, and say nothing of the time that the others take."""
        self._total = total
        self._before = self._done = done
        self._file = file
        self._is_terminal = is_terminal
        self._clock = clock
        self._began = clock()
        self._away = 0.0
        self._step = max(1, total // LINES)

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        if self._is_terminal:
            self._file.write(f"\r\x1b[K{self._bar()}")
            self._file.flush()
        elif self._done % self._step == 0 or self._done == self._total:
            self.say(self._told())

    def waited(self, seconds: float) -> None:
        """So long nobody answered: that is no measure for the time left."""
        self._away += seconds

    def say(self, text: str) -> None:
        """A line of its own; the bar is drawn anew with the next reply."""
        start = "\r\x1b[K" if self._is_terminal else ""
        self._file.write(f"{start}safety-proxy: {text}\n")
        self._file.flush()

    def end(self) -> None:
        """Leave the bar's line."""
        if self._is_terminal and self._done > self._before:
            self._file.write("\n")
            self._file.flush()

    def _bar(self) -> str:
        filled = WIDTH * self._done // max(1, self._total)
        return f"[{'#' * filled}{'.' * (WIDTH - filled)}] {self._told()}"

    def _told(self) -> str:
        told = f"{self._done} of {self._total} replies"
        new = self._done - self._before
        if not new or self._done >= self._total:
            return told
        each = max(0.0, self._clock() - self._began - self._away) / new
        return f"{told}, {span(each * (self._total - self._done))} left"


def span(seconds: float) -> str:
    """A time in words: 8 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
