"""Frames from a folder, a video file, an address or a device, one after another, as plain generators.

Nothing here retries, waits or knows of threads: :mod:`server.cameras.camera` does. A generator opens its source at
the first ``next``, blocks while the source does, lets it go when it is closed, and raises
:class:`CaptureError` when it is over.
"""

from __future__ import annotations

from pathlib import Path

from server.cameras.arrivals import CaptureError, Frames
from server.cameras.device import device_frames
from server.cameras.ffmpeg import ANSWER_S
from server.cameras.film import film, live
from server.cameras.folder import folder_of_pictures
from server.cameras.genicam import SCHEME, genicam_frames
from server.cameras.http_camera import ask
from server.cameras.mjpeg import pictures
from server.cameras.source import is_address, is_device

MAX_PIXELS = 16_000_000
"""Of a frame, where nobody says otherwise."""


def grab(
    source: str,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    *,
    patience: float = ANSWER_S,
    max_pixels: int = MAX_PIXELS,
) -> Frames:
    """The frames of a source.

    Args:
        source: a folder (its pictures in the order of their names, again and again), a video file (again and
            again), an RTSP or HTTP address, a camera of GenICam (genicam://ID), a device number or /dev name.
        width, height, fps: asked of a device, which may ignore them; of a camera of GenICam only ``fps`` is. ``fps``
            is also the pace of a folder (5 by default).
        patience: how long an address may be silent between two frames, seconds.
        max_pixels: of a frame of a video or an address.

    Raises:
        CaptureError: here or while iterating, when the source cannot be opened or has ended.
    """
    if is_device(source):
        return device_frames(source, width, height, fps)
    if source.lower().startswith(f"{SCHEME}://"):
        return genicam_frames(source, fps, patience, max_pixels)
    if is_address(source):
        return _address(source, patience, max_pixels)
    path = Path(source)
    if path.is_dir():
        return folder_of_pictures(path, fps)
    if path.is_file():
        return film(path, max_pixels)
    raise CaptureError(f"there is no folder or file {source}: check the path")


def _address(address: str, patience: float, max_pixels: int) -> Frames:
    if address.lower().startswith("http"):
        answer = ask(address, max(ANSWER_S, patience))
        if answer is not None:
            if answer.is_mjpeg:
                yield from pictures(answer, max_pixels)
            answer.response.close()
    yield from live(address, patience, max_pixels)
