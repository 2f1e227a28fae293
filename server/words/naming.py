"""What a stream is called, how its frames come, and what a frame is before it is a picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Transport = Literal["websocket", "webrtc", "camera", "simulated"]
Way = Literal["websocket", "webrtc", "camera", "simulated", "pictures", "unknown"]
HOW: dict[Way, str] = {
    "websocket": "over WebSocket",
    "webrtc": "over WebRTC",
    "camera": "from a pulled camera",
    "simulated": "on the simulated line",
    "pictures": "from pictures",
    "unknown": "over an unknown transport",
}
"""How frames came, as it is said in sentences."""
"""How what a calibration was made from came: as a stream's frames, as pictures over HTTP, or nobody knows any more."""
Load = Callable[[], NDArray[np.uint8]]
"""Makes the picture (H×W×3 uint8 BGR) of a frame; called in a worker thread, and only if the frame is inspected.
Raises ImageError when it is broken."""

_NAME = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}", re.ASCII)
"""Not ``.`` or ``..``, which clients leave out of an address: nobody could listen to such a stream."""


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: not 1 to 64 of the letters, digits, dot, underscore and hyphen, or one or two dots alone.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a stream's name has 1 to 64 characters, of A-Z a-z 0-9 . _ and -, and is neither . nor ..")
    return name


def check_max_fps(text: str | None) -> float | None:
    """``max_fps`` from a query string; nothing when absent.

    Raises:
        ValueError: not a number above 0 and up to 1000.
    """
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise ValueError("max_fps must be a number above 0 and up to 1000")
    return value
