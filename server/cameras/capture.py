"""Frames from a folder, a video file, an address or a device, one after another, as plain generators.

Nothing here retries, waits or knows of threads: :mod:`server.cameras.camera` does. A generator opens its source at
the first ``next``, blocks while the source does, lets it go when it is closed, and raises
:class:`CaptureError` when it is over.

Files and addresses are read with PyAV rather than OpenCV: its errors say why (refused, unauthorised, no
such stream) where OpenCV's are all "not opened"; its options belong to one source and not to the whole
process; it logs nothing, where FFmpeg's own log prints addresses with their passwords; and it is quicker:
over RTSP at 25 fps a frame was here 2 ms after the quickest of five readers had it (OpenCV 25 ms), the
first one 0.06 s after opening (OpenCV 2 s).
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from server.cameras.framing import Image

logger = logging.getLogger("defectvision.camera")

FOLDER_FPS = 5.0
ANSWER_S = 5.0
"""How long an address may take to open, and then to send its next frame."""

SCHEMES = ("rtsp", "rtsps", "http", "https")
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})

# A camera may answer with a playlist. It must not send FFmpeg to this machine's files.
_PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy,crypto"


class CaptureError(Exception):
    """The source cannot be opened, or has ended. The message says what to do."""


@dataclass(frozen=True)
class Grabbed:
    """A frame that is here but not yet decoded to an image, so that one nobody wants costs little.

    ``due``: seconds after the source's first frame at which to show it; None for a live source: show it now.
    ``image``: makes the BGR uint8 H×W×3 image; raises :class:`CaptureError` when the frame is broken.
    """

    due: float | None
    image: Callable[[], Image]


Frames = Generator[Grabbed, None, None]


def check_source(source: str) -> None:
    """Raise ValueError when no source can be meant by this text. Whether it is there, opening it tells."""
    if not source:
        raise ValueError("the source is empty: give a folder, a video file, an address or a device number")
    scheme, mark, _ = source.partition("://")
    if not mark:
        return
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"an address must start with one of {', '.join(f'{name}://' for name in SCHEMES)}")
    try:
        parts = urlsplit(source)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ValueError(
            "the address has no valid host and port: give for example rtsp://HOST:554/PATH, "
            "and write / ? # and @ in a password as %2F %3F %23 and %40"
        )


def is_device(source: str) -> bool:
    """Whether the text means a camera on this machine: a number, or a name below /dev."""
    return source.isdecimal() or source.startswith("/dev/")


def grab(source: str, width: int | None = None, height: int | None = None, fps: float | None = None) -> Frames:
    """The frames of a source.

    Args:
        source: a folder (its pictures in the order of their names, again and again), a video file (again and
            again), an RTSP or HTTP address, a device number or /dev name.
        width, height, fps: asked of a device, which may ignore them. ``fps`` is also the pace of a folder
            (5 by default).

    Raises:
        CaptureError: here or while iterating, when the source cannot be opened or has ended.
    """
    if is_device(source):
        return _device(source, width, height, fps)
    if "://" in source:
        return _address(source)
    path = Path(source)
    if path.is_dir():
        return _folder(path, fps or FOLDER_FPS)
    if path.is_file():
        return _video(path)
    raise CaptureError(f"there is no folder or file {source}: check the path")


def _folder(folder: Path, fps: float) -> Frames:
    shown = 0
    skipped: set[Path] = set()
    while True:
        before = shown
        # Listed anew on each round, so that pictures can be added while it plays.
        for path in sorted(_pictures(folder)):
            image = _picture(path)
            if image is not None:
                yield Grabbed(shown / fps, lambda image=image: image)  # type: ignore[misc]
                shown += 1
            elif path not in skipped:
                skipped.add(path)
                logger.warning("%s is skipped: it is not a picture, or is damaged", path)
        if shown == before:
            raise CaptureError(f"the folder {folder} holds no pictures: put JPEG, PNG or WebP files into it")


def _pictures(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file()]
    except OSError as error:
        raise CaptureError(f"the folder {folder} cannot be read: {error.strerror}") from None


def _picture(path: Path) -> Image | None:
    try:
        data = np.fromfile(path, np.uint8)  # not imread: it cannot open every name on Windows
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _video(path: Path) -> Frames:
    start = 0.0
    while True:
        with _open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            step = 1 / float(stream.average_rate or 25)
            first: float | None = None
            due = start
            for count, frame in enumerate(_decoded(container)):
                time = count * step if frame.time is None else frame.time
                first = time if first is None else first
                due = max(due, start + time - first)
                yield Grabbed(due, lambda frame=frame: _bgr(frame))  # type: ignore[misc]
        if first is None:
            raise CaptureError(f"{path} holds no pictures: give a video file")
        start = due + step


def _address(address: str) -> Frames:
    options = {"protocol_whitelist": _PROTOCOLS}
    if address.lower().startswith("rtsp"):
        # TCP: over UDP a lost packet is a grey smear, and a smear is an anomaly. The camera has described its
        # stream in the SDP, so probing for it only costs a second.
        options |= {
            "rtsp_transport": "tcp",
            "fflags": "nobuffer",
            "flags": "low_delay",
            "max_delay": "0",
            "analyzeduration": "0",
            "probesize": "32",
        }
    with _open(address, options, timeout=ANSWER_S) as container:
        # Frame threads would each hold a frame back (65 ms at 25 fps); slices do not.
        container.streams.video[0].thread_type = "SLICE"
        for frame in _decoded(container):
            yield Grabbed(None, lambda frame=frame: _bgr(frame))  # type: ignore[misc]
    raise CaptureError("the camera ended the stream: check that the address is a live stream")


def _open(place: str, options: dict[str, str] | None = None, timeout: float | None = None) -> InputContainer:
    try:
        container = av.open(place, options=options or {}, timeout=timeout)
    except av.error.FFmpegError as error:
        raise CaptureError(_why(error)) from None
    if not container.streams.video:
        container.close()
        raise CaptureError("it holds no video: check that this is the camera's video stream or a video file")
    return container


def _decoded(container: InputContainer) -> Iterator[VideoFrame]:
    try:
        for packet in container.demux(container.streams.video[0]):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue  # streams joined between key frames begin so; the watchdog ends one that goes on so
    except av.error.FFmpegError as error:
        raise CaptureError(_why(error)) from None


def _why(error: av.error.FFmpegError) -> str:
    match error:
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError() | av.error.PermissionError():
            return "the camera refused the user name or password: check both in the address"
        case av.error.HTTPNotFoundError():
            return "the camera has no such stream: check the path of the address"
        case av.error.ConnectionRefusedError():
            return "nothing listens there: check address and port, and that the camera is on"
        case av.error.TimeoutError() | av.error.ExitError():
            return f"no answer for {ANSWER_S:g} s: check the network, and that the camera is on"
        case av.error.InvalidDataError():
            return "this is not video: check that it is a video stream or a video file"
    if error.errno == errno.EIO:
        return "it does not answer, or no longer: check the host name, the network, and that the camera is on"
    # Not str(error): that names the address, password and all.
    return f"it cannot be read: {error.strerror}"


def _bgr(frame: VideoFrame) -> Image:
    try:
        image = frame.to_ndarray(format="bgr24")
    except (av.error.FFmpegError, ValueError) as error:
        raise CaptureError(f"a frame cannot be converted: {error}") from None
    if frame.rotation:
        # A phone's upright video is stored lying, with a note to turn it.
        image = np.rot90(image, frame.rotation // 90)
    return np.ascontiguousarray(image, np.uint8)


def _device(source: str, width: int | None, height: int | None, fps: float | None) -> Frames:
    # OpenCV prints lines of its own at every try.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    device = re.sub(r"^/dev/video(?=\d+$)", "", source)
    capture = cv2.VideoCapture(int(device)) if device.isdecimal() else cv2.VideoCapture(device, cv2.CAP_V4L2)
    try:
        if not capture.isOpened():
            raise CaptureError(
                f"camera {source} cannot be opened: check that it is plugged in, that no other program uses "
                "it, and that this user may use it (on Linux: group video)"
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for setting, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, fps),
        ):
            if value is not None:
                capture.set(setting, value)

        def image() -> Image:
            whole, picture = capture.retrieve()
            if not whole:
                raise CaptureError(f"camera {source} sent a broken frame: check its cable")
            return np.asarray(picture, np.uint8)

        while capture.grab():
            yield Grabbed(None, image)
        raise CaptureError(f"camera {source} stopped sending: check that it is still plugged in")
    finally:
        capture.release()
