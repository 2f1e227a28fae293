"""Frames of a camera on this machine, by OpenCV."""

from __future__ import annotations

import re
import time

import cv2
import numpy as np

from server.cameras.arrivals import CaptureError, DamagedError, Frames, Grabbed, Nothing
from server.cameras.framing import Image

_DRIVER_WAITS_S = 5.0
"""A driver that failed later than this waited for a frame in vain (OpenCV lets it wait for 10 s); one that fails
at once has lost its camera."""


def device_frames(source: str, width: int | None, height: int | None, fps: float | None) -> Frames:
    """The frames of a device. ``width``, ``height``, ``fps`` are asked of it; it may ignore them."""
    # OpenCV prints lines of its own at every try.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    device = re.sub(r"^/dev/video(?=\d+$)", "", source)
    capture = cv2.VideoCapture(int(device)) if device.isdecimal() else cv2.VideoCapture(device, cv2.CAP_V4L2)
    try:
        if not capture.isOpened():
            raise CaptureError(
                f"camera {source} cannot be opened: check that it is plugged in, that no other program uses "
                "it, and that this user may use it (on Linux: group video)"
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for setting, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, fps),
        ):
            if value is not None:
                capture.set(setting, value)

        def image() -> Image:
            whole, picture = capture.retrieve()
            if not whole:
                raise DamagedError(f"camera {source} sent a broken frame: check its cable")
            return np.asarray(picture, np.uint8)

        while True:
            asked_at = time.monotonic()
            if capture.grab():
                yield Grabbed(None, image)
            elif time.monotonic() - asked_at >= _DRIVER_WAITS_S:
                yield Nothing()  # no trigger came; how long to wait for one, the camera's patience says
            else:
                raise CaptureError(f"camera {source} stopped sending: check that it is still plugged in")
    finally:
        capture.release()
