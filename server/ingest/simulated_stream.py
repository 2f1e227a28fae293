"""Runs the simulated line as a stream, and teaches a model on its good parts at the first start."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from detector import PRESETS, ModelError, TaughtModel, fit, load_taught, model_folder
from detector.backbones import CHECKPOINT_SHA256
from detector.images import BGRImage
from detector.runtimes import runtime
from detector.teaching import DEFAULT_PRESET
from server import simulated_line
from server.simulated_line import SimulatedLine, good_frames
from server.streams import Streams
from server.words import Simulated, Transport

log = logging.getLogger("defectvision.simulated")

NAME = "simulated-line"
TRANSPORT: Transport = "simulated"
FRAMES_PER_SECOND = 12.0
TEACHING_FRAMES = 100
GOODS = 30
"""Of them, those that the cost of a correction is told by."""
CATEGORY = "simulated flange"


async def run(streams: Streams) -> None:
    """Feed the simulated line's frames into a stream, until cancelled."""
    line = SimulatedLine()
    opened = streams.open(NAME, TRANSPORT)
    start = time.perf_counter()
    try:
        for number in range(1 << 62):
            seconds = number / FRAMES_PER_SECOND
            due = start + seconds
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            frame = await asyncio.to_thread(line.frame_at, seconds)
            opened.offer(partial(lambda image: image, frame.image), Simulated(frame.part + 1, frame.defect))
            # A computer that was asleep or overloaded goes on from now instead of hurrying after lost time.
            start += max(0.0, time.perf_counter() - due - 1.0)
    finally:
        opened.close()


def goods(taught: str) -> Iterator[BGRImage]:
    """Some of the good parts that the simulated line's model is taught on; no other model's pictures are known."""
    yield from itertools.islice(good_frames(TEACHING_FRAMES), GOODS)


class Teacher:
    """Makes the simulated line's model, or loads the one made at an earlier start.

    Attributes:
        progress: 0..1 while it teaches.
    """

    def __init__(self, data_dir: Path, *, image_size: int | None, runtime: str, workers: int) -> None:
        self._folder = data_dir / "simulated_line"
        self._image_size = image_size or PRESETS[DEFAULT_PRESET].image_size
        self._runtime, self._workers = runtime, workers
        self.progress = 0.0
        self._stopped = False

    def model(self) -> TaughtModel:
        """The model. Takes seconds when it has to be taught; for a thread. One that cannot be stored is as good.

        Raises:
            ModelError: it cannot be made.
        """
        runtime(self._runtime)  # what it lacks is said before anything is taught
        fingerprint = _fingerprint(self._image_size)
        try:
            model = load_taught(self._folder, runtime_name=self._runtime, workers=self._workers)
            if model.manifest.dataset_fingerprint == fingerprint:
                model_folder.tidy(self._folder, model.manifest)
                return model
        except ModelError as error:
            if self._folder.exists():
                log.warning("the simulated line's model is taught again reason=%s", error)
        started = time.perf_counter()
        model = fit(
            good_frames(TEACHING_FRAMES),
            total=TEACHING_FRAMES,
            image_size=self._image_size,
            inspect="full",
            category=CATEGORY,
            fingerprint=fingerprint,
            runtime_name=self._runtime,
            workers=self._workers,
            progress=self._report,
        )
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            model.save(self._folder)
        except (OSError, ModelError) as error:
            log.warning(
                "the simulated line's model cannot be stored, and is taught again at every start: make room in %s, "
                "or set another DATA_DIR reason=%s",
                self._folder.parent,
                error,
            )
        log.info(
            "taught on the simulated line pictures=%d seconds=%.1f",
            TEACHING_FRAMES,
            time.perf_counter() - started,
        )
        return model

    def stop(self) -> None:
        """Give up teaching at its next step: the server is shutting down."""
        self._stopped = True

    def _report(self, stage: str, fraction: float) -> None:
        if self._stopped:
            raise ModelError("teaching was given up: the server is shutting down")
        self.progress = fraction


def _fingerprint(image_size: int) -> str:
    """Of everything the simulated pictures come from: a changed line is taught again by itself."""
    package = Path(simulated_line.__file__).parent
    digest = hashlib.sha256(f"{TEACHING_FRAMES} {image_size} {CHECKPOINT_SHA256}".encode())
    for source in sorted(package.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
