"""What is known of streams by name, while they run and for a while after. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Remembered(Generic[K, T]):
    """One of each for a key, made when it is first asked for; of more than ``most`` the one not asked for the longest
    goes. Who has it keeps it."""

    def __init__(self, make: Callable[[], T], most: int) -> None:
        self._make, self._most = make, most
        self._all: dict[K, T] = {}

    def of(self, key: K) -> T:
        one = self._all.pop(key) if key in self._all else self._make()
        self._all[key] = one
        for oldest in [*self._all][: max(0, len(self._all) - self._most)]:
            del self._all[oldest]
        return one
