"""The far side of the wall: a program that decodes the pictures it is asked for, and may die of any of them.

A request is a line of JSON and the file; the answer is a line of JSON and, if that is no error, H×W×3
values, BGR, or H×W×4, BGRA.
"""

from __future__ import annotations

import json
import signal
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Of the floor, only this room: all of `detector` would double the time and the memory it takes to start.
    floor = types.ModuleType("detector")
    floor.__path__ = [str(Path(__file__).parents[1])]
    sys.modules["detector"] = floor
    # tifffile's optional decoders are not part of the base install: TIFFs are read alike with and without them.
    sys.modules["imagecodecs"] = None  # type: ignore[assignment]

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError
from detector.images.pixels import TakeSize, check_size, to_8_bits
from detector.images.raster import read_bmp, read_png, read_webp
from detector.memory_limit import limit, taken

BYTES_A_PIXEL = 24
"""At most, with all copies: four channels of 16 bits are 8 of them, and a TIFF of those was seen to take 22."""

ROOM_BYTES = 128_000_000
"""For everything that does not grow with the picture."""

LONGEST_S = 30
"""Of one picture, longer than the near side waits: where that is gone, nobody else ends a decoder that hangs."""

_NOTHING: NDArray[Any] = np.empty(0)


def main() -> None:
    cv2.setNumThreads(1)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["bytes"])
        _end_after(LONGEST_S)
        values, words = _NOTHING, {}
        try:
            values = np.ascontiguousarray(_decode(data, request["name"], request["max_pixels"], request["values"]))
            words = {"height": values.shape[0], "width": values.shape[1], "channels": values.shape[2]}
            words |= {"type": str(values.dtype)}
        except ImageError as error:
            words = {"error": str(error)}
        except MemoryError:
            words = {"error": f"the {request['name']} picture takes more memory than pictures of its size need"}
        answers.write(json.dumps(words).encode() + b"\n")
        answers.write(values.data.cast("B"))
        answers.flush()
        _end_after(0)
        limit("AS", None)  # the next one may be larger


def _end_after(seconds: int) -> None:
    if hasattr(signal, "alarm"):  # Windows has none
        signal.alarm(seconds)


def _decode(data: bytes, name: str, max_pixels: int, as_stored: bool) -> NDArray[Any]:
    before = taken("AS") + 2 * len(data) + ROOM_BYTES
    limit("AS", before)  # without it, the sizes in the headers alone bound the memory

    def take(width: int, height: int) -> None:
        check_size(width, height, max_pixels)
        # A decoder that reads another size out of the file gets no memory for it.
        limit("AS", before + BYTES_A_PIXEL * width * height)

    values = _reader(name, alpha=as_stored)(data, take)
    return values if as_stored else to_8_bits(values)


def _reader(name: str, *, alpha: bool) -> Callable[[bytes, TakeSize], NDArray[Any]]:
    if name == "TIFF":
        from detector.images.tiff import read_tiff  # its reader of tags takes 0.1 s to import, and few need it

        return read_tiff
    if name == "BMP":
        return read_bmp
    return partial({"PNG": read_png, "WEBP": read_webp}[name], alpha=alpha)


if __name__ == "__main__":
    main()
