"""The parts of all streams: triggers in, verdicts out. The clock and the timers around :mod:`server.parts`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec

from server.inspection import Inspected
from server.parts import Done, FrameFound, Station, TriggerRefused
from server.recipes import PartRule
from server.streams.heat import heatmap_message
from server.streams.remembered import Remembered
from server.words import PartResult, PartVerdict, TriggerSaid, now

MOST_STATIONS = 256
"""Streams whose parts are counted on while they are away."""

Kept = Callable[[str, PartVerdict], bool]


class StationOf:
    """The parts of one stream, over its connections. The event loop owns it."""

    def __init__(self) -> None:
        self.station: Station[Inspected] = Station()
        self._timer: asyncio.TimerHandle | None = None
        self._hearing: dict[int, asyncio.Future[PartResult]] = {}

    @property
    def rule(self) -> PartRule:
        return self.station.rule

    @property
    def number(self) -> int:
        """Of the part that lies there now, its verdict given or not; 0 between parts."""
        if self.station.open is not None:
            return self.station.open.number
        return self.station.shows if self.rule.by == "gate" else 0

    def shows(self, part: str | None) -> int | None:
        """Number of the part that the frame shows that was seen last, 0 of none; None where nothing says what a part
        is.

        Args:
            part: that the line said it shows.
        """
        return None if self.rule.by == "line" and part is None else self.station.shows

    def hear(self, trigger: int) -> asyncio.Future[PartResult]:
        """The verdict to come of a trigger that was taken a moment ago."""
        return self._hearing.setdefault(trigger, asyncio.get_running_loop().create_future())

    def set_timer(self, due: float | None, ring: Callable[[], None]) -> None:
        """Have something called when the station is to be asked again."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if due is None else loop.call_later(max(0.0, due - time.perf_counter()), ring)

    def given(self, result: PartResult) -> None:
        """A verdict was given."""
        heard = self._hearing.pop(result.trigger, None) if result.trigger is not None else None
        if heard is not None and not heard.done():
            heard.set_result(result)


class Stations:
    """Those of all streams, by name.

    Args:
        give: called with the name of a stream and each of its parts that has its verdict; says the message.
        is_open: says whether somebody sends a stream now.
    """

    def __init__(self, give: Callable[[str, Done[Inspected]], PartResult], is_open: Callable[[str], bool]) -> None:
        self._give = give
        self._all: Remembered[str, StationOf] = Remembered(StationOf, MOST_STATIONS, is_open)

    def of(self, name: str) -> StationOf:
        return self._all.of(name)

    def use(self, name: str, of: StationOf, rule: PartRule) -> None:
        """What a part is on a stream."""
        self.give(name, of, of.station.use(rule, time.perf_counter()))

    def trigger(self, name: str, of: StationOf, said: TriggerSaid, by: str) -> int:
        """The part under the camera is to be judged now; returns the trigger's number.

        Raises:
            TriggerRefused: it is not taken, and counted.
        """
        try:
            return of.station.trigger(time.perf_counter(), part=said.part, trigger_id=said.trigger, by=by)
        finally:
            self._watch(name, of)

    def refusal(self, name: str, of: StationOf, words: str) -> TriggerRefused:
        """A trigger that is not taken, counted."""
        refused = of.station.refusal(words, time.perf_counter())
        self._watch(name, of)
        return refused

    def see(self, of: StationOf, found: Inspected, arrived: float, part: str | None) -> list[Done[Inspected]]:
        """A frame was inspected; returns the parts that are done with it."""
        look = found.gate if found.recipe.parts.gate == of.rule.gate else None  # it was in work while the gate moved
        return of.station.see(FrameFound(found, arrived, part, look), time.perf_counter())

    def fail(self, name: str, of: StationOf, arrived: float, words: str) -> None:
        """A frame that was waited for could not be inspected, or was dropped."""
        of.station.fail(arrived, words)
        self._watch(name, of)

    def gone(self, name: str, of: StationOf, why: str) -> None:
        """The stream's sender is gone."""
        self.give(name, of, of.station.gone(time.perf_counter(), why))

    def name(self, name: str, of: StationOf, part: str | None, at: float) -> None:
        """The line named the part that came then, or that none did."""
        self.give(name, of, of.station.name(part, at))

    def _tick(self, name: str, of: StationOf) -> None:
        done = of.station.tick(time.perf_counter())  # or it waits for an inspection by now, and is asked again
        self.give(name, of, [done] if done else [])

    def _watch(self, name: str, of: StationOf) -> None:
        of.set_timer(of.station.due, lambda: self._tick(name, of))

    def give(self, name: str, of: StationOf, done: list[Done[Inspected]]) -> None:
        """Give out the verdicts of parts, and see when the station is to be asked next."""
        for one in done:
            of.given(self._give(name, one))
        self._watch(name, of)


def part_result(
    name: str,
    done: Done[Inspected],
    *,
    simulated: bool,
    recipe: tuple[str, int] | None,
    keeps: Kept,
) -> PartResult:
    """A part's verdict as it is told.

    Args:
        recipe: in force now, id and version, for a part of which nothing was inspected.
        keeps: whether the picture of a part of this stream and verdict is kept.
    """
    passage, worst, id = done.passage, done.passage.worst, secrets.token_hex(8)
    is_kept = worst is not None and worst.kept is not None and keeps(name, done.verdict)
    if worst is not None:
        recipe = worst.recipe.id, worst.recipe.version
    return PartResult(
        stream=name,
        id=id,
        number=passage.number,
        part=passage.part,
        source=passage.source,
        trigger=passage.trigger,
        trigger_id=passage.trigger_id,
        triggered_by=passage.triggered_by,
        verdict=done.verdict,
        why=done.why,
        score=None if worst is None else round(worst.score, 4),
        raw_score=None if worst is None else worst.raw_score,
        threshold=None if worst is None else worst.threshold.value,
        threshold_source=None if worst is None else worst.threshold.source,
        frames=passage.frames,
        anomalous=passage.anomalous,
        began_at=now(time.perf_counter() - passage.began),
        at=now(),
        cycle_ms=round((done.ended - passage.began) * 1000, 2),
        inspection_ms=None if passage.last_arrived is None else round((done.ended - passage.last_arrived) * 1000, 2),
        overruns=done.overruns,
        recipe=recipe[0] if recipe else None,
        recipe_version=recipe[1] if recipe else None,
        model=None if worst is None else worst.model[0],
        simulated=simulated,
        picture=f"api/history/{id}/picture" if is_kept else None,
        heatmap=msgspec.UNSET if worst is None else heatmap_message(worst.heatmap),
    )
