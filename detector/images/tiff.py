"""TIFF: its tags read by tifffile, its pixels by tifffile or, where they are packed in other ways, by OpenCV's libtiff.

OpenCV takes no notice of planes and of "white is zero" above 8 bits, and multiplies colours by alpha: it is only asked
for what it gets right. Meant for a process that may die of it.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG, SAMPLEFORMAT, TiffFile, TiffPage

from detector.errors import ImageError
from detector.images.orientation import ORIENTATION, upright
from detector.images.pixels import TakeSize, three_channels
from detector.images.raster import opencv

MAX_PAGES = 16
"""Of reduced size, beside the picture itself: thumbnails and pyramids."""

_REDUCED, _MASK = 1, 4
_EXTRA_SAMPLES, _PREMULTIPLIED_ALPHA, _ALPHA = 338, 1, 2
"""TIFF 6.0, section 18: the tag that says what a fourth channel is, and two of its values."""

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB
_BY_TIFFFILE = (COMPRESSION.NONE, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE)
_BY_OPENCV = (
    *_BY_TIFFFILE,
    COMPRESSION.LZW,
    COMPRESSION.PACKBITS,
    COMPRESSION.CCITTRLE,
    COMPRESSION.CCITT_T4,
    COMPRESSION.CCITT_T6,
)
_SAVE = "save it uncompressed, or with LZW or Deflate"


def read_tiff(data: bytes, take: TakeSize) -> NDArray[Any]:
    """The values of a TIFF's only picture, H×W×3 BGR of the type that is stored; 0 is black in all but floats.

    Raises:
        ImageError: damaged, or its tags say something that neither reader gets right; says what.
    """
    try:
        with TiffFile(io.BytesIO(data)) as tiff:
            page = _only_picture(tiff)
            take(page.imagewidth, page.imagelength)
            _check(page, len(data))
            return _by_tifffile(page) if _is_plain(page) else _by_opencv(page, data)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a hostile directory can make its reader fail in any way there is
        raise ImageError("the TIFF picture is incomplete or damaged: send the whole file") from error


def _only_picture(tiff: TiffFile) -> TiffPage:
    pages = [tiff.pages.get(number) for number in range(min(len(tiff.pages), MAX_PAGES + 1))]
    pictures = [page for page in pages if isinstance(page, TiffPage) and not page.subfiletype & (_REDUCED | _MASK)]
    if len(pages) > MAX_PAGES or len(pictures) != 1:
        raise ImageError(
            f"the TIFF file holds {len(tiff.pages)} pictures, and which one is meant cannot be known: save each as a "
            "file of its own"
        )
    return pictures[0]


def _check(page: TiffPage, size: int) -> None:
    if page.imagedepth != 1 or page.samplesperpixel > 4:
        raise ImageError(
            f"the TIFF picture has {page.samplesperpixel * page.imagedepth} channels: save it as grey or RGB"
        )
    if page.compression not in _BY_OPENCV:
        raise ImageError(f"the TIFF picture is compressed with {_name(page.compression)}, which is not read: {_SAVE}")
    strips = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    # Readers fill in what a directory leaves out, or points to outside of the file, and say nothing.
    if len(strips) != int(np.prod(page.chunked)) or not all(count and start + count <= size for start, count in strips):
        raise ImageError("the TIFF picture is incomplete or damaged: send the whole file")


def _is_plain(page: TiffPage) -> bool:
    """Whether it is of the kind that tifffile reads by itself, whatever the order of its values."""
    return (
        page.compression in _BY_TIFFFILE
        and page.bitspersample in (8, 16, 32, 64)
        and (page.photometric == _RGB and page.samplesperpixel >= 3)
        | (page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and page.samplesperpixel <= 2)
    )


def _by_tifffile(page: TiffPage) -> NDArray[Any]:
    if page.compression == COMPRESSION.NONE and sum(page.databytecounts) < page.nbytes:
        raise ImageError("the TIFF picture is incomplete or damaged: send the whole file")
    values = page.asarray()
    if page.samplesperpixel > 1 and page.planarconfig == PLANARCONFIG.SEPARATE:
        values = np.moveaxis(values, 0, -1)
    if page.photometric == _WHITE_IS_ZERO and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    turned = page.tags.valueof(ORIENTATION, default=1)
    return upright(three_channels(values), int(turned))


def _by_opencv(page: TiffPage, data: bytes) -> NDArray[Any]:
    if page.sampleformat != SAMPLEFORMAT.UINT or page.bitspersample > 16:
        raise ImageError(f"the TIFF picture ({_packed(page)}) is not read: save it with 8 or 16 bits a channel")
    deep = page.bitspersample > 8
    if deep and page.samplesperpixel > 1 and page.planarconfig == PLANARCONFIG.SEPARATE:
        raise ImageError(
            f"the TIFF picture stores its colours in planes, {_packed(page)}: save it interleaved (chunky)"
        )
    if deep and page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise ImageError(f"the TIFF picture is {_name(page.photometric)}, {_packed(page)}: save it as grey or RGB")
    values = opencv(_pointed_at(page, data))
    if values is None or sorted(values.shape[:2]) != sorted((page.imagelength, page.imagewidth)):
        raise ImageError(f"the TIFF picture ({_packed(page)}) is damaged or of a kind that is not read: {_SAVE}")
    if deep and page.photometric == _WHITE_IS_ZERO:
        # OpenCV puts the 10, 12 or 14 bits of a value in the upper part of 16.
        values = ((1 << page.bitspersample) - 1 << 16 - page.bitspersample) - values
    return values


def _pointed_at(page: TiffPage, data: bytes) -> bytes:
    """The file as OpenCV reads it right: the picture's directory the first one, and an alpha channel that says it is
    premultiplied, because it would multiply with it."""
    changed, order = bytearray(data), page.parent.byteorder
    if page.parent.tiff.is_bigtiff:
        struct.pack_into(f"{order}Q", changed, 8, page.offset)
    else:
        struct.pack_into(f"{order}I", changed, 4, page.offset)
    extra = page.tags.get(_EXTRA_SAMPLES)
    if extra is not None and page.extrasamples == (_ALPHA,):
        struct.pack_into(f"{order}H", changed, extra.valueoffset, _PREMULTIPLIED_ALPHA)
    return bytes(changed)


def _packed(page: TiffPage) -> str:
    return f"{page.bitspersample} bits, {_name(page.compression)}"


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))
