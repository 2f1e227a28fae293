"""What is known of streams by name, while they run and for a while after. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Remembered(Generic[K, T]):
    """One of each for a key, made when it is first asked for. Of more than ``most`` that are not in use the one not
    asked for the longest goes: to be asked for once more when its use ends.

    Args:
        is_in_use: says whether something goes by a key now.
    """

    def __init__(self, make: Callable[[], T], most: int, is_in_use: Callable[[K], bool]) -> None:
        self._make, self._most, self._is_in_use = make, most, is_in_use
        self._all: dict[K, T] = {}

    def of(self, key: K) -> T:
        one = self._all.pop(key) if key in self._all else self._make()
        self._all[key] = one
        if len(self._all) > self._most:
            away = [other for other in self._all if not self._is_in_use(other)]
            for oldest in away[: max(0, len(away) - self._most)]:
                del self._all[oldest]
        return one
