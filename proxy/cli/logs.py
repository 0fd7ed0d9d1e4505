"""The log: one line for each event on stderr, as text for people or as JSON for programs.

A thread of its own writes the lines, so a full pipe or a slow disk never delays a stream.
"""

from __future__ import annotations

import json
import logging
import queue
import time
from collections.abc import Generator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

OUR_LOGGERS = ("proxy", "safety_proxy")  # their INFO is shown; of other loggers only warnings and worse
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class TextFormatter(logging.Formatter):
    """`2026-11-24 14:44:21 INFO message`. Each line of a long message begins like this."""

    def format(self, record: logging.LogRecord) -> str:
        """Called by logging."""
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.created))} {record.levelname}"
        message = record.getMessage() + "".join(f" {key}={value}" for key, value in _extra(record).items())
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        return "\n".join(f"{head} {line}" for line in message.splitlines() or [""])


class JsonFormatter(logging.Formatter):
    """One object for each line: time (UTC, RFC 3339), level, logger, message, exception, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Called by logging."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False, default=str)


class _InProcessHandler(QueueHandler):
    """Passes records on unchanged, because they do not leave the process."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Called by logging."""
        return record


@contextmanager
def logging_to(out: TextIO, log_format: str) -> Generator[None, None, None]:
    """Log to `out` while the block runs, in the format `text` or `json`. At its end everything is written."""
    writer = logging.StreamHandler(out)
    writer.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = _InProcessHandler(records)
    root = logging.getLogger()
    root.addHandler(handler)
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    listener = QueueListener(records, writer)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        listener.stop()


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS}
