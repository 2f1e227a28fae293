"""Logs for an operator at 3 a.m.: one line an event, key=value, and no event twice in a row."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

QUIET_S = 60.0
"""The same message is written once in this time; the next one after it says how many were left out."""

MAX_A_LINE = 30
"""Different messages from one line of the source in this time: a client that comes back under ever new names is one
event, not thousands."""

MAX_REMEMBERED = 256

QUIETER = ("aiortc", "aioice", "libav", "python_multipart", "websockets", "uvicorn.access")
"""A client that sends garbage is not news: these loggers would say it once per packet or connection."""


class Collapse(logging.Filter):
    """Lets the same message (of one logger and level) through once a minute, and few different ones of one source line.
    A handler asks its filters outside of its own lock: threads meet in here.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._messages: dict[tuple[str, int, str], _Seen] = {}
        self._lines: dict[tuple[str, int], _Seen] = {}
        self._one_at_a_time = threading.RLock()  # not Lock: what is collected in between may log, too

    def filter(self, record: logging.LogRecord) -> bool:
        what = (record.name, record.levelno, record.getMessage() + _place(record))
        with self._one_at_a_time:
            return self._lets_through(record, what)

    def _lets_through(self, record: logging.LogRecord, what: tuple[str, int, str]) -> bool:
        message = _of(self._messages, what, self._clock())
        line = _of(self._lines, (record.pathname, record.lineno), self._clock())
        if message.written >= 1:
            message.left_out += 1
            return False
        if line.written >= MAX_A_LINE:
            line.left_out += 1
            return False
        message.written += 1
        line.written += 1
        if message.left_out:
            record.msg, record.args = f"{record.getMessage()} (and {message.left_out} times more since)", ()
            message.left_out = 0
        elif line.left_out:
            record.msg, record.args = f"{record.getMessage()} (and {line.left_out} like it since)", ()
            line.left_out = 0
        return True


def _place(record: logging.LogRecord) -> str:
    """Of the exception that a message is about: "failed" with another one is other news."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    error, trace = record.exc_info[1], record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f" {type(error).__qualname__} {at}"


@dataclass
class _Seen:
    since: float
    written: int = 0
    left_out: int = 0


def _of(seen: dict[Key, _Seen], key: Key, now: float) -> _Seen:
    """What was seen of a key in the last minute, beginning a new minute when that one is over."""
    if key not in seen and len(seen) >= MAX_REMEMBERED:
        seen.pop(next(iter(seen)), None)
    entry = seen.setdefault(key, _Seen(now))
    if now - entry.since >= QUIET_S:
        entry.since, entry.written = now, 0
    return entry


class OneEvent(logging.Formatter):
    """Keeps what a stranger may have written from looking like a line of ours.

    Signs that are not shown (a terminal's commands, marks that turn the order round) are written as escapes; further
    lines, as of a traceback, are set in by two blanks, so that each line that is not begins with a moment of ours.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if text.isprintable():
            return text
        return "\n  ".join(_shown(line) for line in text.split("\n"))


def _shown(line: str) -> str:
    return line if line.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)


def is_news(record: logging.LogRecord) -> bool:
    """Not what uvicorn says of every WebSocket that was refused before it was accepted, and answered in full; nor, as
    an error, that a stop waited for nobody; nor where a request stood that a stop broke off; nor the traceback of a
    connection that could not be closed since the database is away, which is said."""
    if record.name.startswith("sqlalchemy.pool"):
        return False
    if record.name == "uvicorn.error" and record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        return False
    message = record.getMessage()
    return "without completing handshake" not in message and not message.startswith("Cancel 0 running task(s)")


def set_up() -> None:
    """Write all logs to standard error, ours from INFO, the libraries' from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneEvent())
    handler.addFilter(is_news)
    handler.addFilter(Collapse())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("defectvision").setLevel(logging.INFO)
    for name in QUIETER:
        logging.getLogger(name).setLevel(logging.ERROR)
