"""FFmpeg, by PyAV rather than OpenCV, for sources from outside: opened with bounds, and its own words listened to.

PyAV's errors say why (refused, unauthorised, no such stream) where OpenCV's are all "not opened"; its options
belong to one source and not to the whole process; and it is quicker: over RTSP at 25 fps a frame was here 2 ms
after the quickest of five readers had it (OpenCV 25 ms), the first one 0.06 s after opening (OpenCV 2 s).

Some things FFmpeg tells nobody but its log: that RTP packets were lost, and with which number a camera refused.
So the log is on, kept to the thread that reads the source, and goes nowhere else: it prints addresses with their
passwords.
"""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import av
import av.error
import av.logging
from av.container import InputContainer

from server.cameras.arrivals import CaptureError

ANSWER_S = 5.0
"""How long an address may take to open, and the least it may take to send more."""

NO_VIDEO = "this is not video: check that it is a video stream or a video file"

# A camera may answer with a playlist. It must not send FFmpeg to this machine's files.
PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy,crypto"

LIVE_DECODERS = ("h264", "hevc", "mjpeg")
"""All that is decoded of what an address sends, and that FFmpeg may begin of its hundreds to find out what it is. Some
of the others end the process on a damaged packet: the one of MPEG-4 Part 2 does, once it is told to be strict."""

_REFUSED = re.compile(r"method \w+ failed: (\d{3})|HTTP error (\d{3})")
_TOO_LARGE = re.compile(r"[Pp]icture size (\d+)x(\d+)")

av.logging.set_level(av.logging.WARNING)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


class Said:
    """What FFmpeg wrote into its log about one source, until somebody asked."""

    def __init__(self, log: list[tuple[int, str, str]]) -> None:
        self._log = log

    def take(self) -> str:
        """All since the last time."""
        text = "".join(line for _, _, line in self._log)
        self._log.clear()
        return text


@contextmanager
def listening() -> Iterator[Said]:
    """Hear what FFmpeg says in this thread. Decoders must have no threads of their own: one that logs waits for the
    interpreter, which may be waiting for it."""
    with av.logging.Capture() as log:
        yield Said(log)


def opened(
    place: str, said: Said, max_pixels: int, options: dict[str, str] | None = None, read_s: float | None = None
) -> InputContainer:
    """Open a file or an address.

    Args:
        place: what FFmpeg shall open.
        said: of this thread.
        max_pixels: of a frame; FFmpeg refuses larger ones itself.
        options: FFmpeg's.
        read_s: how long an address may be silent once it is open, seconds; None for a file, whose video may be of any
            kind.

    Raises:
        CaptureError: it cannot be opened; says why and what to do.
    """
    timeout = None if read_s is None else (ANSWER_S, read_s)
    bounds = {"max_pixels": str(max_pixels)} | ({} if read_s is None else {"codec_whitelist": ",".join(LIVE_DECODERS)})
    started = time.monotonic()
    try:
        return av.open(place, options=bounds | (options or {}), timeout=timeout)
    except av.error.FFmpegError as error:
        silent = timeout is not None and time.monotonic() - started >= ANSWER_S
        raise CaptureError(no_answer(ANSWER_S) if silent else why(error, said.take(), ANSWER_S)) from None


def why(error: av.error.FFmpegError, said: str, read_s: float = ANSWER_S) -> str:
    """An error in an operator's words: what is the matter and what to do."""
    if refused := _REFUSED.search(said):
        return refusal(int(refused[1] or refused[2]))
    match error:
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
            return refusal(401)
        case av.error.HTTPNotFoundError():
            return refusal(404)
        case av.error.ConnectionRefusedError():
            return "nothing listens there: check address and port, and that the camera is on"
        case av.error.TimeoutError() | av.error.ExitError():
            return no_answer(read_s)
        case av.error.InvalidDataError():
            return NO_VIDEO
    match error.errno:
        case errno.EACCES:
            return "this user may not read it: change its permissions"
        case errno.EPERM | errno.EIO | errno.ECONNRESET | errno.EPIPE:
            # EPERM is FFmpeg's -1: RTSP broke off in the middle of a sentence.
            return "it does not answer, or no longer: check the host name, the network, and that the camera is on"
    # Not str(error): that names the address, password and all.
    return f"it cannot be read: {error.strerror}"


def no_answer(seconds: float) -> str:
    return (
        f"no answer for {seconds:g} s: check the network, and that the camera is on; restart one that answers other "
        "programs neither"
    )


def refusal(status: int) -> str:
    """What it means that a camera answered with this RTSP or HTTP status."""
    match status:
        case 401 | 403 | 407:
            return "the camera refused the user name or password: check both in the address"
        case 404 | 454:
            return "the camera has no such stream: check the path of the address"
        case 429 | 453 | 486 | 503:
            return (
                f"the camera is busy (it answered {status}): it sends to as many viewers as it can; close other "
                "viewers, or take the address of its second stream"
            )
        case 461:
            return "the camera sends neither over TCP nor over UDP to one viewer: set it to RTSP over TCP"
        case _ if status >= 500:
            return f"the camera is in trouble (it answered {status}): restart it"
    return f"the camera refuses (it answered {status}): look up the address in its manual"


def check_size(said: str, max_pixels: int) -> None:
    """Raise CaptureError when FFmpeg said that pictures are too large for it."""
    if found := _TOO_LARGE.search(said):
        raise too_large(int(found[1]), int(found[2]), max_pixels)


def too_large(width: int, height: int, max_pixels: int) -> CaptureError:
    return CaptureError(
        f"its pictures of {width}×{height} pixels are larger than {max_pixels / 1e6:g} megapixels: set a smaller "
        "size in the camera, or raise MAX_FRAME_MEGAPIXELS"
    )
