"""Gives aiortc's video receiver a jitter buffer that releases at the marker bit, and a bounded decoder queue.

Fits aiortc 1.16 (``RTCRtpReceiver`` has no public door for either). Version, attributes and signatures are
checked when this module is imported; with any other aiortc the receiver stays as it is, about one frame
interval slower, and one warning says so.
"""

from __future__ import annotations

import inspect
import logging
import queue
import threading
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpreceiver import RTCRtpReceiver, decoder_worker
from aiortc.rtp import RtpPacket

from server.ingest.webrtc.decoder_queue import DecoderQueue
from server.ingest.webrtc.marker_bit_release import MarkerBitJitterBuffer

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
    logger.warning("WebRTC frames come one frame interval later than they could: %s", MISFIT)


def adapt(receiver: RTCRtpReceiver) -> bool:
    """Adapt one video receiver, before it starts to receive.

    Returns:
        whether it was adapted.
    """
    if MISFIT is not None:
        return False
    codecs = getattr(receiver, CODECS)
    setattr(receiver, JITTER_BUFFER, MarkerBitJitterBuffer(codecs))
    setattr(receiver, DECODER_QUEUE, DecoderQueue(getattr(receiver, DECODER_ERROR)))
    return True
