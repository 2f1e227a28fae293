"""How a film says it is to be shown: turned and mirrored, as FFmpeg's own players do it."""

from __future__ import annotations

import struct

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame

from server.cameras.framing import Image


def shown_as_meant(frame: VideoFrame, image: Image) -> Image:
    """The image of a frame, H×W×3, in the nearest of the eight orientations that its display matrix means."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData) or matrix.buffer_size != 36:
        return image
    # Fixed-point a b u, c d v, x y w: the stored (x, y) is shown at (a x + c y, b x + d y), where y goes down.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    lies = abs(b) + abs(c) > abs(a) + abs(d)
    if lies:
        image = np.swapaxes(image, 0, 1)
    if (c if lies else a) < 0:
        image = image[:, ::-1]
    if (b if lies else d) < 0:
        image = image[::-1]
    return image
