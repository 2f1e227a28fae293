"""One look at a camera: the first picture, and how often they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from server.cameras.arrivals import CaptureError, Damaged, DamagedError, Frames, Grabbed, Late, Pending, Waiting
from server.cameras.capture import MAX_PIXELS, grab
from server.cameras.framing import MAX_FPS, Crop, Framing, Image
from server.cameras.redaction import redact
from server.cameras.source import check_source

MEASURED_S = 1.0
"""After the first picture, for their rate."""
NO_PICTURE = "no picture came in time: check the camera, its cable and the network"


@dataclass(frozen=True)
class Found:
    """What came of a camera.

    ``picture``: the first, BGR uint8 H×W×3, sized and cropped; None: there was none. ``fps``: frames a second as they
    came; None: too few. ``problem``: why there is no picture, one sentence without secrets; None with one.
    """

    picture: Image | None = None
    fps: float | None = None
    problem: str | None = None


class Trial:
    """Looks at a source once, in a thread of its own. A driver can block for ever and no thread can be killed, so it is
    one that can be left behind: :attr:`ended` says whether it still is.

    Args:
        source, width, height, fps, crop, max_pixels: as of a :class:`~server.cameras.camera.Camera`.
        on_news: called in that thread at the first picture, and when the look is over by itself.
        frames: what opens the source, for tests.

    Raises:
        ValueError: the source cannot be one, or width, height or crop are out of range.
    """

    def __init__(
        self,
        source: str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        crop: Crop | None = None,
        max_pixels: int = MAX_PIXELS,
        on_news: Callable[[], object],
        frames: Callable[[], Frames] | None = None,
    ) -> None:
        check_source(source)
        self._source = source
        self._framing = Framing(width, height, crop)
        self._frames = frames or partial(grab, source, width, height, fps, max_pixels=max_pixels)
        self._on_news = on_news
        self._given_up = threading.Event()
        self._ended = threading.Event()
        self._found = Found()

    def start(self) -> None:
        """Begin to look. Returns at once."""
        threading.Thread(target=self._look, name="camera test", daemon=True).start()

    def give_up(self) -> None:
        """Wait for nothing more; what comes later is not listened to."""
        self._given_up.set()

    @property
    def ended(self) -> bool:
        """Whether its thread is gone."""
        return self._ended.is_set()

    def found(self) -> Found:
        """What came so far; without a picture it says why."""
        found = self._found
        return found if found.picture is not None or found.problem else replace(found, problem=NO_PICTURE)

    def _look(self) -> None:
        try:
            self._read()
            problem = ""
        except (CaptureError, ValueError) as reason:
            problem = str(reason)
        except Exception as reason:  # a driver's surprise
            problem = f"{type(reason).__name__}: {reason}"
        if self._found.picture is None and problem:
            self._note(problem)
        self._ended.set()
        self._on_news()

    def _read(self) -> None:
        first = 0.0
        times = 0
        with closing(self._frames()) as frames:
            for arrival in frames:
                if self._given_up.is_set():
                    return
                now = time.monotonic()
                match arrival:
                    case Grabbed() if self._found.picture is None:
                        try:
                            self._found = Found(self._framing.of(arrival.image()))
                        except DamagedError as damage:
                            self._note(str(damage))
                            continue
                        first = now
                        self._on_news()
                    case Grabbed() | Late() if self._found.picture is not None:
                        times += 1
                        fps = times / max(now - first, 1e-9)
                        # Faster than any camera: what had been waiting came all at once.
                        self._found = replace(self._found, fps=round(fps, 1) if fps <= MAX_FPS else None)
                    case Damaged(why) | Pending(why) if self._found.picture is None:
                        self._note(why)
                    case Waiting(why) if self._found.picture is None:
                        self._note(f"the camera answers, and is {why}: let a part pass, or test it with trigger=off")
                if self._found.picture is not None and now - first >= MEASURED_S:
                    return

    def _note(self, why: str) -> None:
        self._found = Found(problem=redact(why, self._source))
