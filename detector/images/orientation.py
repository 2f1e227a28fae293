"""EXIF orientation: which way up a camera was held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ORIENTATION = 0x0112
_SHORT = 3

_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block (a TIFF header and its directory) tells; 1 if it tells none."""
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"
    directory = int.from_bytes(exif[4:8], order)
    entries = int.from_bytes(exif[directory : directory + 2], order)
    for start in range(directory + 2, min(directory + 2 + 12 * entries, len(exif) - 11), 12):
        tag, type_ = (int.from_bytes(exif[start + at : start + at + 2], order) for at in (0, 2))
        if tag == ORIENTATION and type_ == _SHORT:
            return int.from_bytes(exif[start + 8 : start + 10], order)
    return 1


def upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A picture (H×W×…) as it is to be looked at; orientations that do not exist change nothing."""
    turn = _TURNS.get(orientation)
    return stored if turn is None else np.ascontiguousarray(turn(stored))
