"""What several camera tests share: numbered pictures, waiting for conditions, a collector of frames."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from server.camera_process.sender import Sender
from server.cameras.arrivals import Frames, Grabbed
from server.cameras.camera import Camera, CapturedFrame
from server.cameras.framing import Image

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come to hold in time"
        time.sleep(0.005)


@contextmanager
def running(camera: Camera) -> Iterator[Camera]:
    """A camera while it runs; it must stop within a second."""
    camera.start()
    try:
        yield camera
    finally:
        started = time.monotonic()
        camera.stop()
        assert time.monotonic() - started < 1.0
        assert camera.status().state == "stopped"


def picture(value: int, width: int = 64, height: int = 48) -> Image:
    """A BGR uint8 image in one grey."""
    return np.full((height, width, 3), value, np.uint8)


def grey(image: Image) -> int:
    """The value of a picture(), also after a lossy codec: to the nearest ten."""
    return round(float(image.mean()) / 10) * 10


def write_pictures(folder: Path, values: list[int]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, value in enumerate(values):
        assert cv2.imwrite(str(folder / f"{number:02}.png"), picture(value))
    return folder


def grabbed(frames: Frames) -> Iterator[Grabbed]:
    """Only the frames of what a source yields."""
    return (arrival for arrival in frames if isinstance(arrival, Grabbed))


class Collector:
    """An ``on_frame`` that keeps everything."""

    def __init__(self) -> None:
        self.frames: list[CapturedFrame] = []

    def __call__(self, frame: CapturedFrame) -> None:
        self.frames.append(frame)

    def wait(self, count: int, seconds: float = 10.0) -> list[CapturedFrame]:
        wait_until(lambda: len(self.frames) >= count, seconds)
        return self.frames


class Feed:
    """Offers a frame every few milliseconds."""

    def __init__(self, sender: Sender) -> None:
        self.value = 50
        self.number = 0
        self._sender = sender
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.003):
            self.number += 1
            self._sender.offer(CapturedFrame(self.number, picture(self.value), time.monotonic()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
