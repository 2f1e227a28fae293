"""The far side: a program that looks at the pictures it is shown, and learns from them.

A process of its own, of low priority, so that the server's streams go on undisturbed; cancelling is ending it, and its
memory goes with it. It ends when its input does: with its server, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, overload

import msgspec

from detector import PRESETS, DetectorError, ModelError, TaughtModel, fit
from detector.backbones import load_backbone
from detector.errors import OUT_OF_MEMORY, out_of_memory
from detector.images import BGRImage, read
from detector.region import SAMPLE, Inputs, Spread, inspected
from detector.showing import Coverage, Shown
from detector.teaching import Remembered
from server.teaching import words
from server.teaching.files import write_model
from server.teaching.leftover import use_what_is_left
from server.teaching.rehearsal import Rehearsal
from server.teaching.words import (
    Answer,
    Box,
    IsCopy,
    Learn,
    Learned,
    LeaveOut,
    Refused,
    Rehearse,
    Request,
    Said,
    Seen,
    Show,
)

CACHED_BYTES = 256_000_000
"""Of decoded pictures held, 270 of 640×480: reading 60 of them once more would take a second of what follows Done."""
REGION_EVERY = 4
"""Pictures after which the region is looked for anew, if nothing else is to be done."""
TELL_S = 0.1
"""How often it is told how far learning is that had begun ahead."""


_SET_PARENT_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of Linux' prctl."""
STEP_S = 1.0
"""How often it is told at the most that another picture was looked at."""
FIRST_TO_GO = 500
"""Of 1000: where memory runs out, the system ends this, and not the server that inspects."""


class Cache:
    """Decoded pictures by path, for several threads; what does not fit any more is read each time it is asked for.

    Args:
        most: bytes that are held.
        looked: called for each picture that is asked for.
    """

    def __init__(self, most: int = CACHED_BYTES, looked: Callable[[], None] = lambda: None) -> None:
        self._most, self._size, self._looked = most, 0, looked
        self._held: dict[str, BGRImage] = {}
        self._lock = threading.Lock()

    def read(self, path: str) -> BGRImage:
        """Raises ImageError: it cannot be read."""
        self._looked()
        held = self._held.get(path)
        if held is None:
            held = read(Path(path))
            with self._lock:
                # Full, it stays as it is: all are read in turn, so whichever made room would be missed next.
                if path not in self._held and self._size + held.nbytes <= self._most:
                    self._held[path], self._size = held, self._size + held.nbytes
        return held

    def forget(self, path: str) -> None:
        with self._lock:
            if (held := self._held.pop(path, None)) is not None:
                self._size -= held.nbytes


class Pictures(Sequence[BGRImage]):
    """The pictures at some paths, read when they are asked for."""

    def __init__(self, cache: Cache, paths: Sequence[str]) -> None:
        self._cache, self._paths = cache, paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, place: int) -> BGRImage: ...
    @overload
    def __getitem__(self, place: slice) -> Pictures: ...
    def __getitem__(self, place: int | slice) -> BGRImage | Pictures:
        if isinstance(place, slice):
            return Pictures(self._cache, self._paths[place])
        return self._cache.read(self._paths[place])


class Pupil:
    """What one teaching has shown so far.

    Args:
        say: what comes before an answer, and by itself.
    """

    def __init__(self, wanted: words.Wanted, say: Callable[[Said], None]) -> None:
        self._wanted, self._say = wanted, say
        self._coverage = Coverage(wanted.runtime, 1)
        self._memory = Remembered()
        self._cache = Cache(looked=self._say_step)
        self._stepped = time.monotonic()
        self._paths: dict[int, str] = {}
        self._theirs: dict[int, int] = {}
        """The coverage's own numbers of pictures."""
        self._since_region = 0
        self._rehearsal: Rehearsal | None = None

    def answer(self, request: Request) -> Answer:
        """Do what is asked for."""
        try:
            match request:
                case Show():
                    return self._show(request)
                case LeaveOut():
                    return self._leave_out(request)
                case Learn():
                    return self._learn(request)
                case Rehearse():
                    self._stop_rehearsal()
                    self._rehearsal = Rehearsal(self._fit, request.paths, request.category)
                    return self._known()
        except DetectorError as error:
            return Refused(str(error))
        except Exception as error:
            if out_of_memory(error):
                return Refused(OUT_OF_MEMORY)
            raise

    @property
    def wants_region(self) -> bool:
        """Whether pictures came or went since the region was looked for."""
        first_ones = len(self._paths) <= REGION_EVERY
        return self._since_region >= (1 if first_ones else REGION_EVERY)

    def look_for_region(self) -> None:
        """Say what would be inspected, as far as it can be known now: what is wrong with a picture is told when it is
        shown, and where memory is short, when it is learned from."""
        self._since_region = 0
        if not self._paths:
            return
        some = Spread(Pictures(self._cache, [*self._paths.values()]), SAMPLE)
        try:
            self._say(words.Region(_region(some, self._wanted)))
        except DetectorError:
            return
        except Exception as error:
            if not out_of_memory(error):
                raise

    def _show(self, request: Show) -> Answer:
        self._stop_rehearsal()
        frame = self._cache.read(request.path)
        if not request.always and self._coverage.is_copy(frame):
            self._cache.forget(request.path)
            return IsCopy()
        self._theirs[request.number] = self._coverage.add(frame).number
        self._paths[request.number] = request.path
        self._since_region += 1
        return self._known()

    def _leave_out(self, request: LeaveOut) -> Answer:
        self._stop_rehearsal()
        theirs = self._theirs.pop(request.number, None)
        if theirs is not None:
            self._coverage.remove(theirs)
            self._cache.forget(self._paths.pop(request.number))
            self._since_region += 1
        return self._known()

    def _known(self) -> Answer:
        found = {shown.number: shown for shown in self._coverage.pictures()}
        summary = self._coverage.summary()
        return words.Shown(
            {ours: _seen(found[theirs]) for ours, theirs in self._theirs.items() if theirs in found},
            words.Coverage(summary.parts, summary.of_last, summary.new_of_last, summary.enough, summary.sentence),
        )

    def _learn(self, request: Learn) -> Answer:
        model = self._learned(request)
        try:
            write_model(model, Path(request.folder))
        except OSError as error:
            words = f"the model cannot be written ({error.strerror}): make room in the data directory, then try again"
            raise ModelError(words) from error
        return Learned(model.manifest.registration)

    def _learned(self, request: Learn) -> TaughtModel:
        ahead = self._rehearsal
        if ahead is None or ahead.about != (request.paths, request.category):
            self._stop_rehearsal()
            return self._fit(request.paths, request.category, self._say_progress)
        while not ahead.wait(TELL_S):
            self._say_progress(ahead.fraction)
        self._say_progress(1.0)
        self._rehearsal = None
        return ahead.model()

    def _fit(self, paths: Sequence[str], category: str, progress: Callable[[float], None]) -> TaughtModel:
        return fit(
            Pictures(self._cache, paths),
            preset=self._wanted.preset,
            category=category,
            runtime_name=self._wanted.runtime,
            progress=lambda _, fraction: progress(fraction),
            memory=self._memory,
        )

    def _say_progress(self, fraction: float) -> None:
        self._say(words.Progress(fraction))

    def _say_step(self) -> None:
        if (now := time.monotonic()) - self._stepped >= STEP_S:
            self._stepped = now
            self._say(words.Step())

    def _stop_rehearsal(self) -> None:
        if self._rehearsal is not None:
            self._rehearsal.stop()
            self._rehearsal = None


def _seen(shown: Shown) -> Seen:
    return Seen(shown.new, False, shown.outlier, shown.why, _rounded(shown.place) if shown.place else None)


def _rounded(place: Box) -> Box:
    left, top, right, bottom = place
    return round(left, 3), round(top, 3), round(right, 3), round(bottom, 3)


def _region(pictures: Spread[BGRImage], wanted: words.Wanted) -> Box:
    """What a model of this preset would look at; what :func:`detector.fit` will find, as far as pictures tell now."""
    network, preset = load_backbone(), PRESETS[wanted.preset]
    inputs = Inputs(preset.image_size, network.size_multiple * preset.shrink, network.grid_stride)
    return inspected(pictures, inputs, "auto").fractions


def serve(requests: BinaryIO, answers: BinaryIO, wanted: words.Wanted) -> None:
    """Answer one request after another; ends the process where they end."""

    def say(said: Said) -> None:
        with saying:  # what is learned ahead says that it goes on from a thread of its own
            answers.write(words.line(said))
            answers.flush()

    def hear() -> None:
        try:
            while text := requests.readline():
                waiting.put(words.request_of(text))
        finally:
            os._exit(0)  # the server is gone, or wants this to be; whatever is learned now is for nobody

    saying = threading.Lock()
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    pupil = Pupil(wanted, say)
    threading.Thread(target=hear, name="requests", daemon=True).start()
    while True:
        if pupil.wants_region and waiting.empty():
            pupil.look_for_region()
        say(pupil.answer(waiting.get()))


def step_back() -> None:
    """Let the server go first in everything: the processor, memory, and the end, as far as the system knows such."""
    use_what_is_left()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
    if sys.platform == "linux":
        server = os.getppid()
        # Also while this is stopped, or in the middle of a long computation, and does not hear that its input ended.
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != server:  # it ended a moment before
            os._exit(0)


def main() -> None:
    step_back()
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers, msgspec.json.decode(sys.argv[1], type=words.Wanted))


if __name__ == "__main__":
    main()
