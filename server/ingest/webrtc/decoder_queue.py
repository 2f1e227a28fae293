"""What a video decoder thread has still to do: bounded, and never a frame that would come out damaged."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from server.ingest.webrtc.marker_bit_release import Codec, CompleteFrame
from server.ingest.webrtc.video_decoder import is_keyframe

LIMIT = 15
"""Encoded frames waiting for the decoder: half a second at 30 frames a second."""

ASK_AGAIN_AFTER = 0.5
"""Seconds between two requests for a keyframe, which is large: asking with every frame would starve the
stream."""

LOST = "packets of this video frame, or of one it builds on, were lost on the way: waiting for the next key frame"
TOO_FAST = "video frames come faster than they can be decoded: waiting for the next key frame"

Task = tuple[Codec, CompleteFrame]


class KeyframeRequests:
    """Asks the sender for a keyframe, not too often.

    Args:
        wanted: set to make aiortc ask with the next packet that comes.
    """

    def __init__(self, wanted: threading.Event) -> None:
        self._wanted = wanted
        self._asked_at = float("-inf")

    def ask(self) -> None:
        """Ask, unless that was done a moment ago. From any thread."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_AGAIN_AFTER:
            self._asked_at = now
            self._wanted.set()


class DecoderQueue:
    """Encoded frames on their way from aiortc's receiver to the decoder thread.

    A frame that follows a gap leans on a picture the decoder does not have; decoded, it shows smears that an
    inspection would call a defect. So after a gap, and at the start, frames wait for a keyframe and one is
    asked for. When the decoder cannot keep up, what waits is thrown away *before* it is decoded, and a
    keyframe is asked for too.

    ``put`` belongs to the event loop's thread, ``get`` to the decoder's.

    Args:
        keyframes: asked when one is needed.
        failed: told of each frame that came and cannot be decoded, and why.
    """

    def __init__(self, keyframes: KeyframeRequests, failed: Callable[[str], None]) -> None:
        self._keyframes = keyframes
        self._failed = failed
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._needs_keyframe: str | None = LOST

    def put(self, task: Task | None) -> None:
        """Add an encoded frame and those linked behind it; ``None`` ends the decoder thread at once."""
        if task is None:
            self._clear()
            self._tasks.put(None)
            return
        codec, frame = task
        while True:
            self._put(codec, frame)
            if frame.following is None:
                return
            # aiortc maps the timestamp of the first frame only: it knows of no others.
            step = (frame.following.rtp_timestamp - frame.rtp_timestamp) & 0xFFFFFFFF
            frame.following.timestamp = frame.timestamp + step
            frame = frame.following

    def get(self) -> Task | None:
        """The next frame to decode, when there is one; ``None`` when the thread shall end."""
        return self._tasks.get()

    def qsize(self) -> int:
        return self._tasks.qsize()

    def _put(self, codec: Codec, frame: CompleteFrame) -> None:
        if frame.after_gap:
            self._needs_keyframe = LOST
        elif self._tasks.qsize() >= LIMIT:
            for _ in range(self._clear()):
                self._failed(TOO_FAST)
            self._needs_keyframe = TOO_FAST
        if self._needs_keyframe is not None:
            if not is_keyframe(codec.name, frame.data):
                self._keyframes.ask()
                self._failed(self._needs_keyframe)
                return
            self._needs_keyframe = None
        self._tasks.put((codec, frame))

    def _clear(self) -> int:
        """Throw away what waits; how much that was."""
        for cleared in range(LIMIT + 1):
            try:
                self._tasks.get_nowait()
            except queue.Empty:
                return cleared
        return LIMIT + 1
