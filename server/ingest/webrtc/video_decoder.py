"""Encoded video frames in, pictures out: bounded in size, and never a picture that leans on a damaged one.

Decoders conceal what is missing and go on; what comes out shows smears that an inspection would call a defect. So the
first error ends a decoder, and nothing more is decoded until a frame that needs none before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import av
from av.video.codeccontext import VideoCodecContext

DECODERS = {"VP8": "libvpx", "H264": "h264"}
"""FFmpeg's own decoder of VP8 shows a key frame of which half is missing as if it were whole; libvpx does not."""

STRICT = "crccheck+bitstream+buffer+explode"
VP8_START_CODE = b"\x9d\x01\x2a"


class DamagedFrame(Exception):
    """A frame that must not be inspected; says why in a sentence for the operator."""


class VideoDecoder:
    """Decodes one sender's video. Used by one thread.

    Args:
        max_pixels: of a picture; a larger one is refused before anything is made for it.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._codec = ""
        self._context: VideoCodecContext | None = None

    def decode(self, codec: str, data: bytes, timestamp: int) -> Sequence[av.VideoFrame]:
        """The pictures that a frame completes: one, as a rule.

        Args:
            codec: ``VP8`` or ``H264``, the latter with start codes.
            data: the whole frame.
            timestamp: goes through to the pictures.

        Raises:
            DamagedFrame: it is damaged, too large, or leans on one that was. Ask the sender for a key frame.
        """
        codec = codec.upper()
        if codec != self._codec:
            self._codec, self._context = codec, None
        if is_keyframe(codec, data):
            self._check_size(codec, data)
        elif self._context is None:
            raise DamagedFrame("what this video frame builds on was damaged: waiting for the next key frame")
        if self._context is None:
            self._context = self._new_context(codec)
        packet = av.Packet(data)
        packet.pts = timestamp
        try:
            frames: Sequence[av.VideoFrame] = self._context.decode(packet)
        except av.FFmpegError as error:
            self._context = None
            raise DamagedFrame(
                f"the video frame is damaged, or larger than {self._max_pixels / 1e6:g} megapixels"
            ) from error
        if any(frame.is_corrupt for frame in frames):
            self._context = None
            raise DamagedFrame("the video frame is damaged")
        return frames

    def _new_context(self, codec: str) -> VideoCodecContext:
        context = av.CodecContext.create(DECODERS[codec], "r")
        assert isinstance(context, VideoCodecContext)
        context.options = {"err_detect": STRICT, "max_pixels": str(self._max_pixels)}
        return context

    def _check_size(self, codec: str, data: bytes) -> None:
        """libvpx makes its pictures before FFmpeg can say how large they may be, so a VP8 key frame is measured first,
        by the very bytes libvpx reads: they stand at a fixed place."""
        if codec != "VP8":
            return
        size = vp8_size(data)
        if size is None or size[0] * size[1] > self._max_pixels:
            self._context = None
            what = "is damaged" if size is None else f"is {size[0]}x{size[1]}"
            raise DamagedFrame(f"the video frame {what}; at most {self._max_pixels / 1e6:g} megapixels are taken")


def vp8_size(keyframe: bytes) -> tuple[int, int] | None:
    """Width and height in the header of a VP8 key frame (RFC 6386, 9.1); ``None`` where there is no such header."""
    if len(keyframe) < 10 or keyframe[3:6] != VP8_START_CODE:
        return None
    width, height = (int.from_bytes(keyframe[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height


def is_keyframe(codec: str, data: bytes) -> bool:
    """Whether an encoded frame (VP8, or H264 with start codes) can be decoded without the frames before it."""
    if codec.upper() == "VP8":
        return bool(data) and not data[0] & 1
    start = data.find(b"\0\0\1")
    while 0 <= start < len(data) - 3:
        if data[start + 3] & 0x1F == 5:
            return True
        start = data.find(b"\0\0\1", start + 3)
    return False
