"""Logs for an operator at 3 a.m.: one line an event, key=value, and no event twice in a row."""

from __future__ import annotations

import logging
import sys
import time

QUIET_S = 60.0
"""The same message is written once in this time; the next one after it says how many were left out."""

MAX_REMEMBERED = 256


class Collapse(logging.Filter):
    """Lets a message through once a minute. What counts as the same: logger, level, source line, and text."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.levelno, record.getMessage())
        now = time.monotonic()
        last, left_out = self._seen.get(key, (-QUIET_S, 0))
        if now - last < QUIET_S:
            self._seen[key] = (last, left_out + 1)
            return False
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen.clear()
        self._seen[key] = (now, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} times more since)", ()
        return True


def set_up() -> None:
    """Write all logs to standard error, ours from INFO, the libraries' from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(Collapse())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("defectvision").setLevel(logging.INFO)
    logging.getLogger("server").setLevel(logging.INFO)
    # A client that sends garbage is not news: aiortc and uvicorn say it once per packet or connection.
    for name in ("aiortc", "aioice", "libav", "websockets", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
