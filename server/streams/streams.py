"""All streams of this server: opens them, feeds the pool from their slots, turns verdicts into messages for the hub."""

from __future__ import annotations

import base64
import logging
from collections.abc import Container

import msgspec

from detector import ImageError
from server.inspection import Inspected, Inspection, Threshold, described, other_transport
from server.streams.hub import Hub, Subscription
from server.streams.open_stream import OpenStream
from server.streams.pool import Hung, InferencePool
from server.streams.results_seen import ResultsSeen
from server.streams.slot import Frame, Stream
from server.words import (
    Error,
    Heatmap,
    Picture,
    Result,
    Status,
    StreamInfo,
    StreamState,
    Transport,
    check_max_fps,
    check_name,
)

log = logging.getLogger("defectvision.streams")

MOST_REMEMBERED = 256
"""Streams whose results are remembered while they are away, 8 kB each; a stream that runs keeps its own."""


class Streams:
    """The streams of a server, by name. A newer sender of a name takes it over from the older one."""

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
        self._seen: dict[tuple[str, Transport], ResultsSeen] = {}
        self._made_up = 0

    def open(self, name: str | None, transport: Transport, max_fps: float | None = None) -> OpenStream:
        """Open a stream.

        Args:
            name: 1 to 64 of A-Z a-z 0-9 . _ -; one is made up when there is none.
            transport: how its frames come.
            max_fps: inspect at most so many frames a second; the others are dropped.

        Raises:
            ValueError: a name or rate that cannot be, in one sentence.
        """
        name = check_name(name) if name else self._free_name()
        if name in self._reserved and transport not in ("camera", "simulated"):
            raise ValueError(f"the name {name} is one of the server's own: choose another")
        check_max_fps(None if max_fps is None else str(max_fps))
        older = self._open.get(name)
        stream = Stream(name, transport, max_fps=max_fps, max_age_s=self._max_age_s)
        opened = OpenStream(self, stream, Subscription(), self._seen_of(name, transport))
        self._open[name] = opened
        if older is not None:
            older.taken_over.set()
            older.end()
            log.info("stream taken over stream=%s by=%s", name, transport)
        else:
            log.info("stream opened stream=%s transport=%s", name, transport)
        self.hub.publish(self.status(name))
        opened.listen()
        return opened

    def close_stream(self, opened: OpenStream) -> None:
        """End a stream whose sender is gone."""
        opened.end()
        if self._open.get(opened.name) is opened:
            del self._open[opened.name]
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

    def status(self, name: str) -> Status:
        """What a new listener of a stream is told first."""
        opened = self._open.get(name)
        if opened is None:
            return Status(name, "waiting")
        threshold = self._threshold_on(opened)
        if threshold is None or threshold.calibration is None:
            return Status(name, _state(opened))
        since = opened.seen.since(threshold)
        return Status(name, _state(opened), described(threshold.calibration), since or msgspec.UNSET)

    def tell_state(self, opened: OpenStream) -> None:
        """Tell the listeners that a stream fell silent, or is live again."""
        if self._open.get(opened.name) is opened:
            self.hub.publish(self.status(opened.name))

    def tell_calibrated(self) -> None:
        """Tell the listeners of all streams that another calibration may be in force."""
        for name in self._open:
            self.hub.publish(self.status(name))

    def warn(self, opened: OpenStream, kind: str, words: str) -> None:
        """Write a warning about a stream into the log, once for each kind while it is connected."""
        if kind not in opened.warned:
            opened.warned.add(kind)
            log.warning("stream=%s %s", opened.name, words)

    def list(self) -> list[StreamInfo]:
        """What is streaming now, by name."""
        return [self._info(opened) for _, opened in sorted(self._open.items())]

    def finish(self, opened: OpenStream, frame: Frame, outcome: Inspected | BaseException) -> None:
        """Count a frame's outcome and tell everyone who listens."""
        if isinstance(outcome, BaseException):
            self._finish_failed(opened, frame, outcome)
            return
        stream = opened.stream
        stream.shape.see(outcome.size)
        latency_ms = stream.count_inspected(frame, outcome.verdict)
        for kind, words in self._warnings(opened).items():
            self.warn(opened, kind, words)
        if latency_ms is None:
            return
        opened.seen.count(outcome)
        for capture in opened.captures:
            capture.see(outcome, frame.simulated)
        counted = stream.counters
        height, width = outcome.heatmap.shape
        message = Result(
            stream=stream.name,
            seq=frame.seq,
            score=round(outcome.score, 4),
            raw_score=outcome.raw_score,
            threshold=outcome.threshold.value,
            threshold_source=outcome.threshold.source,
            is_anomaly=outcome.is_anomaly,
            verdict=outcome.verdict,
            received=counted.received,
            inspected=counted.inspected,
            dropped=counted.dropped,
            failed=counted.failed,
            anomalies=stream.anomalies,
            latency_ms=round(latency_ms, 2),
            heatmap=Heatmap(width, height, base64.b64encode(outcome.heatmap.tobytes()).decode()),
            simulated=frame.simulated or msgspec.UNSET,
        )
        with_picture = None
        if outcome.picture is not None:
            data, picture_width, picture_height = outcome.picture
            picture = Picture(picture_width, picture_height, base64.b64encode(data).decode())
            with_picture = msgspec.structs.replace(message, picture=picture)
        self._publish(opened, message, with_picture)

    def _finish_failed(self, opened: OpenStream, frame: Frame, error: BaseException) -> None:
        opened.stream.count_failed()
        if isinstance(error, ImageError | Hung):
            words = str(error)
        else:
            words = "the inspection failed; the server's log says why"
            log.error("inspection failed stream=%s", opened.name, exc_info=error)
        self.publish_failed(opened, frame.seq, words)

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

    def _publish(self, opened: OpenStream, message: Result | Error, with_picture: Result | None) -> None:
        # A frame of a sender that was replaced meanwhile still counts for it, but is not the stream's any more.
        if self._open.get(opened.name) is opened:
            opened.push(self.hub.publish(message, with_picture))

    def _info(self, opened: OpenStream) -> StreamInfo:
        stream = opened.stream
        counted = stream.counters
        threshold = self._threshold_on(opened)
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
            warnings=[*self._warnings(opened).values()],
            threshold=threshold.value if threshold else None,
            threshold_source=threshold.source if threshold else None,
            calibration=described(calibration) if calibration else None,
            since_calibration=opened.seen.since(threshold) if threshold else None,
            camera=opened.describe_camera() if opened.describe_camera else msgspec.UNSET,
        )

    def _warnings(self, opened: OpenStream) -> dict[str, str]:
        """What the operator should know of a stream, by kind."""
        found = opened.stream.shape.warnings(self.inspection.taught_shapes)
        if opened.stream.is_late:
            found["late"] = (
                f"results come more than {self._max_age_s:g} s after their frame and are dropped: send smaller frames, "
                "or set MAX_FRAME_AGE_MS higher"
            )
        threshold = self._threshold_on(opened)
        if threshold is not None and (words := other_transport(threshold, opened.stream.transport)) is not None:
            found["transport"] = words
        return found

    def _threshold_on(self, opened: OpenStream) -> Threshold | None:
        if not self.inspection.ready:
            return None
        return self.inspection.threshold_on(opened.name, opened.stream.transport)

    def _seen_of(self, name: str, transport: Transport) -> ResultsSeen:
        """The results of a stream: those of the latest names are remembered while nobody sends them."""
        seen = self._seen.pop((name, transport), None) or ResultsSeen()
        self._seen[name, transport] = seen
        for place in [*self._seen][: max(0, len(self._seen) - MOST_REMEMBERED)]:
            del self._seen[place]
        return seen

    def _free_name(self) -> str:
        while True:
            self._made_up += 1
            name = f"camera-{self._made_up}"
            if name not in self._open:
                return name


def _state(opened: OpenStream) -> StreamState:
    return "silent" if opened.is_silent else "live"
