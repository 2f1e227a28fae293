"""A thread of a sink's own for what blocks: a disk that hangs hangs it, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar, TypeVar

from server.sinks.sink import SinkError

T = TypeVar("T")


class Hand:
    """One thing at a time; a thing that hangs is neither waited for after a cancellation nor done twice. On the event
    loop.

    Args:
        owner: id of the sink: its next run gets the same hand, if that still hangs.
    """

    _hanging: ClassVar[dict[str, Future[object]]] = {}

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._executor = ThreadPoolExecutor(1, f"sink-{owner}")

    async def do(self, what: Callable[[], T]) -> T:
        """Raises SinkError: what was done last has not ended. Otherwise what it raises."""
        last = self._hanging.get(self._owner)
        if last is not None and not last.done():
            raise SinkError("the last thing that was tried still hangs: the disk or device does not answer")
        job = self._executor.submit(what)
        self._hanging[self._owner] = job  # type: ignore[assignment]
        return await asyncio.wrap_future(job)

    def let_go(self) -> None:
        last = self._hanging.get(self._owner)
        if last is not None and last.done():
            del self._hanging[self._owner]
        self._executor.shutdown(wait=False, cancel_futures=True)
