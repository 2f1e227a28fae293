"""What a video decoder thread has still to do: bounded, and never a frame that would come out damaged."""

from __future__ import annotations

import queue
import threading
import time

from server.ingest.webrtc.marker_bit_release import Codec, CompleteFrame

LIMIT = 15
"""Encoded frames waiting for the decoder: half a second at 30 frames a second."""

ASK_AGAIN_AFTER = 0.5
"""Seconds between two requests for a keyframe, which is large: asking with every frame would starve the
stream."""

Task = tuple[Codec, CompleteFrame]


class DecoderQueue:
    """Stands where aiortc has an unbounded ``queue.Queue`` between its receiver and its decoder thread.

    A frame that follows a gap leans on a picture the decoder does not have; decoded, it shows smears that an
    inspection would call a defect. So after a gap, and at the start, frames wait for a keyframe and one is
    asked for. When the decoder cannot keep up, what waits is thrown away *before* it is decoded, and a
    keyframe is asked for too.

    ``put`` belongs to the event loop's thread, ``get`` to the decoder's.

    Args:
        keyframe_wanted: set to make aiortc ask the sender for a keyframe with the next packet.
    """

    def __init__(self, keyframe_wanted: threading.Event) -> None:
        self._keyframe_wanted = keyframe_wanted
        self._asked_at = float("-inf")
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._needs_keyframe = True

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
            self._needs_keyframe = True
        elif self._tasks.qsize() >= LIMIT:
            self._clear()
            self._needs_keyframe = True
        if self._needs_keyframe:
            if not is_keyframe(codec.name, frame.data):
                self._ask_for_keyframe()
                return
            self._needs_keyframe = False
        self._tasks.put((codec, frame))

    def _clear(self) -> None:
        while True:
            try:
                self._tasks.get_nowait()
            except queue.Empty:
                return

    def _ask_for_keyframe(self) -> None:
        now = time.monotonic()
        if now - self._asked_at >= ASK_AGAIN_AFTER:
            self._asked_at = now
            self._keyframe_wanted.set()


def is_keyframe(codec: str, data: bytes) -> bool:
    """Whether an encoded frame (VP8, or H264 with start codes) can be decoded without the frames before
    it."""
    if codec.upper() == "VP8":
        return not data[0] & 1
    start = data.find(b"\0\0\1")
    while 0 <= start < len(data) - 3:
        if data[start + 3] & 0x1F == 5:
            return True
        start = data.find(b"\0\0\1", start + 3)
    return False
