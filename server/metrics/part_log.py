"""Parts that could not be judged, in the log: the first with its id, and how many there were once it is over.

A line that judges every other part is still in trouble, so it is over only when some parts in a row were judged: there
is no line a part.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from server.streams import Hub, Told
from server.words import PartResult

log = logging.getLogger("defectvision.parts")

MOST = 256
"""Streams of which trouble is followed; of more the oldest is forgotten."""
CALM = 20
"""Parts in a row that are judged, until trouble is over."""


@dataclass
class _Trouble:
    """Of one stream, since a part of it was not judged. ``calm``: parts that were judged since the last such one."""

    failed: int = 0
    parts: int = 0
    calm: int = 0
    last: str = ""


class PartLog:
    """Hangs on the hub as an ear."""

    def __init__(self, hub: Hub) -> None:
        self._troubles: dict[str, _Trouble] = {}
        hub.listen(self.hear)

    def hear(self, told: Told) -> None:
        part = told.message
        if not isinstance(part, PartResult):
            return
        if part.verdict == "FAILED":
            self._failed(part)
        elif (trouble := self._troubles.get(part.stream)) is not None:
            self._judged(part, trouble)

    def _failed(self, part: PartResult) -> None:
        trouble = self._troubles.setdefault(part.stream, _Trouble())
        trouble.failed, trouble.parts, trouble.calm, trouble.last = trouble.failed + 1, trouble.parts + 1, 0, part.id
        if trouble.failed == 1:
            log.warning(
                "a part was not judged, and nothing is said of others until %d in a row are stream=%s id=%s part=%r "
                "trigger=%s trigger_id=%r why=%s",
                CALM,
                part.stream,
                part.id,
                part.part,
                part.trigger,
                part.trigger_id,
                part.why,
            )
        while len(self._troubles) > MOST:
            del self._troubles[next(iter(self._troubles))]

    def _judged(self, part: PartResult, trouble: _Trouble) -> None:
        trouble.parts, trouble.calm = trouble.parts + 1, trouble.calm + 1
        if trouble.calm < CALM:
            return
        del self._troubles[part.stream]
        log.info(
            "parts are judged again, %d in a row stream=%s id=%s failed=%d of=%d last_failed=%s",
            CALM,
            part.stream,
            part.id,
            trouble.failed,
            trouble.parts - CALM,
            trouble.last,
        )
