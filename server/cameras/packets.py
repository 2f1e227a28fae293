"""Packets of video to whole frames: FFmpeg conceals damage, so it is asked, and what builds on damage is left out."""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.error
from av import Packet
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from server.cameras.arrivals import Damaged, Late, Nothing, Pending
from server.cameras.ffmpeg import Said, check_size
from server.cameras.lag import CatchUp

NO_KEY_FRAME = "no key frame yet: shorten the camera's I-frame interval"
UNDECODABLE = "what comes cannot be decoded: set the camera to plain H.264, H.265 or MJPEG"
LOST = "packets were lost on the way: check the network and its cables, or lower the camera's bit rate"
BROKEN = "the video is damaged: check the network and its cables, or the file"
BUILDS_ON_DAMAGE = "it builds on a damaged frame, until the next key frame: shorten the camera's I-frame interval"

_LOST = "RTP: missed"
_IN_SLICES = ("h264", "hevc")
_MAX_PARTS = 16
_STRICT = {"err_detect": "explode"}
_ABORTS = ("mpeg4", "h263", "h263p", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "rv10", "rv20")
"""Of these FFmpeg's decoders end the process on some damaged packets if they are told to be strict (an assertion). They
come from files alone (:data:`server.cameras.ffmpeg.LIVE_DECODERS`); what of them is damaged may be shown."""


Decoded = VideoFrame | Damaged | Late | Pending | Nothing


def whole_frames(
    container: InputContainer, stream: VideoStream, said: Said, max_pixels: int, catch_up: CatchUp | None = None
) -> Iterator[Decoded]:
    """Decode a stream. At least one thing for each packet of the container, so that a reader can stop at any time.

    Nothing before the first key frame is whole, nor from a damaged frame on to the next key frame. Damage is what
    FFmpeg calls so: an RTP packet missing, an error of the decoder, a frame it marked. The decoder alone misses one
    lost packet in ten, where what is left of a slice happens to be readable.

    Args:
        container, stream: what to decode, and which of its streams.
        said: of this thread.
        max_pixels: of a frame.
        catch_up: of a live stream: which packets are too late to be decoded; None: none is.

    Raises:
        CaptureError: the frames are larger than ``max_pixels``.
        av.error.FFmpegError: reading failed.
    """
    context = stream.codec_context
    strict = {} if context.name in _ABORTS else _STRICT
    context.options = {"enable_er": "1", "max_pixels": str(max_pixels)} | strict
    context.thread_type, context.thread_count = "NONE", 1  # see listening(); frame threads would hold frames back, too
    begun = whole = key_seen = leaves_out = False
    parts: list[Packet[Stream]] = []  # of a key frame that may have come in several

    def unusable(why: str) -> Damaged | Pending:
        return Damaged(why) if begun else Pending(UNDECODABLE if key_seen else NO_KEY_FRAME)

    lost = _LOST in said.take()  # while it was opened: the first packet may be one of those read then
    for packet in container.demux():
        if packet.stream_index != stream.index:
            yield Nothing()
            continue
        if catch_up is not None and packet.size and catch_up.drops(_taken_at(packet), packet.is_keyframe):
            context.flush_buffers()
            said.take()
            leaves_out, lost, whole, parts = True, False, False, []
            yield Late()
            continue
        key_seen = key_seen or packet.is_keyframe
        if parts and not (packet.is_keyframe and parts[0].pts in (None, packet.pts) and len(parts) < _MAX_PARTS):
            parts = []
            yield unusable(BROKEN)
        lost = _LOST in said.take() or lost
        damage = LOST if lost else ""
        frames: list[VideoFrame] = []
        if not lost:
            try:
                frames = context.decode(_joined([*parts, packet]) if parts else packet)
            except EOFError:
                return
            except av.error.FFmpegError:
                damage = BROKEN
            check_size(said.take(), max_pixels)
        was_lost, lost = lost, False
        if damage or any(frame.is_corrupt for frame in frames):
            whole = leaves_out = False
            context.flush_buffers()
            if not was_lost and packet.is_keyframe and context.name in _IN_SLICES:
                parts.append(packet)
                yield Nothing()
            else:
                parts = []
                yield unusable(damage or BROKEN)
            continue
        parts = []
        for frame in frames:
            key_seen = key_seen or frame.key_frame
            whole = whole or frame.key_frame or (not key_seen and frame.pict_type == PictureType.I)
            if whole:
                begun, leaves_out = True, False
                yield frame
        if whole and frames:
            continue
        if whole or leaves_out or not packet.size:  # leaves_out: the decoder holds the key frame back for a moment
            yield Nothing()
        elif begun:
            yield Damaged(BUILDS_ON_DAMAGE)
        else:
            yield Pending(NO_KEY_FRAME)


def _taken_at(packet: Packet[Stream]) -> float | None:
    """On the camera's clock, seconds. By the order of decoding, which never goes back, where it is known."""
    stamp = packet.pts if packet.dts is None else packet.dts
    return None if stamp is None or packet.time_base is None else stamp * float(packet.time_base)


def _joined(parts: list[Packet[Stream]]) -> Packet[Stream]:
    """One packet of several. A sender that repeats the parameters before each slice of a key frame, as GStreamer's
    does, makes FFmpeg take each slice for a frame of its own, and its decoder calls that one damaged, which it is."""
    joined: Packet[Stream] = av.Packet(b"".join(bytes(part) for part in parts))
    joined.pts, joined.dts, joined.time_base = parts[-1].pts, parts[-1].dts, parts[-1].time_base
    joined.is_keyframe = True
    return joined
