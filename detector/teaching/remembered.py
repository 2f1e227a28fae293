"""Patch features of inputs that were looked at before: who teaches again with one picture more looks at that one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from detector.backbones import AnyBackbone, Features
from detector.input_size import InputSize
from detector.runtimes import Runtime

Key = tuple[str, str, bool, InputSize, int]


class Remembered:
    """For several calls of :func:`detector.fit`, one after the other or side by side. The features are the very same,
    so that the models are.

    Args:
        most: bytes of features held; those unused for longest go first. 200 pictures of the default preset are 256 MB.
    """

    def __init__(self, most: int = 256_000_000) -> None:
        self._most, self._size = most, 0
        self._compiled: dict[Key, Features] = {}
        self._held: OrderedDict[tuple[Key, bytes], NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def compiled(self, engine: Runtime, network: AnyBackbone, size: InputSize, shrink: int = 1) -> Features:
        """As of :meth:`Runtime.features`, compiled once for a size; nothing that it finds is held."""
        key = _key(engine, network, size, shrink)
        with self._lock:
            if key not in self._compiled:
                # A network quantised for these pictures, or another region: what was before does not come again.
                self._compiled = {other: look for other, look in self._compiled.items() if other[:-1] == key[:-1]}
                self._compiled[key] = engine.features(network, size, shrink)
            return self._compiled[key]

    def features(self, engine: Runtime, network: AnyBackbone, size: InputSize, shrink: int = 1) -> Features:
        """The same, and of an input that was looked at before what was found then."""
        look, key = self.compiled(engine, network, size, shrink), _key(engine, network, size, shrink)
        if not self._most:
            return look

        def remembering(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            place = key, blake2b(np.ascontiguousarray(frame).data, digest_size=16).digest()
            with self._lock:
                if (known := self._held.get(place)) is not None:
                    self._held.move_to_end(place)
                    return known
            found = look(frame)
            self._hold(place, found)
            return found

        return remembering

    def _hold(self, place: tuple[Key, bytes], found: NDArray[np.float32]) -> None:
        found.flags.writeable = False
        with self._lock:
            if place not in self._held:
                self._held[place], self._size = found, self._size + found.nbytes
            while self._size > self._most:
                self._size -= self._held.popitem(last=False)[1].nbytes


def _key(engine: Runtime, network: AnyBackbone, size: InputSize, shrink: int) -> Key:
    return engine.name, network.sha256, engine.is_exact, size, shrink
