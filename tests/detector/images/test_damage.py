"""Pictures that were damaged on their way, and pictures made to do harm: refused, quickly, and by name."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from detector import ImageError, images
from detector.images.jpeg import MAX_SCANS, MAX_SEGMENTS

WIDTH, HEIGHT = 160, 120

ANIMATED_PNG = base64.b85decode(
    "iBL{Q4GJ0x0000DNk~Le0000`0000$2m$~A00O0FVE_OC2w`JXOaK4?0ssI20P~HLZ~y=RB}qg<RCt{2!2t~b006?E_fKsP2NVDR00000000000000"
    "0@M1hb00Axp^d0~J02*dvR7?N>0096108jt`06+i$0000000001015yAJESe^0001HW@JHB00002c%1FeK@k8T48SnH^KTdz<1RD`+Bu(@*8$ra)-|"
    "kaSl6(wVO_(zhII|=8rC(eYgpH?u3=rnx`uTP>l)TItZP`;u&!ZU!@7ob4eJ`#HLPn`*RZZ(UBkMDbr%<F0zou8glYf)002ovPDHLkV1f"
)
"""Ended the process in OpenCV's reader of animations."""

TWO_SIZES = base64.b85decode(
    "|JeTk0EPeC07C!)0RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaL3!~hfk0RR9100000"
    "00000000000RO}Q6%YXd0000000000000000002s|G)qX2z>y30099J0RQg*8UMfl3kU#Y0Av9H5di<%00;pA002J#|Jncu0RaF2KL7v#0000000000"
    "000000000000000000000000000095l"
)
"""100×100 for who steps over the bytes behind its first marker, 32000×32000 for libjpeg."""


@cache
def picture() -> images.BGRImage:
    noise = np.random.default_rng(0).normal(0, 60, (HEIGHT, WIDTH, 3))
    return np.asarray(np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 4 + 128, 0, 255), np.uint8)


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", **{"quality": 85, **options})
    return file.getvalue()


def damaged_jpegs() -> Iterator[tuple[str, bytes]]:
    """Whole from their first mark to their last, with the middle gone in the ways that networks and cameras have."""
    for name, options in {
        "plain": {},
        "restart": {"restart_marker_blocks": 4},
        "progressive": {"progressive": True},
    }.items():
        whole = jpeg(**options)
        middle = len(whole) // 2
        yield f"{name}, bytes lost", whole[:middle] + whole[middle + 200 :]
        yield f"{name}, bytes zeroed", whole[:middle] + bytes(300) + whole[middle + 300 :]
        yield f"{name}, half of the next frame", whole[:middle] + whole[: middle + 100] + b"\xff\xd9"
        yield f"{name}, a packet twice", whole[: middle + 150] + whole[middle:]
        yield f"{name}, cut", whole[:middle] + b"\xff\xd9"


@pytest.mark.parametrize(
    ("name", "data"), list(damaged_jpegs()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_jpeg_with_its_middle_damaged_is_refused_by_libjpegs_own_word(name: str, data: bytes) -> None:
    assert data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    with pytest.raises(ImageError, match="incomplete or damaged"):
        images.decode(data)


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "part.jpg"
    path.write_bytes(next(damaged_jpegs())[1])
    with pytest.raises(ImageError, match=r"part\.jpg: the JPEG picture is incomplete or damaged \("):
        images.read(path)


@pytest.mark.parametrize("padding", [b"\0" * 4, b"\0" * 500, b"\xff" * 7])
def test_what_cameras_fill_a_frame_up_with_is_no_damage(padding: bytes) -> None:
    whole = jpeg()
    padded = whole[:-2] + padding + b"\xff\xd9" + b"what else was in the buffer"
    assert np.array_equal(images.decode(padded), images.decode(whole))
    with pytest.raises(ImageError, match="incomplete or damaged"):
        images.decode(whole[:-2] + b"\x12\x34" * 50 + b"\xff\xd9")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 20, "optimize": True}])
def test_jpegs_have_the_very_values_that_opencv_gives_them(options: dict[str, object]) -> None:
    """Both decode by libjpeg-turbo: what was measured and taught before holds."""
    data = jpeg(**options)
    assert np.array_equal(images.decode(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def test_two_parsers_never_have_two_opinions_of_a_size() -> None:
    with pytest.raises(ImageError, match=r"incomplete or damaged|32000×32000"):
        images.decode(TWO_SIZES)


def with_scans(count: int, *, progressive: bool) -> bytes:
    whole = jpeg(progressive=progressive)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * (count - whole.count(b"\xff\xda") + 1) + b"\xff\xd9"


@pytest.mark.parametrize("progressive", [True, False])
def test_scans_are_bounded(progressive: bool) -> None:
    """Each costs a pass over all pixels, and a thousand fit into 100 kB."""
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        images.decode(with_scans(MAX_SCANS + 1, progressive=progressive))
    assert with_scans(20, progressive=True).count(b"\xff\xda") == 20
    assert jpeg(progressive=True).count(b"\xff\xda") == 10, "what encoders make"


def test_segments_are_bounded_and_what_phones_append_is_not_looked_at() -> None:
    whole = jpeg()
    comment = b"\xff\xfe\x00\x04hi"
    with pytest.raises(ImageError, match=f"more than {MAX_SEGMENTS} segments"):
        images.decode(whole[:2] + comment * (MAX_SEGMENTS + 1) + whole[2:])
    film = b"\xff\xda" * 1000
    assert np.array_equal(images.decode(whole[:2] + comment * 100 + whole[2:] + film), images.decode(whole))


@pytest.mark.parametrize("frame", [0xC3, 0xC9, 0xCB])
def test_jpegs_that_no_camera_writes_are_refused(frame: int) -> None:
    with pytest.raises(ImageError, match=r"lossless, hierarchical or arithmetic|incomplete or damaged"):
        images.decode(jpeg().replace(b"\xff\xc0", bytes((0xFF, frame)), 1))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*beside: bytes) -> bytes:
    whole = images.encode_png(picture())
    return whole[:33] + b"".join(beside) + whole[33:]


@pytest.mark.parametrize(
    "beside",
    [
        [chunk(b"acTL", struct.pack(">II", 2, 0))],
        [chunk(b"fcTL", bytes(26))],
        [chunk(b"fdAT", bytes(100))],
    ],
)
def test_an_animated_png_is_refused(beside: list[bytes]) -> None:
    with pytest.raises(ImageError, match="animated"):
        images.decode(png(*beside))
    with pytest.raises(ImageError, match="animated"):
        images.decode(ANIMATED_PNG)


def test_an_animated_webp_is_refused() -> None:
    file = io.BytesIO()
    frames = [Image.fromarray(np.full((HEIGHT, WIDTH, 3), value, np.uint8)) for value in (0, 255)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated"):
        images.decode(file.getvalue())


def test_what_is_beside_the_pixels_of_a_png_never_reaches_its_decoder() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    beside = [
        chunk(b"zTXt", b"Comment\0\0" + bomb),
        chunk(b"iCCP", b"profile\0\0" + bomb),
        *[chunk(b"tEXt", b"a\0b")] * 5000,
    ]
    assert np.array_equal(images.decode(png(*beside)), picture())
    with pytest.raises(ImageError, match="incomplete or damaged"):
        images.decode(png(*[chunk(b"tEXt", b"")] * 100_001))


def test_a_png_whose_pixels_end_early_is_refused() -> None:
    """Each chunk is whole: only zlib's own stream is not."""
    rows = b"".join(b"\0" + row.tobytes() for row in picture()[:60])
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    for stream in (zlib.compress(rows), zlib.compress(rows * 2)[:2000]):
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
        with pytest.raises(ImageError, match="damaged"):
            images.decode(data)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_stream_takes_fewer_pixels_than_an_upload(format_: str) -> None:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, format_)
    with pytest.raises(ImageError, match=r"160×120.*0.01 megapixels"):
        images.decode(file.getvalue(), max_pixels=10_000)
    assert images.decode(file.getvalue(), max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)


def test_16_bits_that_a_camera_did_not_fill_are_refused_not_shown_black(tmp_path: Path) -> None:
    twelve_bits = (picture().astype(np.uint16) << 4) | 0xF
    for suffix in (".png", ".tiff"):
        data = cv2.imencode(suffix, twelve_bits)[1].tobytes()
        with pytest.raises(ImageError, match=r"nothing in it is brighter than 4095 of 65535.*10 or 12 bits"):
            images.decode(data, formats=images.FILE_FORMATS)
        filled = cv2.imencode(suffix, twelve_bits << 4)[1].tobytes()
        assert np.abs(images.decode(filled, formats=images.FILE_FORMATS).astype(int) - picture()).max() <= 1
    (mask := tmp_path / "mask.png").write_bytes(cv2.imencode(".png", twelve_bits)[1].tobytes())
    assert images.read_values(mask).max() == 4095


def bmp(**fields: int) -> bytes:
    data = bytearray(cv2.imencode(".bmp", picture())[1].tobytes())
    for name, value in fields.items():
        at = {"width": 18, "height": 22, "compression": 30, "pixels": 10}[name]
        data[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(data)


def test_bmps_from_the_top_are_read_and_what_they_may_hide_is_refused() -> None:
    assert np.array_equal(images.decode(bmp(height=-HEIGHT), formats=images.FILE_FORMATS), picture()[::-1])
    for fields, words in (
        ({"width": -WIDTH}, "-160×120"),
        ({"height": -(2**31)}, "160×2147483648"),
        ({"width": 16_000}, "incomplete or damaged"),
        ({"compression": 1}, "compressed"),
        ({"pixels": 0}, "incomplete or damaged"),
        ({"pixels": 2**32 - 1}, "incomplete or damaged"),
    ):
        with pytest.raises(ImageError, match=words):
            images.decode(bmp(**fields), formats=images.FILE_FORMATS)
