"""The near side of the wall: pictures that are not JPEG are decoded in processes of their own.

Their native readers have crashed on hostile bytes before and will again; a process can crash, be ended when it takes
too long, and be held to an amount of memory, and this one goes on. Processes are started when they are needed, one for
each thread that decodes at the same time, and kept for the next picture.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError
from detector.images.pixels import MAX_PIXELS, MAX_SIDE

MAX_SECONDS = 20.0
"""Of one picture. The largest that is taken needs about 3 on an idle machine."""

TELL_S = 0.1
"""How often those who watch a thread are told that it waits for a decoder, :func:`telling`."""

MAX_IDLE = os.cpu_count() or 1
_MAX_LINE = 4096
_VALUES = ("uint8", "uint16", "int8", "int16", "uint32", "int32", "float32", "float64")
_PROGRAM = Path(__file__).parent / "far_side.py"
_PIPE_BYTES = 1 << 20
_GOING_S = 1.0
"""How long a process may take from closing its pipes to its end."""
_FROM_OUTSIDE = tuple(-getattr(signal, name) for name in ("SIGKILL", "SIGTERM") if hasattr(signal, name))
"""Endings that no picture brings about."""


_thread = threading.local()


@contextlib.contextmanager
def telling(progress: Callable[[], None]) -> Iterator[None]:
    """Have ``progress`` called again and again, from another thread, while this one waits for a decoder: it does not
    hang, however large the picture is, because a decoder that takes too long is ended."""
    before: Callable[[], None] | None = getattr(_thread, "progress", None)
    _thread.progress = progress
    try:
        yield
    finally:
        _thread.progress = before


def decode_behind_wall(name: str, data: bytes, max_pixels: int, *, values: bool) -> NDArray[Any]:
    """Decode a PNG, WebP, BMP or TIFF in another process.

    Args:
        name: of the format, in capitals.
        max_pixels: that are taken.
        values: whether they are wanted as they are stored, not as 8 bits.

    Returns:
        H×W×3 BGR; as stored H×W×4 where a PNG or WebP has an alpha channel.

    Raises:
        ImageError: it cannot be decoded, crashed its decoder, or took too long or too much memory.
    """
    decoder = _take()
    try:
        return decoder.decode(name, data, max_pixels, values)
    finally:
        _put_back(decoder)


class _Decoder:
    """A process that decodes one picture after another, until one of them ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what native readers print of a client's pictures: the error says it all
            env=os.environ | _surroundings(),
            start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        )
        assert self._process.stdin and isinstance(self._process.stdout, io.BufferedReader)
        self._requests, self._answers = self._process.stdin, self._process.stdout
        _widen(self._answers.fileno())
        _widen(self._requests.fileno())

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, name: str, data: bytes, max_pixels: int, values: bool) -> NDArray[Any]:
        late, done = threading.Event(), threading.Event()
        progress: Callable[[], None] | None = getattr(_thread, "progress", None)
        threading.Thread(target=self._watch, args=(done, late, progress), name="decoder watch", daemon=True).start()
        try:
            return self._decode(name, data, max_pixels, values)
        except ImageError:
            raise
        except (MemoryError, KeyboardInterrupt, SystemExit):
            self.close()  # an answer is half read
            raise
        except Exception as error:  # a process that a picture has taken over may answer anything
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is there still, and lied
                self._process.wait(_GOING_S)
            from_outside = not late.is_set() and self._process.returncode in _FROM_OUTSIDE
            self.close()
            if from_outside:
                raise ImageError(
                    f"the decoder of the {name} picture was ended from outside ({self._ending()}), as systems do where "
                    "memory is short: send it again"
                ) from error
            how = f"took more than {MAX_SECONDS:.0f} s" if late.is_set() else f"ended its decoder ({self._ending()})"
            raise ImageError(f"the {name} picture {how}: it is damaged, or made to do harm") from error
        finally:
            done.set()

    def _watch(self, done: threading.Event, late: threading.Event, progress: Callable[[], None] | None) -> None:
        end = time.monotonic() + MAX_SECONDS
        while (left := end - time.monotonic()) > 0:
            if done.wait(left if progress is None else min(left, TELL_S)):
                return
            if progress is not None:
                progress()
        late.set()
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # it had something to write, and nobody reads it
                pipe.close()

    def _decode(self, name: str, data: bytes, max_pixels: int, values: bool) -> NDArray[Any]:
        request = {"name": name, "bytes": len(data), "max_pixels": max_pixels, "values": values}
        self._requests.write(json.dumps(request).encode() + b"\n")
        self._requests.write(data)
        self._requests.flush()
        answer = json.loads(self._answers.readline(_MAX_LINE))
        if "error" in answer:
            raise ImageError(str(answer["error"]))
        height, width, type_, channels = answer["height"], answer["width"], answer["type"], answer["channels"]
        if (
            not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= max_pixels)
            or type_ not in _VALUES
            or channels not in ((3, 4) if values else (3,))
        ):
            raise ValueError("an answer that cannot be")
        decoded = np.empty((height, width, channels), type_)
        rest = decoded.data.cast("B")
        while rest:
            count = self._answers.readinto(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return decoded

    def _ending(self) -> str:
        status = self._process.returncode
        return signal.Signals(-status).name if status < 0 else f"status {status}"


_idle: list[_Decoder] = []
_lock = threading.Lock()


def _take() -> _Decoder:
    with _lock:
        while _idle:
            decoder = _idle.pop()
            if decoder.is_alive:
                return decoder
            decoder.close()
    return _Decoder()


def _put_back(decoder: _Decoder) -> None:
    with _lock:
        if decoder.is_alive and len(_idle) < MAX_IDLE:
            _idle.append(decoder)
            return
    decoder.close()


def _close_all() -> None:
    while _idle:
        _idle.pop().close()


def _forget() -> None:
    """In a process forked off this one, whose pipes lead to the same decoders."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


def _surroundings() -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OPENBLAS_NUM_THREADS": "1",
        # OpenCV's own limits: they hold for what its readers read, not for what ours did.
        "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS),
        "OPENCV_IO_MAX_IMAGE_WIDTH": str(MAX_SIDE),
        "OPENCV_IO_MAX_IMAGE_HEIGHT": str(MAX_SIDE),
    }


def _widen(pipe: int) -> None:
    """Fewer turns between the processes for each picture, where the system lets."""
    with contextlib.suppress(ImportError, AttributeError, OSError):  # Linux alone has it
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
