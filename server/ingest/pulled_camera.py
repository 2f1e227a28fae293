"""A camera the server pulls itself, as a supervised stream whose death touches no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial

from server.cameras import LATE, Camera, CapturedFrame, Crop, Patience
from server.settings import PulledCamera
from server.streams import Streams
from server.words import CameraInfo

REPLACED = "a newer frame came before this computer took it: it is too busy"


class _Told:
    """What the capturing thread says of single frames, told to the event loop with their number, so many at once.

    Args:
        tell: on the event loop, with words and a number.
    """

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        self._tell, self._count = tell, 0
        self._loop, self._lock = asyncio.get_running_loop(), threading.Lock()

    def say(self, words: str) -> None:
        with self._lock:
            scheduled, self._count = self._count > 0, self._count + 1
        if not scheduled:
            self._loop.call_soon_threadsafe(self._take, words)

    def _take(self, words: str) -> None:
        with self._lock:
            count, self._count = self._count, 0
        self._tell(words, count)


class CameraStream:
    """Runs one camera of the ``CAMERAS`` setting or of the page, from now until it is stopped. Made on the event loop.

    Args:
        camera: which, and how.
        streams: where its frames go.
        max_pixels: of a frame.
    """

    def __init__(self, camera: PulledCamera, streams: Streams, max_pixels: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._newest: CapturedFrame | None = None
        self._replaced = 0
        self._opened = streams.open(camera.name, "camera")
        self._opened.describe_camera = self._describe
        try:
            self._camera = Camera(
                camera.source,
                name=camera.name,
                width=camera.width,
                height=camera.height,
                fps=camera.fps,
                crop=Crop.parse(camera.crop) if camera.crop else None,
                patience=Patience() if camera.patience is None else Patience.between_frames(camera.patience),
                max_pixels=max_pixels,
                on_frame=self._captured,
                on_damaged=_Told(self._opened.fail).say,
                on_late=partial(_Told(self._opened.drop).say, LATE),
            )
            self._camera.start()
        except BaseException:  # no thread is to be had: no stream without a camera stays open
            self._opened.close()
            raise

    async def stop(self) -> None:
        """Stop the camera, within a second; a stuck driver is left behind in its thread."""
        await asyncio.to_thread(self._camera.stop)
        self._opened.close()

    @property
    def let_go(self) -> bool:
        """Whether nothing of it is left behind, once it was stopped."""
        return self._camera.let_go

    def _captured(self, frame: CapturedFrame) -> None:
        with self._lock:
            scheduled, self._newest = self._newest is not None, frame
            self._replaced += scheduled
        if not scheduled:  # a busy event loop finds one frame to take, the newest, however many came meanwhile
            self._loop.call_soon_threadsafe(self._offer)

    def _offer(self) -> None:
        with self._lock:
            frame, self._newest = self._newest, None
            replaced, self._replaced = self._replaced, 0
        if replaced:
            self._opened.drop(REPLACED, replaced)
        if frame is not None:
            late_s = 0.0 if frame.came is None else time.monotonic() - frame.came
            self._opened.offer(partial(lambda image: image, frame.image), late_s=max(0.0, late_s))

    def _describe(self) -> CameraInfo:
        status = self._camera.status()
        return CameraInfo(
            state=status.state,
            since=status.since.isoformat(timespec="seconds"),
            retry_in_s=None if status.retry_in is None else round(status.retry_in, 1),
            source=status.source,
            connects=status.connects,
            failures=status.failures,
            dropped=status.dropped,
            last_error=status.last_error,
        )
