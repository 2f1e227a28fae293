"""Packets of video to whole frames: FFmpeg conceals damage, so it is asked, and what builds on damage is left out."""

from __future__ import annotations

from collections.abc import Iterator

import av.error
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from server.cameras.arrivals import Damaged, Nothing, Pending
from server.cameras.ffmpeg import Said, check_size

NO_KEY_FRAME = "no key frame yet: shorten the camera's I-frame interval"
UNDECODABLE = "what comes cannot be decoded: set the camera to plain H.264, H.265 or MJPEG"
LOST = "packets were lost on the way: check the network and its cables, or lower the camera's bit rate"
BROKEN = "the video is damaged: check the network and its cables, or the file"
BUILDS_ON_DAMAGE = "it builds on a damaged frame, until the next key frame: shorten the camera's I-frame interval"

_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode", "enable_er": "1"}


def whole_frames(
    container: InputContainer, stream: VideoStream, said: Said, max_pixels: int
) -> Iterator[VideoFrame | Damaged | Pending | Nothing]:
    """Decode a stream. At least one thing for each packet of the container, so that a reader can stop at any time.

    Nothing before the first key frame is whole, nor from a damaged frame on to the next key frame. Damage is what
    FFmpeg calls so: an RTP packet missing, an error of the decoder, a frame it marked. The decoder alone misses one
    lost packet in ten, where what is left of a slice happens to be readable.

    Raises:
        CaptureError: the frames are larger than ``max_pixels``.
        av.error.FFmpegError: reading failed.
    """
    context = stream.codec_context
    context.options = _STRICT | {"max_pixels": str(max_pixels)}
    context.thread_type, context.thread_count = "NONE", 1  # see listening(); frame threads would hold frames back, too
    begun = whole = key_seen = False
    said.take()
    for packet in container.demux():
        if packet.stream_index != stream.index:
            yield Nothing()
            continue
        key_seen = key_seen or packet.is_keyframe
        lost = "RTP: missed" in said.take()
        damage = LOST if lost else ""
        frames: list[VideoFrame] = []
        if not lost:
            try:
                frames = [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]
            except EOFError:
                return
            except av.error.FFmpegError:
                damage = BROKEN
            check_size(said.take(), max_pixels)
        if damage or any(frame.is_corrupt for frame in frames):
            whole = False
            context.flush_buffers()
            if begun:
                yield Damaged(damage or BROKEN)
            else:
                yield Pending(UNDECODABLE if key_seen else NO_KEY_FRAME)
            continue
        for frame in frames:
            key_seen = key_seen or frame.key_frame
            whole = whole or frame.key_frame or (not key_seen and frame.pict_type == PictureType.I)
            if whole:
                begun = True
                yield frame
        if whole and frames:
            continue
        if whole or not packet.size:
            yield Nothing()
        elif begun:
            yield Damaged(BUILDS_ON_DAMAGE)
        else:
            yield Pending(NO_KEY_FRAME)
