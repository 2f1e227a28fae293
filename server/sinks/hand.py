"""A thread of a sink's own for what blocks: a disk or device that hangs hangs it, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from server.sinks.sink import SinkError

T = TypeVar("T")

PATIENCE_S = 2.0
"""For what was begun before, by this run of the sink or an earlier one."""

_at_work: dict[str, Future[Any]] = {}
"""What the hand of each sink does now: a run that was given up may have left something that hangs."""


class Hand:
    """Does one thing at a time. On the event loop.

    Args:
        owner: id of the sink. Its runs share what hangs, so that however often it is run anew, one thread hangs.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._in_turn = asyncio.Lock()
        self._executor = ThreadPoolExecutor(1, f"sink-{owner}")

    async def do(self, what: Callable[[], T]) -> T:
        """Raises SinkError: what was done before still hangs. Otherwise what it raises."""
        async with self._in_turn:
            before = _at_work.get(self._owner)
            if before is not None:
                await asyncio.wait({asyncio.wrap_future(before)}, timeout=PATIENCE_S)
                if not before.done():
                    raise SinkError("what was tried before still hangs: the disk or device does not answer")
            return await asyncio.wrap_future(self._begin(what))

    def finish(self, what: Callable[[], object] | None = None) -> None:
        """Do a last thing, once what is being done has ended, and wait for nothing."""
        if what is not None:
            self._begin(what)
        self._executor.shutdown(wait=False)

    def _begin(self, what: Callable[[], T]) -> Future[T]:
        job = self._executor.submit(what)
        _at_work[self._owner] = job

        def ended(job: Future[T]) -> None:
            if _at_work.get(self._owner) is job:
                del _at_work[self._owner]

        job.add_done_callback(ended)
        return job
