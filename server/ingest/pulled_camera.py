"""A camera the server pulls itself, as a supervised stream whose death touches no other."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from server.cameras import LATE, Camera, CapturedFrame, Crop, Patience
from server.settings import PulledCamera
from server.streams import Streams
from server.words import CameraInfo


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
        self._damaged = self._late = 0
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
                on_damaged=self._came_damaged,
                on_late=self._came_late,
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
        if not scheduled:  # a busy event loop finds one frame to take, the newest, however many came meanwhile
            self._loop.call_soon_threadsafe(self._offer)

    def _offer(self) -> None:
        with self._lock:
            frame, self._newest = self._newest, None
        if frame is not None:
            self._opened.offer(partial(lambda image: image, frame.image))

    def _came_damaged(self, why: str) -> None:
        with self._lock:
            scheduled, self._damaged = self._damaged > 0, self._damaged + 1
        if not scheduled:
            self._loop.call_soon_threadsafe(self._fail, why)

    def _fail(self, why: str) -> None:
        with self._lock:
            frames, self._damaged = self._damaged, 0
        self._opened.fail(why, frames)

    def _came_late(self) -> None:
        with self._lock:
            scheduled, self._late = self._late > 0, self._late + 1
        if not scheduled:
            self._loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        with self._lock:
            frames, self._late = self._late, 0
        self._opened.drop(LATE, frames)

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
