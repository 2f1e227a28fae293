"""A camera that is kept alive: it hands out the newest frame, and comes back by itself after it was away.

Each :class:`Camera` has one thread that supervises and one that captures. A driver can block for ever inside
a read, and no thread can be killed, so the capturing thread is one that can be left behind: it belongs to one
try at the source, and from the moment it is given up nothing it does is listened to any more.
:data:`MAX_STUCK` bounds how many may be left behind.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from server.cameras.arrivals import CaptureError, Damaged, DamagedError, Frames, Grabbed, Late, Pending, Waiting
from server.cameras.backoff import Backoff
from server.cameras.capture import MAX_PIXELS, grab
from server.cameras.framing import Crop, Framing, Image, Throttle
from server.cameras.often import OftenWatch
from server.cameras.redaction import redact, shown
from server.cameras.source import check_source

logger = logging.getLogger("defectvision.camera")

CameraState = Literal["connecting", "live", "waiting", "stalled", "retrying", "stopped"]
"""Waiting: it answers, and takes its next picture when it is triggered."""

MAX_PATIENCE_S = 3600.0
LATE = (
    "frames come late, and what waited was dropped: lower the camera's rate or size, or see to the network and this "
    "computer's load"
)
LATE_AGAIN_S = 600.0
"""That frames come late is said in the log no more often."""

MAX_STUCK = 3
"""How many captures that never come back from their driver a camera may leave behind."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    ``first_frame``: for a source to open and send something. ``next_frame``: for more. ``release``: for a capture that
    was given up to let its device go before it counts as stuck. ``picture``: while video comes of which no picture can
    be made, before that is told. ``blind``: in all while such video comes, before it is tried anew.
    """

    first_frame: float = 10.0
    next_frame: float = 5.0
    release: float = 1.0
    picture: float = 2.0
    blind: float = 120.0

    @classmethod
    def between_frames(cls, seconds: float) -> Patience:
        """For a camera that may be silent for so long. Raises ValueError when that is no sensible time."""
        if not 1 <= seconds <= MAX_PATIENCE_S:
            raise ValueError(f"patience must be 1 to {MAX_PATIENCE_S:g} seconds, not {seconds:g}")
        return cls(first_frame=max(cls.first_frame, seconds), next_frame=seconds)


@dataclass(frozen=True)
class CapturedFrame:
    """One frame.

    ``number`` counts from 1 over the camera's whole life; ``image`` is BGR uint8 H×W×3; ``captured_at`` is
    :func:`time.monotonic` at the moment the source delivered it. ``came``: when it came here, or would have, had it not
    waited on its way; None: nobody knows.
    """

    number: int
    image: Image
    captured_at: float
    came: float | None = None


@dataclass(frozen=True)
class CameraStatus:
    """What a camera is doing. Holds no secrets: ``source`` and ``last_error`` are redacted.

    ``since``: when this state began. ``retry_in``: seconds until the next try, only while retrying.
    ``frames``: handed out. ``damaged``: came damaged, and were not. ``dropped``: waited too long to be decoded.
    ``connects``: how often a first frame came.
    ``failures``: tries that failed and connections that were lost. ``last_error``: why the last of them, or why there
    was no picture, kept after recovery; None without any.
    """

    name: str
    source: str
    state: CameraState
    since: datetime
    retry_in: float | None
    frames: int
    damaged: int
    dropped: int
    connects: int
    failures: int
    last_error: str | None


class _Attempt:
    """One try at the source: what its capturing thread and the supervisor tell each other."""

    def __init__(self, deadline: float) -> None:
        self.given_up = threading.Event()
        self.ended = threading.Event()
        self.deadline = deadline
        self.picture_at = time.monotonic()
        self.live = False
        self.blind = False
        self.error = ""


class Camera:
    """A supervised source of frames. Thread-safe; one camera's trouble never reaches another.

    Args:
        source: a folder of pictures, a video file, an rtsp://, http:// or genicam:// address, or a device number.
        name: what logs and status call it; by default the source without its secrets.
        width, height: size in pixels. A device is asked for it; what comes in another size is resized. With
            one of the two the other keeps the aspect ratio.
        fps: at most so many frames a second; the pace of a folder (5 by default).
        crop: the part of the picture, once it has that size, to hand out.
        on_frame: called in the capturing thread with each new frame; must return at once. From asyncio:
            ``lambda frame: loop.call_soon_threadsafe(…)``.
        on_damaged: called in the same way with the reason for each frame that came damaged, or built on one that did.
        on_late: called in the same way for each frame that waited too long to be decoded.
        patience: how long it may be silent, where it does not say that it waits for a trigger.
        max_pixels: of a frame of a video or an address; one that sends larger ones is not read.
        frames, backoff: what opens the source, and the waits between tries, for tests.

    Raises:
        ValueError: the source cannot be one, or width, height, fps or crop are out of range.
    """

    def __init__(
        self,
        source: str,
        *,
        name: str | None = None,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        crop: Crop | None = None,
        on_frame: Callable[[CapturedFrame], object] | None = None,
        on_damaged: Callable[[str], object] | None = None,
        on_late: Callable[[], object] | None = None,
        patience: Patience = Patience(),
        max_pixels: int = MAX_PIXELS,
        frames: Callable[[], Frames] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        check_source(source)
        self.name = name or shown(source)
        self._source = source
        self._framing = Framing(width, height, crop)
        self._throttle = Throttle(fps) if fps is not None else None
        self._on_frame = on_frame
        self._on_damaged = on_damaged
        self._on_late = on_late
        self._frames = frames or partial(
            grab, source, width, height, fps, patience=patience.next_frame, max_pixels=max_pixels
        )
        self._backoff = backoff or Backoff()
        self._patience = patience

        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._attempt: _Attempt | None = None
        self._stuck: list[_Attempt] = []
        self._newest: CapturedFrame | None = None
        self._state: CameraState = "stopped"
        self._since = datetime.now(UTC)
        self._retry_at = 0.0
        self._connects = self._failures = self._damaged = self._dropped = 0
        self._damage, self._lateness = OftenWatch(), OftenWatch()
        self._late_told = -math.inf
        self._last_error: str | None = None
        self._away: tuple[float, int] | None = None  # when it was lost, and the failures until then

    def start(self) -> None:
        """Begin to capture. Returns at once; does nothing when started before."""
        if self._thread is None:
            logger.info("camera %s: connecting", self.name)
            self._thread = threading.Thread(target=self._supervise, name=f"camera {self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> bool:
        """End for good, within half a second even when the driver is stuck. A frame in hand may still come out.

        Returns:
            Whether every capture has ended. When not, its thread is still inside native code, and a process that
            ends now should do so by :func:`os._exit`: the interpreter's own end can crash on such a thread.
        """
        give_up_at = time.monotonic() + 0.3
        with self._changed:
            first = not self._stopping
            self._stopping = True
            attempt = self._attempt
            if attempt is not None:
                attempt.given_up.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(0.3)
            if attempt is not None:
                # A moment for the device to be let go. A stuck one is left to its thread.
                attempt.ended.wait(max(0.0, give_up_at - time.monotonic()))
            if first:
                logger.info("camera %s: stopped", self.name)
        return self.let_go

    @property
    def let_go(self) -> bool:
        """Whether every capture has ended, once it was stopped."""
        with self._changed:
            return not self._still_stuck() and (self._attempt is None or self._attempt.ended.is_set())

    def latest(self, after: int = 0) -> CapturedFrame | None:
        """The newest frame when its number is above ``after``, else None. Never waits."""
        newest = self._newest
        return newest if newest is not None and newest.number > after else None

    def status(self) -> CameraStatus:
        """What it is doing now."""
        with self._changed:
            return CameraStatus(
                name=self.name,
                source=shown(self._source),
                state=self._state,
                since=self._since,
                retry_in=max(0.0, self._retry_at - time.monotonic()) if self._state == "retrying" else None,
                frames=self._newest.number if self._newest else 0,
                damaged=self._damaged,
                dropped=self._dropped,
                connects=self._connects,
                failures=self._failures,
                last_error=self._last_error,
            )

    # The supervising thread.

    def _supervise(self) -> None:
        with self._changed:
            while not self._stopping:
                try:
                    self._enter("connecting")
                    attempt = _Attempt(time.monotonic() + self._patience.first_frame)
                    capture = partial(self._capture, attempt)
                    threading.Thread(target=capture, name=f"capture {self.name}", daemon=True).start()
                    self._attempt = attempt
                    self._watch(attempt)
                except Exception as error:  # no thread is to be had: one camera's trouble, and not for ever
                    self._note_failure(f"it cannot be watched ({type(error).__name__}: {error})")
                if not self._stopping:
                    self._wait_to_retry()
            self._enter("stopped")

    def _watch(self, attempt: _Attempt) -> None:
        """Return when the attempt is over: by itself, by its silence, or because the camera stops."""
        while not self._stopping and not attempt.ended.is_set():
            patience = attempt.deadline - time.monotonic()
            if patience > 0:
                self._changed.wait(patience)
                continue
            silence = self._patience.next_frame if attempt.live else self._patience.first_frame
            attempt.error = (
                f"no frame for {silence:g} s: check the camera, its cable and the network; for one that sends rarely, "
                "give it more patience"
            )
            attempt.given_up.set()
            self._enter("stalled")
            self._note_failure(attempt.error)
            self._changed.wait_for(lambda: self._stopping or attempt.ended.is_set(), self._patience.release)
            if not attempt.ended.is_set():
                self._stuck.append(attempt)
            return
        attempt.given_up.set()
        if not self._stopping:
            self._note_failure(attempt.error)

    def _wait_to_retry(self) -> None:
        wait = self._backoff.next()
        self._retry_at = time.monotonic() + wait
        self._enter("retrying")
        self._changed.wait_for(lambda: self._stopping, wait)
        if len(self._still_stuck()) >= MAX_STUCK and not self._stopping:
            self._last_error = (
                f"{MAX_STUCK} captures are stuck in the camera's driver: unplug the camera and plug it in "
                "again, or restart this program"
            )
            self._enter("stalled")
            logger.error("camera %s: %s", self.name, self._last_error)
            self._changed.wait_for(lambda: self._stopping or len(self._still_stuck()) < MAX_STUCK)

    def _still_stuck(self) -> list[_Attempt]:
        self._stuck = [attempt for attempt in self._stuck if not attempt.ended.is_set()]
        return self._stuck

    def _note_failure(self, error: str) -> None:
        self._failures += 1
        self._last_error = error
        if self._away is None:
            self._away = (time.monotonic(), self._failures - 1)
            longest = self._backoff.longest
            logger.warning("camera %s: away: %s. Trying again within %g s", self.name, error, longest)

    def _enter(self, state: CameraState) -> None:
        self._state = state
        self._since = datetime.now(UTC)

    # The capturing thread, one for each attempt.

    def _capture(self, attempt: _Attempt) -> None:
        try:
            self._read(attempt)
            error = "the source ended"
        except (CaptureError, ValueError) as reason:
            error = str(reason)
        except Exception as reason:  # a driver's surprise must not end the camera
            error = f"{type(reason).__name__}: {reason}"
        with self._changed:
            if not attempt.given_up.is_set():
                attempt.error = redact(error, self._source)
            attempt.ended.set()
            self._changed.notify_all()

    def _read(self, attempt: _Attempt) -> None:
        start: float | None = None
        with closing(self._frames()) as frames:
            for arrival in frames:
                if attempt.given_up.is_set():
                    return
                match arrival:
                    case Grabbed():
                        start, now = self._until_due(attempt, arrival.due, start)
                        if attempt.given_up.is_set():
                            return
                        self._take(attempt, arrival, now)
                    case Damaged(why):
                        self._note_damaged(attempt, why)
                    case Late():
                        self._note_late(attempt)
                    case Pending(why):
                        self._note_blind(attempt, why)
                    case Waiting(why):
                        self._note_waiting(attempt, why)

    def _until_due(self, attempt: _Attempt, due: float | None, start: float | None) -> tuple[float, float]:
        """Wait until a frame is to be shown. Returns when the frames began, and the time now."""
        now = time.monotonic()
        start = now if start is None else start
        if due is not None:
            early = start + due - now
            if early > 0:
                attempt.deadline = now + early + self._patience.next_frame
                attempt.given_up.wait(early)
            elif early < -1:
                start -= early  # this machine slept, or is too slow: go on from here rather than rush
            now = time.monotonic()
        return start, now

    def _take(self, attempt: _Attempt, grabbed: Grabbed, now: float) -> None:
        attempt.deadline = now + self._patience.next_frame
        if self._throttle is not None and not self._throttle.admits(now):
            attempt.picture_at = now
            return
        try:
            image = self._framing.of(grabbed.image())
        except DamagedError as error:
            self._note_damaged(attempt, str(error))
        else:
            self._hand_out(attempt, image, now, grabbed.came)

    def _note_damaged(self, attempt: _Attempt, why: str) -> None:
        with self._changed:
            if attempt.given_up.is_set():
                return
            self._damaged += 1
            if self._damage.note(True) == "many":
                self._last_error = f"many frames come damaged: {why}"
                logger.warning("camera %s: %s", self.name, self._last_error)
        if self._on_damaged is not None:
            self._on_damaged(why)
        self._note_blind(attempt, why)

    def _note_late(self, attempt: _Attempt) -> None:
        now = time.monotonic()
        with self._changed:
            if attempt.given_up.is_set():
                return
            self._dropped += 1
            if self._lateness.note(True) == "many" and now - self._late_told >= LATE_AGAIN_S:
                self._late_told, self._last_error = now, LATE
                logger.warning("camera %s: %s", self.name, LATE)
        if self._on_late is not None:
            self._on_late()
        self._note_blind(attempt, LATE)

    def _note_blind(self, attempt: _Attempt, why: str) -> None:
        """Something came, so the connection is good; but when that goes on without a picture, it is told."""
        now = time.monotonic()
        with self._changed:
            if attempt.given_up.is_set():
                return
            attempt.deadline = now + (self._patience.next_frame if attempt.live else self._patience.first_frame)
            blind_s = now - attempt.picture_at
            if blind_s >= self._patience.blind:
                raise CaptureError(why)
            if blind_s < self._patience.picture:
                return
            self._last_error = why
            if not attempt.blind:
                attempt.blind = True
                if attempt.live:
                    self._enter("stalled")
                logger.warning("camera %s: it sends, but there is no picture: %s", self.name, why)

    def _note_waiting(self, attempt: _Attempt, why: str) -> None:
        """It is there, so there is nothing to be impatient about."""
        now = time.monotonic()
        with self._changed:
            if attempt.given_up.is_set():
                return
            attempt.deadline, attempt.picture_at = now + self._patience.next_frame, now
            if not attempt.live:
                attempt.live = True
                self._begin_live(why)
                self._changed.notify_all()
            if self._state != "waiting":
                self._enter("waiting")
            attempt.blind = False

    def _hand_out(self, attempt: _Attempt, image: Image, captured_at: float, came: float | None) -> None:
        with self._changed:
            if attempt.given_up.is_set():
                return
            if not attempt.live:
                attempt.live = True
                height, width = image.shape[:2]
                self._begin_live(f"{width}×{height}")
                self._changed.notify_all()  # the watchdog has less patience from now on
            elif attempt.blind:
                self._enter("live")
                logger.info("camera %s: pictures again after %.0f s", self.name, captured_at - attempt.picture_at)
            elif self._state == "waiting":
                self._enter("live")
            attempt.blind, attempt.picture_at = False, captured_at
            if self._damage.note(False) == "over":
                logger.info("camera %s: frames come whole again", self.name)
            self._lateness.note(False)
            number = self._newest.number + 1 if self._newest else 1
            frame = self._newest = CapturedFrame(number, image, captured_at, came)
        if self._on_frame is not None:
            self._on_frame(frame)

    def _begin_live(self, how: str) -> None:
        self._connects += 1
        self._backoff.reset()
        self._enter("live")
        if self._away is None:
            logger.info("camera %s: live, %s", self.name, how)
        else:
            lost_at, failures = self._away
            logger.info(
                "camera %s: live again after %.0f s and %d failures, %s",
                self.name,
                time.monotonic() - lost_at,
                self._failures - failures,
                how,
            )
        self._away = None
