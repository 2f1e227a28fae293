"""A sender's hold on its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from server.inspection import Captured
from server.streams.hub import Subscription
from server.streams.pool import Job, Progress
from server.streams.results_seen import ResultsSeen
from server.streams.slot import Stream
from server.streams.stream_calibration import Capture
from server.streams.turns import Account
from server.words import CameraInfo, Load, Simulated

if TYPE_CHECKING:
    from server.streams.streams import Streams


class OpenStream:
    """A sender's hold on its stream: offer frames, read results, and hear when another sender takes the name over.

    Attributes:
        name: of the stream.
        taken_over: set when another sender opened a stream of the same name.
        describe_camera: how the camera behind it is doing, where the server pulls it itself.
        account: what its frames cost.
        is_silent: whether no frame came for a while.
        warned: what was said of it in the log, once for each connection.
        captures: for calibrations, in work.
        seen: the results of all its connections.
    """

    def __init__(self, streams: Streams, stream: Stream, results: Subscription, seen: ResultsSeen) -> None:
        self.name = stream.name
        self.taken_over = asyncio.Event()
        self.stream = stream
        self.describe_camera: Callable[[], CameraInfo] | None = None
        self.account = Account()
        self.is_silent = False
        self.warned: set[str] = set()
        self.captures: set[Capture] = set()
        self.seen = seen
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
        sample = any(capture.wants for capture in self.captures)
        return Job(
            lambda: self._streams.inspection.inspect(
                frame.load,
                stream=self.name,
                transport=self.stream.transport,
                picture=picture,
                sample=sample,
                progress=progress.made,
            ),
            lambda outcome: self._streams.finish(self, frame, outcome),
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
        taken_over = self.taken_over.is_set()
        why = f"another camera took {self.name} over" if taken_over else f"the camera of {self.name} went away"
        for capture in self.captures:
            capture.end(why)

    def close(self) -> None:
        """The sender is gone. Harmless when said twice."""
        self._streams.close_stream(self)
