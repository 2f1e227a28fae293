"""Pictures in and out: the only room that turns bytes into pixels."""

import cv2

from detector.images.decoding import (
    FILE_FORMATS,
    FORMATS,
    SUFFIXES,
    decode,
    decode_values,
    is_jpeg,
    read,
    read_values,
    stored_orientation,
)
from detector.images.encoding import encode_jpeg, encode_png
from detector.images.orientation import upright
from detector.images.pixels import MAX_PIXELS, MAX_SIDE, MIN_SIDE, BGRImage
from detector.images.wall import telling

__all__ = [
    "FILE_FORMATS",
    "FORMATS",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_SIDE",
    "SUFFIXES",
    "BGRImage",
    "decode",
    "decode_values",
    "encode_jpeg",
    "encode_png",
    "is_jpeg",
    "read",
    "read_values",
    "stored_orientation",
    "telling",
    "upright",
]

# What OpenCV would print must not flood the operator's log: errors say it all.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
