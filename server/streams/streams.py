"""All streams of this server: opens them, feeds the pool from their slots, turns verdicts into messages for the hub."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Container
from typing import Any

import msgspec

from detector import ImageError
from server.inspection import (
    Inspected,
    Inspection,
    NoModel,
    NotLooked,
    Threshold,
    described,
    other_regions,
    other_transport,
)
from server.parts import Done, TriggerRefused
from server.streams.heat import heatmap_message
from server.streams.hub import Hub, Subscription, Wording
from server.streams.in_force import InForce
from server.streams.kept_frames import KeptFrames
from server.streams.open_stream import OpenStream, Watcher
from server.streams.parts import Parts
from server.streams.pool import Hung, InferencePool
from server.streams.remembered import Remembered
from server.streams.results_seen import ResultsSeen
from server.streams.slot import Frame, Stream
from server.streams.stations import StationOf, Stations, part_result
from server.words import (
    Change,
    Error,
    Heartbeat,
    PartResult,
    PartVerdict,
    Picture,
    Result,
    Status,
    StreamInfo,
    StreamState,
    Transport,
    TriggerSaid,
    Verdict,
    check_max_fps,
    check_name,
    now,
)

log = logging.getLogger("defectvision.streams")

HEARD_EVERY_S = 2.0
"""Seconds between heartbeats to a sender whose stream is taught."""
SEND_SMALLER = "send smaller frames, or set MAX_FRAME_AGE_MS higher"
MOST_REMEMBERED = 256
"""Streams whose results and parts are remembered while they are away, 10 kB each; a stream that runs keeps its own."""


class Streams:
    """The streams of a server, by name. A newer sender of a name takes it over from the older one.

    Attributes:
        kept: frames of which somebody may say what they were.
        on_open: called with every connection before its first frame: what is taught is not inspected in between.
        on_close: called when nobody sends a stream any more.
        drifted: asked what the operator should know of a stream that is not as it was when calibrated.
        stations: their parts.
        keeps_part: asked once for each part of which there are pictures, by its stream and verdict: whether they are
            kept; who says yes hears of the part at once, and keeps them under its id.
    """

    def __init__(
        self,
        pool: InferencePool,
        hub: Hub,
        inspection: Inspection,
        *,
        max_age_s: float | None = None,
        silent_after_s: float | None = None,
        reserved: Container[str] = (),
    ) -> None:
        self.pool, self.hub, self.inspection = pool, hub, inspection
        self.silent_after_s = silent_after_s
        self._max_age_s = max_age_s
        self._reserved = reserved  # may change: cameras are added and removed
        self._open: dict[str, OpenStream] = {}
        self._seen: Remembered[tuple[str, Transport], ResultsSeen] = Remembered(
            ResultsSeen, MOST_REMEMBERED, lambda key: key[0] in self._open
        )
        self._parts: Remembered[str, Parts] = Remembered(Parts, MOST_REMEMBERED, lambda name: name in self._open)
        self.kept = KeptFrames(time.monotonic)
        self.on_open: Callable[[OpenStream], None] = lambda opened: None
        self.on_close: Callable[[], None] = lambda: None
        self.drifted: Callable[[str], list[str]] = lambda name: []
        self._made_up = 0
        self.stations = Stations(self._give, lambda name: name in self._open)
        self.keeps_part: Callable[[str, PartVerdict], bool] = lambda name, verdict: False

    def open(
        self, name: str | None, transport: Transport, max_fps: float | None = None, *, heatmap: bool = True
    ) -> OpenStream:
        """Open a stream.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -; one is made up when there is none.
            transport: how its frames come.
            max_fps: inspect at most so many frames a second; the others are dropped.
            heatmap: whether the sender wants heat maps.

        Raises:
            ValueError: a name or rate that cannot be, in one sentence.
        """
        name = check_name(name) if name else self._free_name()
        if name in self._reserved and transport not in ("camera", "simulated"):
            raise ValueError(f"the name {name} is one of the server's own: choose another")
        check_max_fps(None if max_fps is None else str(max_fps))
        older = self._open.get(name)
        stream = Stream(name, transport, max_fps=max_fps, max_age_s=self._max_age_s)
        opened = OpenStream(self, stream, Subscription(heatmap=heatmap), *self._remembered(name, transport))
        if name in self._open:
            self.stations.gone(name, opened.station, f"another camera took {name} over")
        self._open[name] = opened
        self.kept.end(name)
        self._take(opened, InForce.on(self.inspection, name, transport))
        if older is not None:
            older.taken_over.set()
            older.end()
            log.info("stream taken over stream=%s by=%s", name, transport)
        else:
            log.info("stream opened stream=%s transport=%s", name, transport)
        self.on_open(opened)
        self.tell_state(opened)
        opened.listen()
        return opened

    def close_stream(self, opened: OpenStream) -> None:
        """End a stream whose sender is gone."""
        opened.end()
        if self._is_open(opened):
            self.stations.gone(opened.name, opened.station, f"the camera of {opened.name} went away")
            del self._open[opened.name]
            self._remembered(opened.name, opened.stream.transport)  # from now on it is away
            self.on_close()
            self.hub.publish(self.status(opened.name))
            counted = opened.stream.counters
            log.info(
                "stream closed stream=%s received=%d inspected=%d dropped=%d failed=%d anomalies=%d",
                opened.name,
                counted.received,
                counted.inspected,
                counted.dropped,
                counted.failed,
                opened.stream.anomalies,
            )

    def get(self, name: str) -> OpenStream | None:
        """The stream that somebody sends under this name now."""
        return self._open.get(name)

    def trigger(self, name: str, said: TriggerSaid, by: str) -> int:
        """The part under a stream's camera is to be judged now, by the frames that arrive from now on.

        Args:
            by: which way the trigger came, one word.

        Returns:
            the number of the trigger, which the part's verdict names.

        Raises:
            TriggerRefused: it is not taken; says why.
        """
        opened = self._open.get(name)
        if opened is None:
            raise TriggerRefused(f"there is no stream {name[:64]} now: start its camera first")
        if opened.watcher is not None:
            raise self.stations.refusal(name, opened.station, "its frames are shown to a teaching: end that first")
        if not self.can_inspect(name):
            raise self.stations.refusal(name, opened.station, "there is no model for it yet")
        return self.stations.trigger(name, opened.station, said, by)

    def missed(self, name: str) -> None:
        """A trigger that was not even asked for here, since whoever heard it was not ready or could not read it:
        refused as others are."""
        if (opened := self._open.get(name)) is not None:
            self.stations.refusal(name, opened.station, "it was not handed on")

    def can_trigger(self, name: str) -> bool:
        """Whether a trigger would be taken now."""
        opened = self._open.get(name)
        if opened is None or opened.watcher is not None or not self.can_inspect(name):
            return False
        station = opened.station.station
        return station.rule.by == "trigger" and station.open is None

    def status(self, name: str) -> Status:
        """What a new listener of a stream is told first."""
        opened = self._open.get(name)
        said = Status(name, self._state(name), parts_by=opened.station.rule.by if opened else msgspec.UNSET)
        try:
            recipe = self.inspection.recipe_on(name)
        except NoModel:
            return said
        said = msgspec.structs.replace(said, recipe=recipe.id, recipe_name=recipe.name, recipe_version=recipe.version)
        in_force = InForce.on(self.inspection, name, opened.stream.transport) if opened is not None else None
        if opened is None or in_force is None or in_force.threshold.calibration is None:
            return said
        calibration, since = described(in_force.threshold.calibration), opened.seen.since(in_force) or msgspec.UNSET
        return msgspec.structs.replace(said, calibration=calibration, since_calibration=since)

    def heartbeat(self, name: str) -> Heartbeat:
        """What a listener of a stream is told every few seconds."""
        opened = self._open.get(name)
        if opened is None:
            return Heartbeat(name, now(), "waiting", None, None, None)
        stream, age = opened.stream, opened.stream.verdict_age_s
        age_s = None if age is None else round(age, 3)
        return Heartbeat(name, now(), self._state(name), stream.last_verdict, stream.last_verdict_at, age_s)

    def repeat_last(self, name: str, listener: Subscription) -> None:
        """Tell a new listener the last result of the stream, marked as repeated; nothing while it is taught."""
        opened = self._open.get(name)
        if opened is None or opened.last is None or opened.watcher is not None:
            return
        message, with_picture = opened.last
        repeated = msgspec.structs.replace(message, repeated=True)
        again = None if with_picture is None else msgspec.structs.replace(with_picture, repeated=True)
        Wording(repeated, again).tell(listener)

    def tell_state(self, opened: OpenStream) -> None:
        """Tell the listeners that a stream fell silent, is taught, or is live again."""
        if self._is_open(opened):
            opened.said = self.status(opened.name)
            self.hub.publish(opened.said)

    def tell_changed(self, who: str | None = None) -> None:
        """Tell the listeners of all streams what is in force now, where that is something else than before, and inspect
        frames that waited for a model. To be called after every change of recipes, models and calibrations.

        Args:
            who: made the change, in words.
        """
        for opened in [*self._open.values()]:
            self._take(opened, InForce.on(self.inspection, opened.name, opened.stream.transport), who)
            if self.status(opened.name) != opened.said:
                self.tell_state(opened)
            if opened.stream.has_waiting:
                self.pool.notify(opened)

    def can_inspect(self, name: str) -> bool:
        """Whether a frame of a stream is to be taken: once there is a model for it, or anything that says why not."""
        inspection = self.inspection
        if inspection.is_coming_for(name):
            return False
        return inspection.ready or inspection.is_ready_for(name) or inspection.says_why_not(name)

    def warn(self, opened: OpenStream, kind: str, words: str) -> None:
        """Write a warning about a stream into the log, once for each kind while it is connected."""
        if kind not in opened.warned:
            opened.warned.add(kind)
            log.warning("stream=%s %s", opened.name, words)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the streams that somebody sends now, in order."""
        return tuple(sorted(self._open))

    def list(self) -> list[StreamInfo]:
        """What is streaming now, by name."""
        return [self.info(self._open[name]) for name in self.names]

    def finish(self, opened: OpenStream, frame: Frame, outcome: Inspected | BaseException) -> None:
        """Count a frame's outcome and tell everyone who listens.

        Promises of calibrations are held against the frames' own verdicts (``seen``); counters, the last verdict, parts
        and alarms go by the verdict that the recipe's decision rule makes of them.
        """
        if isinstance(outcome, BaseException):
            self._finish_failed(opened, frame, outcome)
            return
        stream = opened.stream
        if opened.watcher is not None:  # it was in work when the teaching began
            stream.count_dropped()
            return
        if not self._is_open(opened):  # it was dropped: what lay there has its verdict, and the name may be another's
            return
        stream.shape.see(outcome.size)
        is_late = stream.drop_late(frame)
        for kind, words in self._warnings(opened).items():
            self.warn(opened, kind, words)
        if is_late:
            self.tell_dropped(opened, frame.arrived)
            return
        if opened.in_force is None or opened.in_force.changed_to(InForce.of(outcome)) is not None:
            # Not what the frame was inspected with: it may have been in work while something newer came into force.
            self._take(opened, InForce.on(self.inspection, stream.name, stream.transport))
        done = self.stations.see(opened.station, outcome, frame.arrived, frame.part)
        shows = opened.station.shows(frame.part)
        verdict, latency_ms = self._decide(opened, frame, outcome)
        opened.seen.count(outcome)
        for capture in opened.captures:
            capture.see(outcome, frame.simulated)
        counted = stream.counters
        message = Result(
            stream=stream.name,
            seq=frame.seq,
            score=round(outcome.score, 4),
            raw_score=outcome.raw_score,
            threshold=outcome.threshold.value,
            threshold_source=outcome.threshold.source,
            is_anomaly=outcome.is_anomaly,
            verdict=verdict,
            received=counted.received,
            inspected=counted.inspected,
            dropped=counted.dropped,
            failed=counted.failed,
            anomalies=stream.anomalies,
            latency_ms=round(latency_ms, 2),
            at=stream.last_verdict_at or now(),
            recipe=outcome.recipe.id,
            recipe_version=outcome.recipe.version,
            model=outcome.model[0],
            heatmap=heatmap_message(outcome.heatmap),
            simulated=frame.simulated or msgspec.UNSET,
            part=msgspec.UNSET if frame.part is None else frame.part,
            part_number=msgspec.UNSET if shows is None else shows,
        )
        with_picture = None
        if outcome.picture is not None:
            data, picture_width, picture_height = outcome.picture
            picture = Picture(picture_width, picture_height, base64.b64encode(data).decode())
            with_picture = msgspec.structs.replace(message, picture=picture)
        opened.last = message, with_picture
        self._publish(opened, message, with_picture, outcome)
        self.stations.give(opened.name, opened.station, done)

    def finish_seen(self, opened: OpenStream, watcher: Watcher, frame: Frame, outcome: Any) -> None:
        """Count a frame that was shown to a watcher, and say what came of it."""
        if isinstance(outcome, BaseException):
            self._finish_failed(opened, frame, outcome)
        else:
            opened.stream.count_dropped()
        if opened.watcher is watcher:
            watcher.seen(outcome)
        # A sender that hears nothing for long takes its connection for dead: there are no results meanwhile.
        if time.monotonic() - opened.told_at >= HEARD_EVERY_S:
            opened.told_at = time.monotonic()
            Wording(self.heartbeat(opened.name)).tell(opened.results())

    def _decide(self, opened: OpenStream, frame: Frame, outcome: Inspected) -> tuple[Verdict, float]:
        """The verdict of the stream with this frame, which it is counted with, and how long the frame took, ms."""
        is_counted, shows = opened.station.rule.by == "line", opened.station.station.shows
        if is_counted:
            begins = opened.parts.see(frame.part, shows, outcome.scene) and frame.part is not None
        else:
            begins = opened.parts.is_told(shows)
        if begins:
            opened.decider.begin()
        opened.decider.is_of(outcome.recipe.id, outcome.recipe.decision)
        verdict = opened.decider.decide(outcome.is_anomaly, outcome.raw_score, outcome.threshold.value)
        latency_ms = opened.stream.count_inspected(frame, verdict)
        if is_counted:
            opened.parts.count(verdict)
        self.kept.see(
            opened.name,
            outcome,
            verdict,
            at=opened.stream.last_verdict_at or now(),
            part=opened.parts.number,
            told=frame.part,
            window=opened.decider.window,
        )
        return verdict, latency_ms

    def _take(self, opened: OpenStream, in_force: InForce | None, who: str | None = None) -> None:
        """Note what is in force on a stream, and tell its listeners what changed."""
        was, opened.in_force = opened.in_force, in_force
        if in_force is None:
            return
        opened.stream.limit(in_force.recipe.options.max_fps)
        by = opened.station.rule.by
        self.stations.use(opened.name, opened.station, in_force.recipe.parts)
        if by != opened.station.rule.by:
            opened.parts.reset()  # what one rule tells apart and what another does are no sum
        what = was.changed_to(in_force) if was is not None else None
        if what is None:
            return
        self.hub.publish(
            Change(
                stream=opened.name,
                what=what,
                at=now(),
                recipe=in_force.recipe.id,
                recipe_name=in_force.recipe.name,
                recipe_version=in_force.recipe.version,
                model=in_force.model[0],
                threshold=in_force.threshold.value,
                threshold_source=in_force.threshold.source,
                who=who,
            )
        )

    def _give(self, name: str, done: Done[Inspected]) -> PartResult:
        """Tell everybody of a part that has its verdict."""
        opened = self._open.get(name)
        is_uncounted = done.passage.frames == 0 or (opened is not None and opened.station.rule.by != "line")
        if opened is not None and is_uncounted:  # what the line names is counted with its first frame
            opened.parts.add(done.verdict)
        in_force = opened.in_force if opened else None
        message = part_result(
            name,
            done,
            simulated=opened is not None and opened.stream.transport == "simulated",
            recipe=(in_force.recipe.id, in_force.recipe.version) if in_force else None,
            keeps=self.keeps_part,
        )
        self.hub.publish(message, None, opened.results() if opened else None, done.passage.worst)
        return message

    def _finish_failed(self, opened: OpenStream, frame: Frame, error: BaseException) -> None:
        opened.stream.count_failed()
        if isinstance(error, ImageError | Hung | NoModel | NotLooked):
            words = str(error)
        else:
            words = "the inspection failed; the server's log says why"
            log.error("inspection failed stream=%s", opened.name, exc_info=error)
        if self._is_open(opened):
            self.stations.fail(opened.name, opened.station, frame.arrived, words)
        self.publish_failed(opened, frame.seq, words)

    def tell_dropped(self, opened: OpenStream, arrived: float) -> None:
        """A frame was dropped because it was too old: its part does not wait for it any more."""
        words = f"its frame was more than {self._max_age_s:g} s old and dropped: {SEND_SMALLER}"
        self.stations.fail(opened.name, opened.station, arrived, words)

    def publish_failed(self, opened: OpenStream, seq: int, words: str) -> None:
        """Tell everyone who listens of a frame that was counted as failed."""
        counted = opened.stream.counters
        message = Error(
            stream=opened.name,
            seq=seq,
            error=words,
            received=counted.received,
            inspected=counted.inspected,
            dropped=counted.dropped,
            failed=counted.failed,
        )
        self._publish(opened, message, None)

    def _remembered(self, name: str, transport: Transport) -> tuple[ResultsSeen, Parts, StationOf]:
        """What outlives the connections of a name."""
        return self._seen.of((name, transport)), self._parts.of(name), self.stations.of(name)

    def _is_open(self, opened: OpenStream) -> bool:
        """Whether its sender is there still, and no other took the name over."""
        return self._open.get(opened.name) is opened

    def _publish(
        self,
        opened: OpenStream,
        message: Result | Error,
        with_picture: Result | None,
        seen: Inspected | None = None,
    ) -> None:
        # A frame of a sender that was replaced meanwhile still counts for it, but is not the stream's any more.
        if self._is_open(opened):
            self.hub.publish(message, with_picture, opened.results(), seen)

    def info(self, opened: OpenStream) -> StreamInfo:
        """What is told of a stream."""
        stream = opened.stream
        counted = stream.counters
        in_force = InForce.on(self.inspection, stream.name, stream.transport)
        threshold = in_force.threshold if in_force else None
        calibration = threshold.calibration if threshold else None
        return StreamInfo(
            name=stream.name,
            transport=stream.transport,
            simulated=stream.transport == "simulated",
            since=stream.since,
            received=counted.received,
            inspected=counted.inspected,
            dropped=counted.dropped,
            failed=counted.failed,
            anomalies=stream.anomalies,
            received_per_s=round(stream.received_per_s, 2),
            inspected_per_s=round(stream.inspected_per_s, 2),
            latency_ms=None if stream.latency_ms is None else round(stream.latency_ms, 2),
            viewers=self.hub.listeners(stream.name),
            state="silent" if opened.is_silent else "live",
            last_verdict=stream.last_verdict,
            last_verdict_at=stream.last_verdict_at,
            warnings=[*self._warnings(opened).values(), *self.drifted(opened.name)],
            threshold=threshold.value if threshold else None,
            threshold_source=threshold.source if threshold else None,
            calibration=described(calibration) if calibration else None,
            since_calibration=opened.seen.since(in_force) if in_force else None,
            recipe=in_force.recipe.id if in_force else None,
            recipe_name=in_force.recipe.name if in_force else None,
            recipe_version=in_force.recipe.version if in_force else None,
            is_taught=opened.watcher is not None,
            parts=opened.parts.parts,
            parts_rejected=opened.parts.rejected,
            yield_=opened.parts.good_share,
            parts_failed=opened.parts.failed,
            parts_by=opened.station.rule.by,
            triggers=opened.station.station.taken,
            triggers_refused=opened.station.station.refused,
            parts_since=opened.parts.since,
            camera=opened.describe_camera() if opened.describe_camera else msgspec.UNSET,
        )

    def _warnings(self, opened: OpenStream) -> dict[str, str]:
        """What the operator should know of a stream, by kind."""
        found = opened.stream.shape.warnings(self.inspection.taught_shapes_on(opened.name))
        if opened.stream.is_late:
            late = f"results come more than {self._max_age_s:g} s after their frame and are dropped"
            found["late"] = f"{late}: {SEND_SMALLER}"
        threshold = self._threshold_on(opened)
        if threshold is not None and (words := other_transport(threshold, opened.stream.transport)) is not None:
            found["transport"] = words
        if threshold is not None and (words := other_regions(threshold)) is not None:
            found["regions"] = words
        return found

    def _threshold_on(self, opened: OpenStream) -> Threshold | None:
        if not self.inspection.is_ready_for(opened.name):
            return None
        return self.inspection.threshold_on(opened.name, opened.stream.transport)

    def _free_name(self) -> str:
        while True:
            self._made_up += 1
            name = f"camera-{self._made_up}"
            if name not in self._open:
                return name

    def _state(self, name: str) -> StreamState:
        opened = self._open.get(name)
        if opened is None:
            return "waiting"
        if opened.watcher is not None:
            return "teaching"
        return "silent" if opened.is_silent else "live"
