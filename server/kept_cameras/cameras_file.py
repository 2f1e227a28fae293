"""``cameras.json`` as it lies on disk: version, checksum, and which cameras may be in it."""

from __future__ import annotations

import re

import msgspec

from server.cameras import check_source, is_address
from server.ground import Form, NewerVersion, checksum
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


class _Version(msgspec.Struct):
    version: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """``sha256``: of the cameras as JSON, without a space."""

    version: int
    sha256: str
    cameras: tuple[PulledCamera, ...]


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


def encode(cameras: tuple[PulledCamera, ...]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_File(VERSION, checksum(cameras), cameras)), indent=1)


def decode(data: bytes) -> tuple[PulledCamera, ...]:
    """What a file says.

    Raises:
        ValueError: it is not such a file, or not what it says of itself. The sentence repeats nothing of the file: a
            damaged one may have a password anywhere.
    """
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if version > VERSION:
            raise NewerVersion(f"its version is {version}, this software reads {VERSION}")
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("it is no list of cameras as this software writes it") from error
    if version != VERSION:
        raise ValueError(f"its version is {version}, this software reads {VERSION}")
    if file.sha256 != checksum(file.cameras):
        raise ValueError("its checksum is not that of its contents")
    if len(file.cameras) > MOST or len({camera.name for camera in file.cameras}) < len(file.cameras):
        raise ValueError(f"there are more than {MOST} cameras in it, or two of the same name")
    for camera in file.cameras:
        try:
            check_addable(camera)
        except ValueError as error:
            raise ValueError("one of its cameras cannot be") from error
    return file.cameras


FORM: Form[tuple[PulledCamera, ...]] = Form(
    largest=LARGEST_FILE,
    encode=encode,
    decode=lambda data: (decode(data), False),
    empty=(),
    without="the cameras of the page do not run",
    then="add them again",
    mode=0o600,  # addresses hold credentials
)
