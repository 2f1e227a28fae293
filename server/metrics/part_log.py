"""Parts that could not be judged, in the log: the first of a row with its id, and how many there were at its end."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from server.streams import Hub, Told
from server.words import PartResult

log = logging.getLogger("defectvision.parts")

MOST = 256
"""Streams of which a row is followed; of more the oldest is forgotten."""


@dataclass
class _Row:
    """Of parts of one stream that failed one after the other."""

    failed: int = 0
    last: str = ""


class PartLog:
    """Hangs on the hub as an ear."""

    def __init__(self, hub: Hub) -> None:
        self._rows: dict[str, _Row] = {}
        hub.listen(self.hear)

    def hear(self, told: Told) -> None:
        part = told.message
        if not isinstance(part, PartResult):
            return
        if part.verdict == "FAILED":
            self._failed(part)
        elif (row := self._rows.pop(part.stream, None)) is not None:
            log.info(
                "parts are judged again stream=%s id=%s failed=%d last_failed=%s",
                part.stream,
                part.id,
                row.failed,
                row.last,
            )

    def _failed(self, part: PartResult) -> None:
        row = self._rows.setdefault(part.stream, _Row())
        row.failed, row.last = row.failed + 1, part.id
        if row.failed == 1:
            log.warning(
                "a part was not judged, and nothing is said of those that follow it stream=%s id=%s part=%r trigger=%s "
                "trigger_id=%r why=%s",
                part.stream,
                part.id,
                part.part,
                part.trigger,
                part.trigger_id,
                part.why,
            )
        while len(self._rows) > MOST:
            del self._rows[next(iter(self._rows))]
