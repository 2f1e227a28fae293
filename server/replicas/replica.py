"""What runs on the other side: a few models and one frame at a time. No Ray here, and no sockets."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from detector import Detection, Detector, ImageError, TaughtModel
from detector.images import BGRImage
from server.inspection import Encoded, Looked, Wanted, all_of
from server.replicas.packed_model import Packed, unpacked

FORGOTTEN_S = 10.0
"""Seconds for which a model stays that no recipe uses any more: frames in work may still name it."""


@dataclass(frozen=True)
class Request:
    """A frame, and which model is to look at it how.

    Attributes:
        frame: as its sender encoded it; or the input of the model (h×w×3 uint8 BGR), of which only what the model finds
            is asked.
    """

    model: str
    frame: Encoded | BGRImage
    wanted: Wanted


@dataclass(frozen=True)
class Broken:
    """The frame cannot be decoded; one sentence says why."""

    words: str


@dataclass(frozen=True)
class NotHere:
    """The model is not loaded here, or not any more."""


@dataclass(frozen=True)
class Hello:
    """Who a replica is: the program's version, its machine and process."""

    version: str
    machine: str
    process: int


Answer = Looked | Detection | Broken | NotHere
Make = Callable[[Packed, Any, int | None], Detector]


def _make(packed: Packed, base: Any, threads: int | None) -> Detector:
    return unpacked(packed, base, threads=threads)


class Replica:
    """Its three calls may come from threads of their own at once: frames go on while a model is being loaded.

    Args:
        threads: that a frame may be computed with; None: all cores.
        make: makes a model of what came.
    """

    def __init__(self, threads: int | None = None, make: Make = _make) -> None:
        self._threads, self._make = threads, make
        self._models: dict[str, tuple[Packed, Detector]] = {}
        self._unwanted: dict[str, float] = {}
        self._lock = threading.Lock()

    def hello(self) -> Hello:
        """Who is this."""
        return Hello(version("defectvision"), platform.node(), os.getpid())

    def load(self, packed: Packed, fetch: Callable[[], bytes]) -> str:
        """Have a model ready; returns its hash. It looked at a first frame: what is slow once is done.

        Args:
            fetch: what the model learned when it was taught; asked only where nothing of it is here yet.

        Raises:
            ModelError: what is wrong with it.
        """
        with self._lock:
            if packed.hash in self._models:
                self._unwanted.pop(packed.hash, None)
                return packed.hash
            same = [(one, model) for one, model in self._models.values() if (one.taught, one.runtime) == _kind(packed)]
        model = self._make(packed, same[0][1] if same else fetch(), self._threads)
        if isinstance(model, TaughtModel):
            height, width = model.input_size
            model.detect_input(_grey(height, width))
        with self._lock:
            self._models[packed.hash] = packed, model
        return packed.hash

    def look(self, request: Request) -> Answer:
        """Look at one frame."""
        with self._lock:
            known = self._models.get(request.model)
        if known is None:
            return NotHere()
        _, model = known
        try:
            if not isinstance(request.frame, Encoded):
                assert isinstance(model, TaughtModel)
                return model.detect_input(request.frame)
            frame = request.frame()
            looked = all_of(frame, model.detect(frame), model, request.wanted)
        except ImageError as error:
            return Broken(str(error))
        return replace(looked, frame=None)  # it came from there, and is a hundred times as large

    def beat(self, wanted: Collection[str]) -> tuple[str, ...]:
        """Say that it lives, and what is loaded; models that are wanted no more go after a while."""
        now = time.monotonic()
        with self._lock:
            for hash in [*self._models]:
                if hash in wanted:
                    self._unwanted.pop(hash, None)
                elif now - self._unwanted.setdefault(hash, now) > FORGOTTEN_S:
                    del self._models[hash], self._unwanted[hash]
            return tuple(self._models)


def _kind(packed: Packed) -> tuple[str, str]:
    return packed.taught, packed.runtime


def _grey(height: int, width: int) -> BGRImage:
    return np.full((height, width, 3), 128, np.uint8)
