"""Gives aiortc's video receiver a jitter buffer that releases at the marker bit, and a bounded, strict decoder.

Fits aiortc 1.16 (``RTCRtpReceiver`` has no public door for either). Version, attributes and signatures are
checked when this module is imported; with any other aiortc the receiver stays as it is, about one frame
interval slower, believing what its decoders make of damage, and one warning says so.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Callable
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpreceiver import RTCRtpReceiver, decoder_worker
from aiortc.rtp import RtpPacket

from server.ingest.webrtc.decoder_queue import DecoderQueue, KeyframeRequests, Task
from server.ingest.webrtc.marker_bit_release import MarkerBitJitterBuffer
from server.ingest.webrtc.video_decoder import DamagedFrame, VideoDecoder

logger = logging.getLogger("defectvision.webrtc")

FITS = "1.16"
JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
DECODER_QUEUE = "_RTCRtpReceiver__decoder_queue"
DECODER_ERROR = "_RTCRtpReceiver__decoder_error"
CODECS = "_RTCRtpReceiver__codecs"


def misfit(installed: str, receiver: object) -> str | None:
    """Why an aiortc version and a new video receiver of it cannot be adapted; ``None`` when they can."""
    if installed.split(".")[:2] != FITS.split("."):
        return f"aiortc {installed} is installed, made for {FITS}"
    expected: dict[str, type[Any]] = {
        JITTER_BUFFER: JitterBuffer,
        DECODER_QUEUE: queue.Queue,
        DECODER_ERROR: threading.Event,
        CODECS: dict,
    }
    for name, kind in expected.items():
        if not isinstance(getattr(receiver, name, None), kind):
            return f"RTCRtpReceiver.{name} is not a {kind.__name__}"
    if list(inspect.signature(JitterBuffer.add).parameters) != ["self", "packet"]:
        return "JitterBuffer.add takes other arguments"
    if list(inspect.signature(decoder_worker).parameters)[:3] != ["loop", "input_q", "output_q"]:
        return "decoder_worker takes other arguments"
    packet = RtpPacket()
    for name in ("payload_type", "marker", "sequence_number", "timestamp", "payload"):
        if not hasattr(packet, name):
            return f"RtpPacket has no {name}"
    return None


def _check() -> str | None:
    try:
        return misfit(version("aiortc"), RTCRtpReceiver("video", SimpleNamespace(state="new")))
    except Exception as error:  # whatever another aiortc raises here, the stock receiver still works
        return f"{type(error).__name__}: {error}"


MISFIT = _check()
"""Why the installed aiortc is left as it is, or ``None``."""

if MISFIT is not None:
    logger.warning("WebRTC frames come one frame interval late, unbounded in size and damage is not seen: %s", MISFIT)


def adapt(receiver: RTCRtpReceiver, failed: Callable[[str], None], max_pixels: int) -> bool:
    """Adapt one video receiver that has its track, before it starts to receive. On the event loop.

    Args:
        receiver: of the video track.
        failed: told on the event loop of each frame that came and must not be inspected, and why.
        max_pixels: of a picture; larger ones are not decoded.

    Returns:
        whether it was adapted.
    """
    if MISFIT is not None:
        return False
    codecs = getattr(receiver, CODECS)
    setattr(receiver, JITTER_BUFFER, MarkerBitJitterBuffer(codecs))
    seat = DecoderSeat(getattr(receiver, DECODER_ERROR), receiver.track._queue, failed, max_pixels)
    setattr(receiver, DECODER_QUEUE, seat)
    return True


class DecoderSeat:
    """Stands where aiortc has the unbounded ``queue.Queue`` between its receiver and its decoder thread.

    aiortc's thread asks it for a first frame, and gets none before the end: the decoding is done in here.
    """

    def __init__(
        self,
        keyframe_wanted: threading.Event,
        pictures: asyncio.Queue[Any],
        failed: Callable[[str], None],
        max_pixels: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._keyframes = KeyframeRequests(keyframe_wanted)
        self._waiting = DecoderQueue(self._keyframes, failed)
        self._decoder = VideoDecoder(max_pixels)
        self._pictures = pictures
        self._failed = failed
        self._taken = threading.Event()
        self._ended = False

    def put(self, task: Task | None) -> None:
        """A frame from aiortc's receiver, on the event loop, which waits for the thread once ``None`` has ended it."""
        if task is None:
            self._ended = True
            self._taken.set()
        self._waiting.put(task)

    def get(self) -> None:
        """Decode, in aiortc's thread, until the end."""
        while (task := self._waiting.get()) is not None and not self._ended:
            codec, frame = task
            try:
                for picture in self._decoder.decode(codec.name, frame.data, frame.timestamp):
                    self._hand_over(self._pictures.put_nowait, picture)
            except DamagedFrame as error:
                self._keyframes.ask()
                self._hand_over(self._failed, str(error))

    def _hand_over(self, take: Callable[[Any], None], what: Any) -> None:
        """Have the event loop take something, and wait until it has: pictures are large, and a loop that is busy for a
        second must not find a hundred of them."""

        def take_it() -> None:
            take(what)
            self._taken.set()

        self._taken.clear()
        if self._ended:  # looked at after clearing: whoever ends it sets the one, then the other
            return
        self._loop.call_soon_threadsafe(take_it)
        self._taken.wait()
