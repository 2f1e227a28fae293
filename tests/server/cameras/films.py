"""Films that change with every frame, and the real RTSP server that sends them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from server.cameras.framing import Image
from tests.equipment import RTSP_PYTHON

ENCODERS = {
    "h264": ["-c:v", "libx264", "-x264-params", "slices=1:sliced-threads=0:scenecut=0"],
    "sliced": ["-c:v", "libx264", "-x264-params", "slices=4:scenecut=0", "-tune", "zerolatency"],
    "h265": ["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "log-level=none:scenecut=0"],
}


def write_film(path: Path, seconds: int, key_frame_every: int, codec: str = "h264") -> Path:
    """Moving colours, 160×120 at 25 fps without B frames, a key frame every so many frames and never else."""
    every = ["-g", str(key_frame_every), "-keyint_min", str(key_frame_every), "-bf", "0"]
    colours = ["-f", "lavfi", "-i", f"testsrc2=size=160x120:rate=25:duration={seconds}", "-pix_fmt", "yuv420p"]
    encoder = [*ENCODERS[codec], "-preset", "ultrafast", *every]
    subprocess.run(["ffmpeg", "-loglevel", "error", *colours, *encoder, str(path)], check=True)
    return path


def fingerprint(image: Image) -> bytes:
    """The same for the same picture only."""
    return hashlib.sha256(image.tobytes()).digest()


def fingerprints(film: Path) -> dict[bytes, int]:
    """The numbers of a film's pictures, by fingerprint."""
    with av.open(str(film)) as container:
        frames = container.decode(container.streams.video[0])
        return {fingerprint(frame.to_ndarray(format="bgr24")): number for number, frame in enumerate(frames)}


@contextmanager
def rtsp_camera(film: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """rtsp_camera.py, which tells what the arguments are."""
    command = [RTSP_PYTHON, str(Path(__file__).with_name("rtsp_camera.py")), str(film), str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
