"""The log: one line for each event on stderr, as text for people or as JSON for programs.

A thread of its own writes the lines, so a full pipe or a slow disk never delays a stream. The queue in front of it is
bounded: what finds no room is counted and lost.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

from proxy.server.ops.drops import LOG, Drops
from proxy.server.ops.records import timestamp

OUR_LOGGERS = ("proxy", "safety_proxy")  # of other loggers only warnings and worse are shown
MAX_WAITING = 10_000  # lines
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal might obey
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class TextFormatter(logging.Formatter):
    """`2026-11-24 14:44:21 INFO message`. Each line of a long message begins like this."""

    def format(self, record: logging.LogRecord) -> str:
        """Called by logging."""
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.created))} {record.levelname}"
        extra = {} if getattr(record, "in_message", False) else _extra(record)
        message = record.getMessage() + "".join(f" {key}={value}" for key, value in extra.items())
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        lines = [CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line) for line in message.splitlines()]
        return "\n".join(f"{head} {line}" for line in lines or [""])


class JsonFormatter(logging.Formatter):
    """One object for each line: docs/log.schema.json has its keys."""

    def format(self, record: logging.LogRecord) -> str:
        """Called by logging."""
        event: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in _extra(record).items() if key != "in_message"},
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)  # in ASCII: a line stays one line, whatever stderr's encoding is


class _InProcessHandler(QueueHandler):
    """Passes records on unchanged, because they do not leave the process."""

    def __init__(self, records: queue.Queue[logging.LogRecord], drops: Drops) -> None:
        super().__init__(records)
        self._drops = drops

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Called by logging."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._drops.add(LOG)


@contextmanager
def logging_to(
    out: TextIO, log_format: str, level: str = "info", drops: Drops | None = None, most: int = MAX_WAITING
) -> Generator[None, None, None]:
    """Log to `out` while the block runs, in the format `text` or `json`. At its end everything is written, and what is
    logged is what it was.

    level: the least that is told: debug, info, warning, error. drops: counts what finds no room among `most` lines
    """
    writer = logging.StreamHandler(out)
    writer.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    records: queue.Queue[logging.LogRecord] = queue.Queue(most)
    handler = _InProcessHandler(records, drops or Drops())
    handler.setLevel(level.upper())
    root = logging.getLogger()
    root.addHandler(handler)
    loggers = [logging.getLogger(name) for name in OUR_LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level.upper())
    listener = _Listener(records, writer)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, known in zip(loggers, before, strict=True):
            logger.setLevel(known)
        listener.stop()


class _Listener(QueueListener):
    """Waits for room for its end, where the standard one fails if the queue is full."""

    def __init__(self, records: queue.Queue[Any], writer: logging.Handler) -> None:
        super().__init__(records, writer)
        self._records = records

    def enqueue_sentinel(self) -> None:
        """Called by logging."""
        self._records.put(None)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS}
