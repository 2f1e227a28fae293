"""All streams of this server: opens them, feeds the pool from their slots, turns verdicts into messages for the hub."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Collection

import msgspec

from detector import ImageError
from server.inspection import Inspected, Inspection
from server.streams.hub import Hub, Subscription
from server.streams.pool import Hung, InferencePool, Job, Progress
from server.streams.slot import Frame, Stream
from server.streams.turns import Account
from server.words import (
    CameraInfo,
    Error,
    Heatmap,
    Load,
    Picture,
    Result,
    Simulated,
    Status,
    StreamInfo,
    StreamState,
    Transport,
    check_max_fps,
    check_name,
)

log = logging.getLogger("defectvision.streams")


class OpenStream:
    """A sender's hold on its stream: offer frames, read results, and hear when another sender takes the name over.

    Attributes:
        name: of the stream.
        taken_over: set when another sender opened a stream of the same name.
        describe_camera: how the camera behind it is doing, where the server pulls it itself.
        account: what its frames cost.
        is_silent: whether no frame came for a while.
        warned: what was said of it in the log, once for each connection.
    """

    def __init__(self, streams: Streams, stream: Stream, results: Subscription) -> None:
        self.name = stream.name
        self.taken_over = asyncio.Event()
        self.stream = stream
        self.describe_camera: Callable[[], CameraInfo] | None = None
        self.account = Account()
        self.is_silent = False
        self.warned: set[str] = set()
        self._streams = streams
        self._results = results
        self._ended = False
        self._listening: asyncio.TimerHandle | None = None

    def offer(self, load: Load, simulated: Simulated | None = None) -> None:
        """Take a frame that arrived now; the newest one wins. On the event loop; costs microseconds.

        Args:
            load: makes the picture, in a worker thread, only if the frame is inspected; raises ImageError if broken.
            simulated: what the simulated line knows of the frame.
        """
        if self._ended:
            return
        if self.stream.put(load, simulated):
            self._streams.pool.notify(self)
        self._hear()

    def results(self) -> Subscription:
        """The JSON texts of this stream's results and errors; bounded, the oldest is lost, ends with the stream."""
        return self._results

    def push(self, text: str) -> None:
        """Hand a message to the sender."""
        self._results.push(text)

    def fail(self, words: str, frames: int = 1) -> None:
        """A frame arrived now, or some, of which the transport knows that they are damaged: count them, and say why."""
        if not self._ended:
            self._streams.publish_failed(self, self.stream.put_damaged(frames), words)
            self._hear()

    def next_job(self) -> Job | None:
        frame = self.stream.take()
        if frame is None:
            return None
        picture, progress = self._streams.hub.wants_picture(self.name), Progress()
        return Job(
            lambda: self._streams.inspection.inspect(frame.load, picture=picture, progress=progress.made),
            lambda outcome: self._streams.finish(self, frame, outcome),
            progress,
        )

    def listen(self) -> None:
        """Notice when no frame comes any more."""
        patience = self._streams.silent_after_s
        if patience is None or self._ended:
            return
        left = patience - self.stream.silent_s
        if left > 0:
            self._listening = asyncio.get_running_loop().call_later(left, self.listen)
            return
        self._say_silent(True)
        self._streams.warn(self, "silent", f"no frame for {patience:g} s: check the camera or its program")

    def _hear(self) -> None:
        if self.is_silent:
            self._say_silent(False)
            self.listen()

    def _say_silent(self, silent: bool) -> None:
        self.is_silent = silent
        self._streams.tell_state(self)

    def end(self) -> None:
        """The stream takes no more frames and its results end."""
        self._ended = True
        if self._listening is not None:
            self._listening.cancel()
        self.stream.discard_waiting()
        self._streams.pool.withdraw(self)
        self._results.close()

    def close(self) -> None:
        """The sender is gone. Harmless when said twice."""
        self._streams.close_stream(self)


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
        reserved: Collection[str] = (),
    ) -> None:
        self.pool, self.hub, self.inspection = pool, hub, inspection
        self.silent_after_s = silent_after_s
        self._max_age_s = max_age_s
        self._reserved = frozenset(reserved)
        self._open: dict[str, OpenStream] = {}
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
        opened = OpenStream(self, Stream(name, transport, max_fps=max_fps, max_age_s=self._max_age_s), Subscription())
        self._open[name] = opened
        if older is not None:
            older.taken_over.set()
            older.end()
            log.info("stream taken over stream=%s by=%s", name, transport)
        else:
            log.info("stream opened stream=%s transport=%s", name, transport)
        self.hub.publish_state(name, "live")
        opened.listen()
        return opened

    def close_stream(self, opened: OpenStream) -> None:
        """End a stream whose sender is gone."""
        opened.end()
        if self._open.get(opened.name) is opened:
            del self._open[opened.name]
            self.hub.publish_state(opened.name, "waiting")
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

    def is_open(self, name: str) -> bool:
        """Whether somebody sends frames under this name now."""
        return name in self._open

    def status(self, name: str) -> Status:
        """What a new listener of a stream is told first."""
        return Status(name, _state(self._open[name]) if name in self._open else "waiting")

    def tell_state(self, opened: OpenStream) -> None:
        """Tell the listeners that a stream fell silent, or is live again."""
        if self._open.get(opened.name) is opened:
            self.hub.publish_state(opened.name, _state(opened))

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
        return found

    def _free_name(self) -> str:
        while True:
            self._made_up += 1
            name = f"camera-{self._made_up}"
            if name not in self._open:
                return name


def _state(opened: OpenStream) -> StreamState:
    return "silent" if opened.is_silent else "live"
