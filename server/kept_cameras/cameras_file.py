"""``cameras.json`` as it lies on disk: version, checksum, and which cameras may be in it."""

from __future__ import annotations

import re
from pathlib import Path

from server.cameras import check_source, is_address
from server.ground import ListFile, only_looked_at
from server.settings import PulledCamera, check_camera

VERSION = 1
LARGEST_FILE = 1_000_000
"""Bytes; a camera takes 3 kB at the most."""
MOST = 32
"""Cameras."""
LONGEST_SOURCE = 2000
LARGEST_SIDE = 4096
"""Pixels of a width or height that pictures are made to have: whoever has the page must not have memory filled."""
MOST_DEVICES = 64
"""OpenCV takes a number of 100 and above for another library, one that opens files among them."""


def check_addable(camera: PulledCamera) -> None:
    """Raise ValueError when no such camera may be added on the page: whoever has the page shall not read the server's
    disk through it, so there are no files, folders or paths of devices. The sentence holds no credentials."""
    if len(camera.source) > LONGEST_SOURCE:
        raise ValueError(f"the source is longer than {LONGEST_SOURCE} characters: give the camera's own address")
    if not is_address(camera.source) and not _is_device_number(camera.source):
        raise ValueError(
            "the source must be an address that starts with rtsp://, rtsps://, http://, https:// or genicam://, or the "
            f"number of a camera on the server's machine, 0 to {MOST_DEVICES - 1}: files and folders are for the "
            "setting CAMERAS"
        )
    check_source(camera.source)
    check_camera(camera)
    for side, pixels in (("width", camera.width), ("height", camera.height)):
        if pixels is not None and pixels > LARGEST_SIDE:
            raise ValueError(f"{side} must be 1 to {LARGEST_SIDE} pixels, not {pixels}")


def _is_device_number(source: str) -> bool:
    return re.fullmatch(r"[0-9]{1,2}", source, re.ASCII) is not None and int(source) < MOST_DEVICES


def _check(cameras: tuple[PulledCamera, ...]) -> None:
    if len(cameras) > MOST or len({camera.name for camera in cameras}) < len(cameras):
        raise ValueError(f"there are more than {MOST} cameras in it, or two of the same name")
    for camera in cameras:
        try:
            check_addable(camera)
        except ValueError as error:
            raise ValueError("one of its cameras cannot be") from error


_LIST = ListFile(PulledCamera, "cameras", VERSION, _check)
encode, decode = _LIST.encode, _LIST.decode

FORM = _LIST.form(largest=LARGEST_FILE, without="the cameras of the page do not run", then="add them again")


def cameras_of(folder: Path) -> tuple[PulledCamera, ...]:
    """Those that a data directory has, only looked at; none where its file cannot be used."""
    return only_looked_at(folder / "cameras.json", FORM)
