"""``defectvision camera``: one camera's frames to a server, from whatever machine the camera hangs on."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar
from urllib.parse import urlsplit

from server.camera_process.sender import Destination, Sender
from server.camera_process.stream_name import default_name
from server.camera_process.websocket_sender import WebSocketSender
from server.cameras import Camera, Crop, Patience, check_source, is_address, is_device

logger = logging.getLogger("defectvision.camera")

REPORT_S = 60.0
JPEG_QUALITY = 85
CONFIGURATION_ERROR = 2
MAX_MEGAPIXELS = 64

_T = TypeVar("_T")
_NAME = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}", re.ASCII)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``camera``. Its ``run`` takes the parsed arguments and returns an exit code."""
    parser = subparsers.add_parser("camera", help="send a camera's frames to a server")
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        type=_checked(_source),
        help="folder of pictures, video file, rtsp://, http:// or genicam:// address, or device number",
    )
    add("--server", required=True, metavar="URL", type=_checked(server_url), help="such as https://HOST:8000")
    add("--name", type=_checked(_name), help="of the stream (default: made of host name and source)")
    add("--transport", choices=("websocket", "webrtc"), default="websocket", help="(default: websocket)")
    add("--width", type=int, help="pixels")
    add("--height", type=int, help="pixels")
    add("--fps", type=float, help="at most so many frames a second (default for a folder: 5)")
    add("--crop", metavar="X,Y,W,H", type=_checked(Crop.parse), help="send only this part, pixels")
    add("--patience", type=float, metavar="S", help="reopen it after so many seconds without a frame (default: 5)")
    add("--quality", type=_checked(_quality), help="of the JPEG over websocket, 1 to 100 (default: 85)")
    add(
        "--code",
        type=_checked(_code),
        help="token of the server, role operator, or its access code (default: environment variable ACCESS_CODE)",
    )
    add("--ca", metavar="FILE", type=_checked(_certificate), help="certificate to trust, PEM")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send until Ctrl-C or SIGTERM (ends the process with 0), or until the server refuses for good (with 2).

    Returns:
        2, when it cannot even begin.
    """
    try:
        code = arguments.code or _code(os.environ.get("ACCESS_CODE", ""))
        name = arguments.name or default_name(arguments.source)
        destination = Destination(arguments.server, name, code, arguments.ca)
        sender = _sender(arguments.transport, destination, arguments.quality)
        camera = Camera(
            arguments.source,
            width=arguments.width,
            height=arguments.height,
            fps=arguments.fps,
            crop=arguments.crop,
            patience=Patience() if arguments.patience is None else Patience.between_frames(arguments.patience),
            max_pixels=_pixels(os.environ.get("MAX_FRAME_MEGAPIXELS") or "16"),
            on_frame=sender.offer,
        )
    except ValueError as error:
        logger.error("%s", error)
        return CONFIGURATION_ERROR

    stop_asked = _StopAsked()
    camera.start()
    sender.start()
    report_at = time.monotonic() + REPORT_S
    # In short waits: a signal handler may not touch the event that is waited for, its lock may be held.
    while not stop_asked.yes and not sender.ended.wait(0.1):
        if time.monotonic() >= report_at:
            report_at += REPORT_S
            _report(camera, sender)
    # Both may wait a while for something stuck: at the same time, so that the process ends within a second.
    sender_stop = threading.Thread(target=sender.stop)
    sender_stop.start()
    camera.stop()
    sender_stop.join()
    _report(camera, sender)
    if sender.error is not None:
        logger.error("%s", sender.error)
    logging.shutdown()
    # Not by the interpreter's own end: that takes up to a second, and can crash on a thread that is still inside a
    # driver or a look-up.
    os._exit(CONFIGURATION_ERROR if sender.error is not None else 0)


def _sender(transport: str, destination: Destination, quality: int | None) -> Sender:
    if transport == "websocket":
        return WebSocketSender(destination, quality=quality or JPEG_QUALITY)
    if quality is not None:
        raise ValueError("--quality is for the JPEGs of --transport websocket: leave it out, WebRTC sends video")
    from server.camera_process.webrtc_sender import (
        WebRTCSender,  # aiortc takes half a second, and nothing else here needs it
    )

    return WebRTCSender(destination)


class _StopAsked:
    """Whether Ctrl-C or SIGTERM came."""

    def __init__(self) -> None:
        self.yes = False
        signal.signal(signal.SIGINT, self._note)
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.yes = True


def _report(camera: Camera, sender: Sender) -> None:
    counts, status = sender.totals, camera.status()
    logger.info(
        "came damaged %d, late %d, sent %d, inspected %d, dropped %d, failed %d, anomalies %d",
        status.damaged,
        status.dropped,
        counts.sent,
        counts.inspected,
        counts.dropped,
        counts.failed,
        counts.anomalies,
    )


def server_url(text: str) -> str:
    """The http(s):// address of a server, from that or a ws(s):// one. Raises ValueError."""
    example = "give the server's address, as in https://HOST:8000"
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"this is no address: {example}") from None
    scheme = {"http": "http", "https": "https", "ws": "http", "wss": "https"}.get(parts.scheme)
    if scheme is None or not host:
        raise ValueError(f"the server's address must start with http:// or https://: {example}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"the server's address must hold no user name, ? or #: {example}, and --code CODE")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/ws/stream')}"


def _checked(check: Callable[[str], _T]) -> Callable[[str], _T]:
    """For argparse, which shows the message of its own error only, and not that of a ValueError."""

    def checked(text: str) -> _T:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _source(text: str) -> str:
    check_source(text)
    if not is_address(text) and not is_device(text) and not Path(text).exists():
        raise ValueError(
            f"there is no folder or file {text}: give a folder of pictures, a video file, an rtsp://, "
            "http:// or genicam:// address, or a device number"
        )
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"name {text!r} is not 1 to 64 of A–Z a–z 0–9 . _ -")
    return text


def _quality(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 100:
        raise ValueError(f"quality must be 1 to 100, not {text}")
    return int(text)


def _pixels(megapixels: str) -> int:
    """The server's setting, for a server that is told to take larger frames needs a camera that sends them."""
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", megapixels) or not 0 < float(megapixels) <= MAX_MEGAPIXELS:
        raise ValueError(f"MAX_FRAME_MEGAPIXELS must be above 0 and at most {MAX_MEGAPIXELS}, not {megapixels!r}")
    return int(float(megapixels) * 1_000_000)


def _code(text: str) -> str | None:
    # The code travels in an HTTP header. The message must not show it.
    if not text.isascii() or not text.isprintable():
        raise ValueError("a token or access code may hold printable ASCII characters only")
    return text or None


def _certificate(text: str) -> Path:
    path = Path(text)
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # SSLError is one
        raise ValueError(f"{path} is not a readable PEM certificate: {error.strerror or error}") from None
    return path
