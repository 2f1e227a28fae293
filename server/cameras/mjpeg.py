"""JPEG after JPEG, in whatever wrapping: with or without boundaries, lengths and types around the pictures.

The pictures say themselves where they begin and end, so nothing else is asked: cameras write the rest in many
dialects. And one is here when its last byte is, not when the next begins.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPResponse
from selectors import EVENT_READ, BaseSelector, DefaultSelector

from server.cameras.arrivals import CaptureError, Damaged, DamagedError, Frames, Grabbed, Late, Nothing
from server.cameras.framing import Image
from server.cameras.http_camera import Answer

MAX_BYTES = 16 * 1024 * 1024
"""Of one picture."""

HELD_S = 0.1
"""A whole picture is held for no longer while more comes without a pause."""

BROKEN = "a JPEG came incomplete or damaged: check the network and its cables"

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN, _TEMPORARY, _FIRST_SEGMENT = 0xDA, 0x01, 0xC0
_SCAN_IS_OVER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_HEADER_BYTES = 1024 * 1024
"""Before its first scan no picture is longer. One that broke off before is looked through for the next one's start."""
_TRIES = 4
"""So often in a row, so that no byte is looked at more than five times: whoever sends starts within starts waits for
nobody, and the others would for him."""


class Splitter:
    """Finds the pictures in a stream of bytes. No I/O; holds :data:`MAX_BYTES` at the most."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._position = 0  # up to here the picture that begins the data is understood
        self._in_scan = False
        self._tries = 0

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """The pictures that are complete with these further bytes; None when there were some that broke off."""
        self._data += data
        broken = False
        while self._find_start():
            end = self._find_end()
            if end is None:
                if len(self._data) <= MAX_BYTES:
                    break
                end = -self._position
            if end < 0:
                self._forget(-end)
                broken = True
            else:
                yield bytes(self._data[:end])
                self._forget(end)
                self._tries = 0
        if broken:
            yield None

    def _forget(self, count: int) -> None:
        del self._data[:count]
        self._position, self._in_scan = 0, False

    def _find_start(self) -> bool:
        if self._position:
            return True
        start = self._data.find(_START)
        if start < 0:
            self._forget(max(0, len(self._data) - 1))  # the last byte may be half of a start
            return False
        self._forget(start)
        self._position = len(_START)
        return True

    def _find_end(self) -> int | None:
        """Where the picture ends; None: not yet; negative: it has none, look for the next from there."""
        data = self._data
        while True:
            if self._in_scan:
                mark = _SCAN_IS_OVER.search(data, self._position)
                self._position = mark.start() if mark else max(self._position, len(data) - 1)
            at = self._position
            if at + 2 > len(data):
                return None
            if data[at] != 0xFF:
                return self._broken()
            kind = data[at + 1]
            if kind == _END[1]:
                return at + 2
            if kind == _START[1]:
                return -at
            if kind == 0xFF:
                self._position = at + 1
            elif kind == 0 or kind == _TEMPORARY or 0xD0 <= kind <= 0xD7:
                if kind == 0 and not self._in_scan:
                    return self._broken()
                self._position = at + 2
            elif kind < _FIRST_SEGMENT:  # reserved: no picture has them
                return self._broken()
            elif at + 4 > len(data):
                return None
            else:
                # A scan's data follows its header without a length of its own.
                end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
                if end > len(data):
                    return None
                self._position, self._in_scan = end, kind == _SCAN

    def _broken(self) -> int:
        """As far as is to be forgotten, negative. In a scan the next picture is not behind us; a header's lengths may
        have led past its start."""
        if self._in_scan or self._position > _HEADER_BYTES or self._tries >= _TRIES:
            self._tries = 0
            return -self._position
        self._tries += 1
        return -len(_START)


def pictures(answer: Answer, max_pixels: int) -> Frames:
    """The frames of an answer that is JPEG after JPEG, until the camera ends it: of those that waited the last."""
    splitter, count, held_since = Splitter(), 0, 0.0
    held: Grabbed | None = None
    with answer.response as response, DefaultSelector() as selector:
        selector.register(response, EVENT_READ)
        while data := _more(response):
            for picture in splitter.feed(data):
                count += 1
                if picture is None:
                    yield Damaged(BROKEN)
                    continue
                came = time.monotonic()
                if held is None:
                    held_since = came
                else:
                    yield Late()
                held = Grabbed(None, partial(_image, picture, max_pixels), came)
            if held is None:
                yield Nothing()
            elif not _more_waits(selector) or time.monotonic() - held_since >= HELD_S:
                yield held
                held = None
        if held is not None:
            yield held
    if count == 1:
        raise CaptureError("the address sends one picture and no more: give the address of its live stream")
    raise CaptureError("the camera ended the stream: check that the address is a live stream")


def _more_waits(selector: BaseSelector) -> bool:
    """Whether there is more to read, or the end, without waiting. What TLS or a buffer holds is not seen: little."""
    return bool(selector.select(0))


def _more(response: HTTPResponse) -> bytes:
    """What came; waits for it; b"" at the end."""
    try:
        return response.read1(65536)
    except TimeoutError:
        raise CaptureError("the camera sends no more: check the network, and that the camera is on") from None
    except (OSError, ValueError) as error:
        raise CaptureError(f"the connection to the camera broke ({error}): check the network") from None


def _image(picture: bytes, max_pixels: int) -> Image:
    # Here, for a camera that sends no JPEG needs nothing of the detector.
    from detector.errors import ImageError
    from detector.images import decode

    try:
        return decode(picture, formats=("JPEG",), max_pixels=max_pixels)
    except ImageError as error:
        raise DamagedError(str(error)) from None
