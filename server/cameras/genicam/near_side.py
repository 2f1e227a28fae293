"""The near side of the wall: GenICam cameras as frames, each read by a process of its own (:mod:`.far_side`)."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from server.cameras.arrivals import Arrival, CaptureError, Damaged, DamagedError, Frames, Grabbed, Nothing, Waiting
from server.cameras.ffmpeg import too_large
from server.cameras.framing import Image
from server.cameras.genicam.address import Genicam
from server.cameras.genicam.aravis import Device
from server.cameras.genicam.pixels import BY_CODE, FORMATS, PixelFormat

SILENT_S = 8.0
"""How long the process may say nothing: opening a camera takes that long where its description of itself is large."""
LOOKING_S = 6.0
"""For a list of the cameras that answer."""
TURN_S = 0.25
RELEASE_S = 2.0
MOST_LOST = 1000
_OPTIONS = ("-I", "-S")  # the standard library alone
_MAX_LINE = 65_536
_PROGRAM = Path(__file__).parent / "far_side.py"
_PIPE_BYTES = 1 << 20
DIED = "the camera's driver crashed, and nothing else did: it is started anew"
HANGS = f"the camera's driver said nothing for {SILENT_S:g} s: unplug the camera and plug it in again"


class CameraProcess:
    """A camera's driver in a process of its own.

    Args:
        settings: what it is to do, as one line of JSON.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *_OPTIONS, str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # GLib's warnings: what counts is among the answers
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        )
        assert self._process.stdin and self._process.stdout
        self._to, self._from = self._process.stdin, self._process.stdout
        self._waiting = b""
        _widen(self._from.fileno())
        self._tell(json.dumps(settings).encode())

    @property
    def pid(self) -> int:
        return self._process.pid

    def trigger(self) -> None:
        """Take a picture; of a camera that is set to ``trigger=Software``."""
        self._tell(b"trigger")

    def hear(self) -> dict[str, Any] | None:
        """What it says next; None when it says nothing for a moment.

        Raises:
            CaptureError: it has ended, or says what cannot be.
        """
        while b"\n" not in self._waiting:
            if len(self._waiting) > _MAX_LINE:
                raise CaptureError(DIED)
            if not self._readable(TURN_S):
                return None
            self._waiting += self._read(_MAX_LINE)
        line, _, self._waiting = self._waiting.partition(b"\n")
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise CaptureError(DIED)
        return said

    def take(self, count: int) -> bytearray:
        """So many bytes that follow what it said. Raises CaptureError when they do not come."""
        data = bytearray(count)
        start, self._waiting = self._waiting[:count], self._waiting[count:]
        data[: len(start)] = start
        rest = memoryview(data)[len(start) :]
        end = time.monotonic() + SILENT_S
        while rest:
            if not self._readable(max(0.0, end - time.monotonic())):
                raise CaptureError(HANGS)
            got = os.readv(self._from.fileno(), [rest])
            if not got:
                raise CaptureError(DIED)
            rest = rest[got:]
        return data

    def close(self) -> None:
        """Have it let the camera go, and end it within two seconds, whatever its driver does."""
        with contextlib.suppress(OSError):
            self._to.close()
        end = time.monotonic() + RELEASE_S
        with contextlib.suppress(OSError):
            while time.monotonic() < end and (not self._readable(TURN_S) or os.read(self._from.fileno(), _PIPE_BYTES)):
                pass  # it may be in the middle of a picture that nobody wants
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, end - time.monotonic()))
        self._process.kill()
        self._process.wait()
        self._from.close()

    def _tell(self, line: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has ended, or was closed: that is heard
            self._to.write(line + b"\n")

    def _readable(self, seconds: float) -> bool:
        with selectors.DefaultSelector() as selector:  # select() takes no descriptor above 1023
            selector.register(self._from, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def _read(self, count: int) -> bytes:
        data = os.read(self._from.fileno(), count)
        if not data:
            raise CaptureError(DIED)
        return data


def genicam_frames(address: str, fps: float | None, patience: float, max_pixels: int) -> Frames:
    """The frames of a camera of GigE Vision or USB3 Vision.

    Args:
        address: as :class:`~server.cameras.genicam.address.Genicam` reads it.
        fps: asked of a camera that sends by itself.
        patience: how long such a one may be silent, seconds.
        max_pixels: of a frame.

    Raises:
        CaptureError: here or while iterating, when it cannot be opened or has ended.
        ValueError: the address is none.
    """
    process = CameraProcess(settings_of(address, fps, max_pixels))
    try:
        yield from frames_of(process, patience, max_pixels)
    finally:
        process.close()


def settings_of(address: str, fps: float | None, max_pixels: int) -> dict[str, Any]:
    """What a process is told; arguments as of :func:`genicam_frames`."""
    understood = [[form.code, *filter(None, (form.name, form.older_name))] for form in FORMATS]
    return Genicam.parse(address).settings() | {"fps": fps, "max_pixels": max_pixels, "understood": understood}


def frames_of(process: CameraProcess, patience: float, max_pixels: int) -> Frames:
    """The frames of a process that was told to open a camera; arguments as of :func:`genicam_frames`."""
    heard, waits_for = time.monotonic(), None
    while True:
        said = process.hear()
        now = time.monotonic()
        if said is None:
            if now - heard > SILENT_S:
                raise CaptureError(HANGS)
            yield Nothing()
            continue
        heard = now
        try:
            if said.get("kind") == "open":
                waits_for = said["trigger"]
            yield from _arrivals(process, said, waits_for, patience, max_pixels)
        except (KeyError, TypeError, ValueError):  # a driver that was taken over may answer anything
            raise CaptureError(DIED) from None


def _arrivals(
    process: CameraProcess, said: dict[str, Any], waits_for: str | None, patience: float, max_pixels: int
) -> Iterator[Arrival]:
    match said["kind"]:
        case "frame":
            yield _frame(process, said, max_pixels)
        case "bad":
            for _ in range(min(int(said["frames"]), MOST_LOST)):
                yield Damaged(_sentence(said))
        case "open" | "idle" if waits_for is not None:
            yield Waiting(f"waiting for its trigger ({_short(waits_for)})")
        case "idle" if float(said["silent_s"]) >= max(patience - 0.5, 0.5):
            raise CaptureError(
                f"the camera answers, but no picture comes for {patience:g} s: let UDP from it pass (firewall), check "
                "the network's packet size (jumbo frames), or give a slow one more patience"
            )
        case "open" | "idle":
            yield Nothing()
        case "large":
            raise too_large(int(said["width"]), int(said["height"]), max_pixels)
        case "over":
            raise CaptureError(_sentence(said))
        case _:
            raise ValueError


def _frame(process: CameraProcess, said: dict[str, Any], max_pixels: int) -> Arrival:
    count, width, height, padding = (int(said[name]) for name in ("bytes", "width", "height", "padding"))
    if not 0 <= count <= 8 * max_pixels + 1_000_000:
        raise ValueError
    if width * height > max_pixels:
        raise too_large(width, height, max_pixels)
    data = process.take(count)
    form = BY_CODE.get(int(said["pixels"]))
    if form is None:
        return Damaged(f"a picture came in the pixel format {int(said['pixels']):#010x}, which is not understood")
    if min(width, height) < 2 or not 0 <= padding <= count:
        return Damaged(f"a picture of {width}×{height} came: ask the camera for a larger region")
    return Grabbed(None, partial(_image, form, data, width, height, padding))


def _image(form: PixelFormat, data: bytearray, width: int, height: int, padding: int) -> Image:
    try:
        return form.image(data, width, height, padding)
    except ValueError as error:
        raise DamagedError(f"a picture came that cannot be used: {error}") from None


def _sentence(said: dict[str, Any]) -> str:
    return _short(said["why"], 600)


def _short(text: object, most: int = 64) -> str:
    return "".join(one for one in str(text) if one.isprintable())[:most]


def look_around() -> list[Device]:
    """The cameras that answer, within some seconds.

    Raises:
        CaptureError: there is no driver, or it fails.
    """
    process, end = CameraProcess({}), time.monotonic() + LOOKING_S
    try:
        while time.monotonic() < end:
            said = process.hear()
            if said is None:
                continue
            if said.get("kind") == "over":
                raise CaptureError(_sentence(said))
            return [Device(**{name: _short(text, 256) for name, text in one.items()}) for one in said["cameras"]]
    except (KeyError, TypeError, AttributeError):
        raise CaptureError(DIED) from None
    finally:
        process.close()
    raise CaptureError(HANGS)


def _widen(pipe: int) -> None:
    """Fewer turns between the processes for each picture, where the system lets."""
    with contextlib.suppress(ImportError, AttributeError, OSError):  # Linux alone has it
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
