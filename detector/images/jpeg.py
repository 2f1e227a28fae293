"""JPEG, in this process: libjpeg-turbo by its strict interface, which refuses whatever libjpeg itself complains of.

libjpeg bounds neither the number of scans nor what a file may say around the picture, so the markers are walked first.
In a file that is free of complaints libjpeg sees the very same markers: garbage between them, which two parsers could
step over differently, is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import simplejpeg

from detector.errors import ImageError
from detector.images.orientation import orientation, upright
from detector.images.pixels import BGRImage, check_size

MAX_SCANS = 32
"""Each costs a pass over all pixels. Encoders make 10 of them, the thriftiest (mozjpeg) at most about 20."""

MAX_SEGMENTS = 1000
"""Before, between and behind scans: profiles, thumbnails, tables."""

_START, _END, _SCAN, _EXIF = 0xD8, 0xD9, 0xDA, 0xE1
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)
"""Huffman tables, a reserved marker and arithmetic conditioning lie among the markers that start a frame."""

_MARKER = re.compile(rb"\xff+([^\xff\x00])")
_END_OF_SCAN = re.compile(rb"\xff[^\xff\x00\xd0-\xd7]")
"""In a scan, FF 00 is a value and FF D0 to FF D7 are places to start again. Written so that Python looks for the one
byte first: with FF+ it takes 50 times as long."""

_PADDED = "extraneous bytes before marker 0xd9"


@dataclass(frozen=True)
class Markers:
    """What a walk over a file's markers found. ``end``: where the end mark begins."""

    orientation: int
    end: int


def decode_jpeg(data: bytes, max_pixels: int) -> BGRImage:
    """Decode a JPEG, turned upright; CMYK as Adobe writes it (inverted).

    Raises:
        ImageError: damaged by libjpeg's own word, or more than is taken.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        check_size(int(width), int(height), max_pixels)
        markers = walk(data)
        stored = _decoded(data, markers)
    except (ValueError, KeyError) as error:
        raise ImageError(
            f"the JPEG picture is incomplete or damaged ({_sentence(error)}): send the whole file"
        ) from error
    return np.asarray(upright(stored, markers.orientation), np.uint8)


def walk(data: bytes) -> Markers:
    """Step from marker to marker, to the end mark.

    Raises:
        ImageError: too many scans or segments, or a kind of JPEG that no camera writes.
        ValueError: there is something else where a marker must be, or no end mark.
    """
    position, scans, turned = 2, 0, 1
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.match(data, position)
        if found is None:
            raise ValueError("No marker where one must be")
        marker, position = found[1][0], found.end()
        if marker == _END:
            return Markers(turned, found.start())
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or 0xD0 <= marker <= _START:
            raise ValueError(f"Marker 0x{marker:02x} where none may be")
        if 0xC0 <= marker <= 0xCF and marker not in (_BASELINE, _EXTENDED, _PROGRESSIVE, *_NOT_A_FRAME):
            raise ImageError("the JPEG picture is lossless, hierarchical or arithmetic-coded: save it as plain JPEG")
        if marker == _EXIF and turned == 1 and data[position + 2 : position + 8] == b"Exif\0\0":
            turned = orientation(data[position + 8 : position + length])
        position += length
        if marker == _SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise ImageError(f"the JPEG picture has more than {MAX_SCANS} scans: save it as plain JPEG")
            end = _END_OF_SCAN.search(data, position)
            if end is None:
                raise ValueError("No end mark")
            position = end.start()
    raise ImageError(
        f"the JPEG picture has more than {MAX_SEGMENTS} segments: save it without what is beside the picture"
    )


def _decoded(data: bytes, markers: Markers) -> BGRImage:
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "BGR"), np.uint8)
    except ValueError as error:
        # Some cameras fill a frame up with zeros before its end mark. Anything but zeros would be pixels left over.
        if _PADDED not in str(error) or data[markers.end - 1]:
            raise
        return np.asarray(simplejpeg.decode_jpeg(_without_padding(data, markers.end), "BGR"), np.uint8)


def _without_padding(data: bytes, end: int) -> bytes:
    picture = data[:end].rstrip(b"\0")
    stuffed = b"\0" if picture.endswith(b"\xff") else b""
    return picture + stuffed + b"\xff\xd9"


def _sentence(error: Exception) -> str:
    return str(error).removeprefix("Corrupt JPEG data: ")
