"""The decoder: bounded by what it reads itself, and nothing after damage until a key frame."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from server.ingest.webrtc.video_decoder import DamagedFrame, VideoDecoder, is_keyframe, vp8_size

ENCODERS = {"VP8": "libvpx", "H264": "libx264"}
OPTIONS = {
    "VP8": {"deadline": "realtime", "lag-in-frames": "0"},
    "H264": {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"},
}
both = pytest.mark.parametrize("codec", ENCODERS)


def encoded(codec: str, count: int, size: tuple[int, int] = (160, 120), *, key_every: int = 1000) -> list[bytes]:
    """A picture that moves, frame by frame."""
    encoder = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base, encoder.gop_size = "yuv420p", Fraction(1, 30), key_every
    encoder.options, encoder.thread_count = OPTIONS[codec], 1
    picture = np.random.default_rng(0).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    picture = picture.repeat(8, 0).repeat(8, 1)
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(np.roll(picture, 3 * number, 1), format="bgr24")
        frame.pts = number
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    assert len(packets) == count
    return packets


@both
def test_whole_frames_are_decoded_at_once(codec: str) -> None:
    decoder = VideoDecoder(1_000_000)
    for number, data in enumerate(encoded(codec, 8)):
        (picture,) = decoder.decode(codec, data, number * 3000)
        assert (picture.width, picture.height, picture.pts) == (160, 120, number * 3000)


@both
def test_after_damage_nothing_is_shown_until_a_key_frame(codec: str) -> None:
    """The damage was in one frame, the smears are in all that follow."""
    frames = encoded(codec, 12, key_every=6)
    assert [number for number, data in enumerate(frames) if is_keyframe(codec, data)] == [0, 6]
    decoder, shown = VideoDecoder(1_000_000), []
    for number, data in enumerate(frames):
        try:
            shown += [number for _ in decoder.decode(codec, data[: len(data) // 2] if number == 0 else data, number)]
        except DamagedFrame as error:
            assert "damaged" in str(error)
    assert shown == [6, 7, 8, 9, 10, 11]


@both
def test_the_first_frame_must_be_a_key_frame(codec: str) -> None:
    decoder = VideoDecoder(1_000_000)
    _, second = encoded(codec, 2)
    with pytest.raises(DamagedFrame, match="key frame"):
        decoder.decode(codec, second, 0)


@both
def test_a_picture_over_the_limit_is_never_made(codec: str) -> None:
    """One of 8192x8192 took 700 MB. The limit holds before, by what the decoder reads, so a small one shows it."""
    decoder = VideoDecoder(160 * 120 - 1)
    with pytest.raises(DamagedFrame, match="megapixels"):
        decoder.decode(codec, encoded(codec, 1)[0], 0)
    small = encoded(codec, 1, (80, 64))[0]
    assert [(picture.width, picture.height) for picture in decoder.decode(codec, small, 0)] == [(80, 64)]


def test_a_vp8_header_alone_gets_nothing_made() -> None:
    frame = bytearray(encoded("VP8", 1)[0])
    frame[6:10] = (8192).to_bytes(2, "little") * 2
    with pytest.raises(DamagedFrame, match="8192x8192"):
        VideoDecoder(16_000_000).decode("VP8", bytes(frame), 0)


@pytest.mark.parametrize("data", [b"", b"\x10", b"\x10\x02\x00\x9d\x01\x2a\x10\x00\x10", b"\x10" * 40])
def test_no_vp8_header_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedFrame):
        VideoDecoder(16_000_000).decode("VP8", data, 0)


def test_the_size_is_read_without_the_scale_bits() -> None:
    assert vp8_size(b"\x10\x02\x00\x9d\x01\x2a" + b"\xa0\x40\x78\xc0") == (160, 120)


@pytest.mark.parametrize(
    ("codec", "data", "key"),
    [
        ("VP8", b"\x10\x02\x00\x9d\x01\x2a", True),
        ("VP8", b"\x31\x02\x00", False),
        ("H264", b"\0\0\0\1\x67abc\0\0\0\1\x68d\0\0\0\1\x65pic", True),
        ("H264", b"\0\0\0\1\x41picture", False),
        ("H264", b"\0\0\0\1\x09\x10\0\0\0\1\x41picture", False),
        ("H264", b"\0\0\0\1", False),
    ],
)
def test_is_keyframe(codec: str, data: bytes, key: bool) -> None:
    assert is_keyframe(codec, data) is key
