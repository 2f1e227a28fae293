"""A program that shows parts to a server, one after the other: no browser has to encode video for it."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence

from websockets.sync.client import connect

FRAMES_PER_SECOND = 4


@contextlib.contextmanager
def belt(url: str, pictures: Sequence[bytes]) -> Iterator[None]:
    """Send these encoded pictures in turn, over and over, as the stream ``belt``."""
    over = threading.Event()

    def run() -> None:
        with connect(url.replace("http:", "ws:") + "/ws/stream?name=belt", compression=None) as socket:
            threading.Thread(target=lambda: [None for _ in socket], daemon=True).start()
            for picture in itertools.cycle(pictures):
                if over.is_set():
                    return
                socket.send(picture)
                time.sleep(1 / FRAMES_PER_SECOND)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)
