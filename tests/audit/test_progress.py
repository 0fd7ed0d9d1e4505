"""How far an audit has come, as a person sees it."""

from __future__ import annotations

import io

from proxy.audit.progress import Progress, span


def progress(total: int, done: int, *, is_terminal: bool) -> tuple[Progress, io.StringIO, list[float]]:
    """With a clock that the test sets."""
    file, now = io.StringIO(), [100.0]
    return Progress(total, done, file, is_terminal=is_terminal, clock=lambda: now[0]), file, now


def test_a_bar_with_the_time_left() -> None:
    """Of the replies of this run: those that were there, and the time in which nobody answered, say nothing."""
    shown, file, now = progress(100, 50, is_terminal=True)
    now[0] += 30
    shown.waited(20)
    shown.advance()
    assert file.getvalue().endswith(f"\r\x1b[K[{'#' * 15}{'.' * 15}] 51 of 100 replies, 8 min left")
    shown.say("it is waited for")
    assert file.getvalue().endswith("\r\x1b[Ksafety-proxy: it is waited for\n")
    shown.end()
    assert file.getvalue().endswith("\n\n")


def test_lines_where_there_is_no_terminal() -> None:
    """Twenty of them for an audit of any length, without control characters."""
    shown, file, _ = progress(240, 0, is_terminal=False)
    for _ in range(240):
        shown.advance()
    shown.end()
    lines = file.getvalue().splitlines()
    assert len(lines) == 20
    assert lines[-1] == "safety-proxy: 240 of 240 replies"
    assert "\x1b" not in file.getvalue()


def test_times_in_words() -> None:
    """Seconds, minutes, hours."""
    assert [span(seconds) for seconds in (8.4, 89, 180, 7800)] == ["8 s", "89 s", "3 min", "2 h 10 min"]
