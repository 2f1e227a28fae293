"""A sender's hold on its stream."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from detector.images import BGRImage
from server.inspection import Captured
from server.streams.decision import Decider
from server.streams.hub import Subscription
from server.streams.in_force import InForce
from server.streams.parts import Parts, Said
from server.streams.pool import Job, Progress
from server.streams.results_seen import ResultsSeen
from server.streams.slot import Frame, Stream
from server.streams.stations import StationOf
from server.streams.stream_calibration import Capture
from server.streams.turns import Account
from server.words import CameraInfo, Load, Result, Simulated, Status, check_part

if TYPE_CHECKING:
    from server.streams.streams import Streams

OVER_RATE = "its frame came sooner after another than max_fps allows, and was dropped: raise it, or trigger less often"


class Watcher(Protocol):
    """Who is shown a stream's frames instead of the inspection: a teaching."""

    def look(self, frame: BGRImage) -> Any:
        """Look at a frame (H×W×3 uint8 BGR), in a worker thread."""
        ...

    def seen(self, outcome: Any) -> None:
        """On the event loop: what ``look`` returned, or the exception that it or the decoding raised."""
        ...

    def gone(self, why: str) -> None:
        """On the event loop: the stream ended; one sentence. Nothing more is shown."""
        ...


class OpenStream:
    """A sender's hold on its stream: offer frames, read results, and hear when another sender takes the name over.

    Attributes:
        name: of the stream.
        streams: all of them.
        taken_over: set when another sender opened a stream of the same name.
        describe_camera: how the camera behind it is doing, where the server pulls it itself.
        account: what its frames cost.
        is_silent: whether no frame came for a while.
        warned: what was said of it in the log, once for each connection.
        captures: for calibrations, in work.
        seen: the results of all its connections; ``parts``: how many parts, ``station``: which.
        decider: of its verdicts, from the beginning with each connection, recipe and rule, and each part that is named.
        in_force: what its listeners were told last; None while there is no model.
        said: the state they were told last.
        last: result that was given, without and with a picture, if one was made.
        watcher: is shown its frames instead of the inspection.
        told_at: when the sender heard a heartbeat, monotonic seconds.
    """

    def __init__(
        self,
        streams: Streams,
        stream: Stream,
        results: Subscription,
        seen: ResultsSeen,
        parts: Parts,
        station: StationOf,
    ) -> None:
        self.name = stream.name
        self.taken_over = asyncio.Event()
        self.stream = stream
        self.describe_camera: Callable[[], CameraInfo] | None = None
        self.account = Account()
        self.is_silent = False
        self.warned: set[str] = set()
        self.captures: set[Capture] = set()
        self.seen, self.parts, self.station = seen, parts, station
        self.decider = Decider()
        self.in_force: InForce | None = None
        self.said: Status | None = None
        self.last: tuple[Result, Result | None] | None = None
        self.watcher: Watcher | None = None
        self.told_at = -math.inf
        self._said = Said()
        self._named_at: float | None = None
        """When the line named another part last while the frames were shown to a watcher."""
        self.streams = streams
        self._results = results
        self._ended = False
        self._listening: asyncio.TimerHandle | None = None

    def offer(self, load: Load, simulated: Simulated | None = None, late_s: float = 0.0) -> None:
        """Take a frame that is here now; the newest one wins. On the event loop; costs microseconds.

        Args:
            load: makes the picture, in a worker thread, only if the frame is inspected; raises ImageError if broken.
            simulated: what the simulated line knows of the frame.
            late_s: seconds for which it had waited on its way here, as far as that is known: it arrived before now.
        """
        if self._ended:
            return
        arrived = self.stream.arrival(late_s)
        part = self._said.when(arrived)
        if part is None and simulated is not None:
            part = str(simulated.part)
        if self.stream.put(load, simulated, part, arrived):
            self.station.station.came(arrived, self.stream.heard - arrived)
            self.streams.pool.notify(self)
        else:
            self.station.station.spoil(arrived, OVER_RATE)
        self._hear()

    def results(self) -> Subscription:
        """The JSON texts of this stream's results, errors and parts; bounded, ends with the stream."""
        return self._results

    def push(self, text: str) -> None:
        """Hand a message to the sender."""
        self._results.push(text)

    def fail(self, words: str, frames: int = 1) -> None:
        """A frame arrived now, or some, of which the transport knows that they are damaged: count them, and say why."""
        if not self._ended:
            number = self.stream.put_damaged(frames)
            self.station.station.spoil(self.stream.heard, words)
            self.streams.publish_failed(self, number, words)
            self._hear()

    def drop(self, words: str, frames: int) -> None:
        """Frames arrived now so late that the transport dropped them: count them. ``words``: why a part has none."""
        if not self._ended:
            self.stream.put_late(frames)
            self.station.station.spoil(self.stream.heard, words, since=self.stream.arrived)
            self._hear()

    def say_part(self, part: str | None) -> None:
        """The frames that arrive from now on show this part; None: nobody says it any more.

        Raises:
            ValueError: it cannot be a part's id.
        """
        before, at = self._said.newest, time.perf_counter()
        self._said.say(check_part(part), at)
        if self.watcher is not None and self._said.newest != before:
            self._named_at = at
        elif self.watcher is None and not self._ended:
            self.streams.stations.name(self.name, self.station, self._said.newest, at)

    def watch(self, watcher: Watcher) -> None:
        """Show the frames to somebody instead of inspecting them, until it is told otherwise; they count as dropped.

        Raises:
            ValueError: somebody is shown them already, or the stream ended.
        """
        if self.watcher is not None or self._ended:
            raise ValueError(f"{self.name} is taught already" if self.watcher else f"{self.name} went away")
        self.watcher = watcher
        if self.station.rule.by != "line":  # what an id names is the same part afterwards
            self.streams.stations.gone(self.name, self.station, "its frames were shown to a teaching")
        self.streams.tell_state(self)
        if self.stream.has_waiting:  # it may have waited for a model
            self.streams.pool.notify(self)

    def unwatch(self) -> None:
        """Inspect the frames again. Harmless when said twice."""
        if self.watcher is not None:
            self.watcher = None
            self.decider.begin()
            if self._named_at is not None:  # what lies there is another part, also where it has the id of before
                at, self._named_at = self._named_at, None
                for part in (None, self._said.newest):
                    self.streams.stations.name(self.name, self.station, part, at)
            self.streams.tell_state(self)

    def next_job(self) -> Job | None:
        if self.watcher is None and not self.streams.can_inspect(self.name):
            return None  # the newest frame waits on, and is asked for when there is a model
        since = self.stream.waiting_since
        frame = self.stream.take()
        if frame is None:
            if since is not None:
                self.streams.tell_dropped(self, since)
            return None
        return self._to_be_inspected(frame) if self.watcher is None else _to_be_seen(self, self.watcher, frame)

    def _to_be_inspected(self, frame: Frame) -> Job:
        hub, kept = self.streams.hub, self.streams.kept
        picture, progress = hub.wants_picture(self.name), Progress()
        sample = any(capture.wants for capture in self.captures)
        rule, station = self.station.rule, self.station.station
        if rule.by == "line":
            expected = self.parts.expected(frame.part, station.begins(frame.part, frame.arrived))
        else:
            expected = self.station.number
        keep = kept.wanted(self.name, expected)

        def keep_worst(raw_score: float, is_anomaly: bool) -> bool:
            return keep(raw_score, is_anomaly) or (
                is_anomaly and station.is_worst_yet(frame.arrived, raw_score, is_anomaly)
            )

        return Job(
            lambda: self.streams.inspection.inspect(
                frame.load,
                stream=self.name,
                transport=self.stream.transport,
                picture=picture,
                sample=sample,
                scene=frame.part is None and rule.by == "line",
                keep=keep_worst,
                progress=progress.made,
            ),
            lambda outcome: self.streams.finish(self, frame, outcome),
            progress,
        )

    async def capture(self, n: int, seconds: float, gone: Callable[[], Awaitable[bool]] | None = None) -> Captured:
        """Take the next ``n`` inspected frames of this connection for a calibration, spread over so many seconds.

        Args:
            gone: whether the one who asked is gone.

        Raises:
            StreamWentAway: the connection ended, or another took the name over, or nothing was inspected for 10 s.
        """
        capture = Capture(n, seconds, asyncio.get_running_loop().time)
        self.captures.add(capture)
        try:
            return await capture.frames(self.name, self.stream.transport, lambda: self.seen.scores, gone)
        finally:
            self.captures.discard(capture)

    def listen(self) -> None:
        """Notice when no frame comes any more."""
        patience = self.streams.silent_after_s
        if patience is None or self._ended:
            return
        left = patience - self.stream.silent_s
        if left > 0:
            self._listening = asyncio.get_running_loop().call_later(left, self.listen)
            return
        self._say_silent(True)
        self.streams.warn(self, "silent", f"no frame for {patience:g} s: check the camera or its program")

    def _hear(self) -> None:
        if self.is_silent:
            self._say_silent(False)
            self.listen()

    def _say_silent(self, silent: bool) -> None:
        self.is_silent = silent
        self.streams.tell_state(self)

    def end(self) -> None:
        """The stream takes no more frames and its results end."""
        self._ended = True
        if self._listening is not None:
            self._listening.cancel()
        self.stream.drop_rest()
        self.streams.pool.withdraw(self)
        self._results.close()
        taken_over = self.taken_over.is_set()
        why = f"another camera took {self.name} over" if taken_over else f"the camera of {self.name} went away"
        for capture in self.captures:
            capture.end(why)
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.gone(why)

    def close(self) -> None:
        """The sender is gone. Harmless when said twice."""
        self.streams.close_stream(self)


def _to_be_seen(opened: OpenStream, watcher: Watcher, frame: Frame) -> Job:
    progress = Progress()

    def look() -> Any:
        image = frame.load()
        progress.made()
        return watcher.look(image)

    return Job(look, partial(opened.streams.finish_seen, opened, watcher, frame), progress)
