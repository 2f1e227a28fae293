"""Frames of video, from files and addresses that FFmpeg reads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from server.cameras.arrivals import CaptureError, Damaged, DamagedError, Frames, Grabbed
from server.cameras.display import shown_as_meant
from server.cameras.ffmpeg import ANSWER_S, LIVE_DECODERS, PROTOCOLS, Said, listening, opened, why
from server.cameras.file_clock import FileClock
from server.cameras.framing import Image
from server.cameras.lag import CatchUp
from server.cameras.packets import UNDECODABLE, Decoded, whole_frames

_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
_FILE = {"correct_ts_overflow": "0"}  # else a clock that begins anew is taken for one that ran over, 26 hours on
_RTSP = {
    # Over UDP a lost packet is a frame lost, and all frames up to the next key frame; but some cameras do nothing else.
    "rtsp_transport": "tcp+udp",
    "rtsp_flags": "prefer_tcp",
    "allowed_media_types": "video",
    # How long, in packets and µs, one is waited for that others overtook. Without a queue nobody notices a missing one.
    "reorder_queue_size": "16",
    "max_delay": "50000",
    "flags": "low_delay",
    # The camera has described its stream in the SDP, so probing for it only costs a second.
    "analyzeduration": "0",
    "probesize": "32",
}


def film(path: Path, max_pixels: int) -> Frames:
    """The frames of a file at its own rate, again and again."""
    clock: FileClock | None = None
    with listening() as said:
        while True:
            shown = 0
            # With "file:", so that 10:15.mp4 is a name and not a protocol.
            with opened(f"file:{path}", said, max_pixels, _FILE) as container:
                stream = _stream(container)
                clock = clock or FileClock(1 / float(stream.average_rate or 25))
                clock.restart()
                for arrival in _read(container, stream, said, max_pixels):
                    match arrival:
                        case VideoFrame():
                            shown += 1
                            yield _grabbed(arrival, clock.due(arrival.time))
                        case Damaged(reason):
                            yield Grabbed(clock.due(None), partial(_raise, DamagedError(reason)))
                        case _:
                            yield arrival
            if not shown:
                raise CaptureError(f"{path} holds no pictures that can be shown: give a video file")


def live(address: str, patience: float, max_pixels: int) -> Frames:
    """The frames of an RTSP or HTTP address, as they come; never silent for longer than ``patience`` seconds. What
    waited too long to be decoded is left out."""
    scheme, mark, rest = address.partition("://")
    address = scheme.lower() + mark + rest
    options = {"protocol_whitelist": PROTOCOLS} | (_RTSP if address.startswith("rtsp") else {})
    read_s = max(ANSWER_S, patience)
    with listening() as said, opened(address, said, max_pixels, options, read_s) as container:
        catch_up, stream = CatchUp() if _is_stamped(container) else None, _stream(container)
        if stream.codec_context.name not in LIVE_DECODERS:
            raise CaptureError(UNDECODABLE)
        for arrival in _read(container, stream, said, max_pixels, catch_up, read_s):
            came = None if catch_up is None else catch_up.came
            yield _grabbed(arrival, None, came) if isinstance(arrival, VideoFrame) else arrival
    raise CaptureError("the camera ended the stream: check that the address is a live stream")


def _is_stamped(container: InputContainer) -> bool:
    """Whether time stamps tell what is late: of bare H.264 FFmpeg makes them up, and HLS comes in pieces of seconds."""
    return not container.format.flags & _NO_TIMESTAMPS and container.format.name != "hls"


def _stream(container: InputContainer) -> VideoStream:
    """The track that players show: no cover picture, and the one marked as default where there are several."""
    films = [stream for stream in container.streams.video if not stream.disposition & _NO_FILM and stream.codec_context]
    if not films:
        raise CaptureError("it holds no video: check that this is the camera's video stream or a video file")
    best = container.streams.best("video")
    return next((stream for stream in films if best is not None and stream.index == best.index), films[0])


def _read(
    container: InputContainer,
    stream: VideoStream,
    said: Said,
    max_pixels: int,
    catch_up: CatchUp | None = None,
    read_s: float = ANSWER_S,
) -> Iterator[Decoded]:
    try:
        yield from whole_frames(container, stream, said, max_pixels, catch_up)
    except av.error.FFmpegError as error:
        raise CaptureError(why(error, said.take(), read_s)) from None


def _grabbed(frame: VideoFrame, due: float | None, came: float | None = None) -> Grabbed:
    return Grabbed(due, lambda: _bgr(frame), came)


def _raise(error: DamagedError) -> Image:
    raise error


def _bgr(frame: VideoFrame) -> Image:
    try:
        image = frame.to_ndarray(format="bgr24")
    except (av.error.FFmpegError, ValueError) as error:
        raise DamagedError(f"a frame cannot be converted: {error}") from None
    return np.ascontiguousarray(shown_as_meant(frame, np.asarray(image, np.uint8)))
