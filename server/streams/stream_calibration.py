"""Capturing for a calibration on a running stream: the very frames that are inspected, as its transport brought them,
all of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from server.inspection import Captured, Condition, Inspected, Sample, ScoredBy
from server.words import Simulated, Transport

MAX_FRAMES = 200
MAX_SECONDS = 600.0
SILENCE_S = 10.0
"""How long a stream may give no result before a capture on it is given up."""


class StreamWentAway(Exception):
    """The stream gave no more results; the message says so."""


class Capture:
    """Takes ``n`` inspected frames of one connection, spread over so many seconds, so that several parts are seen.

    A simulated part that is known to be defective is left out: nobody could take it away from that line. The event loop
    owns it.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, n: int, seconds: float, clock: Callable[[], float]) -> None:
        self._n, self._spacing, self._clock = n, seconds / n, clock
        self._due = clock()
        self._taken: list[tuple[float, Sample]] = []
        self._conditions: list[Condition] = []
        self._scored_by: ScoredBy | None = None
        self._known_defects = 0
        self._why_ended: str | None = None
        self._changed = asyncio.Event()

    @property
    def wants(self) -> bool:
        """Whether the next frame is to be taken."""
        return len(self._taken) < self._n and self._clock() >= self._due

    def see(self, inspected: Inspected, simulated: Simulated | None) -> None:
        """Take a frame that was inspected, or let it pass."""
        self._changed.set()
        self._scored_by = self._scored_by or inspected.scored_by
        if self._scored_by != inspected.scored_by:
            self.end("another model, recipe or region came into use in the middle of it")
        elif self.wants and inspected.sample is not None:
            if simulated is not None and simulated.defect is not None:
                self._known_defects += 1
                return
            self._taken.append((inspected.raw_score, inspected.sample))
            if inspected.condition is not None:
                self._conditions.append(inspected.condition)
            self._due = max(self._due + self._spacing, self._clock())

    def end(self, why: str) -> None:
        """The connection has no more frames."""
        self._why_ended = self._why_ended or why
        self._changed.set()

    async def frames(
        self,
        name: str,
        transport: Transport,
        recent: Callable[[], tuple[float, ...]],
        gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> Captured:
        """Wait for all of them.

        Args:
            recent: raw scores of the latest results.
            gone: whether the one who asked is gone; it is not worth going on then.

        Raises:
            StreamWentAway: the connection ended, or nothing was inspected for 10 s.
        """
        try:
            while len(self._taken) < self._n:
                async with asyncio.timeout(SILENCE_S):
                    await self._changed.wait()
                self._changed.clear()
                if self._why_ended is not None and len(self._taken) < self._n:
                    raise StreamWentAway(f"{self._why_ended}: capture again; nothing was changed")
                if gone is not None and await gone():
                    raise StreamWentAway("nobody waits for this calibration any more: nothing was changed")
        except TimeoutError as error:
            words = f"no frame of {name} was inspected for {SILENCE_S:g} s: check its camera; nothing was changed"
            raise StreamWentAway(words) from error
        assert self._scored_by is not None
        model, recipe, regions = self._scored_by
        return Captured(
            model=model,
            stream=name,
            transport=transport,
            scores=tuple(score for score, _ in self._taken),
            looks=tuple(sample.look for _, sample in self._taken),
            pictures=tuple(sample.picture for _, sample in self._taken),
            known_defects=self._known_defects,
            recent=recent(),
            recipe=recipe,
            conditions=tuple(self._conditions),
            regions=regions,
        )
