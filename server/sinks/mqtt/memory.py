"""What sinks know beyond one run: a sink is made anew for every try, and a broker that was away lost what it kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """What is known by name, bounded: what nobody asked for the longest time is forgotten.

    Args:
        fresh: makes what is known of a new name.
    """

    def __init__(self, fresh: Callable[[], T], most: int) -> None:
        self._fresh, self._most = fresh, most
        self._known: OrderedDict[str, T] = OrderedDict()
        self._since = float("-inf")

    def of(self, name: str) -> T:
        if name not in self._known:
            self._known[name] = self._fresh()
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return self._known[name]

    def peek(self, name: str) -> T | None:
        """What is known of a name; None, and nothing is forgotten for it, where nothing is."""
        return self._known.get(name)

    def set(self, name: str, known: T) -> None:
        self.of(name)
        self._known[name] = known

    def since(self, since: float, anew: Callable[[T], T]) -> Memory[T]:
        """Itself, for an outbox that has heard what happens since then.

        Args:
            since: of :class:`server.sinks.sink.Outbox`.
            anew: what holds of what was told by another outbox: nobody listened between the two.
        """
        if since != self._since:
            self._since = since
            for name, known in self._known.items():
                self._known[name] = anew(known)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._known)
