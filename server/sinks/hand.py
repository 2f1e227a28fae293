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
        owner: id of the sink. Its runs share what hangs, so that however often it is run anew, one thread hangs. What
            is tried beside a run has another owner.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._in_turn = asyncio.Lock()
        self._executor = ThreadPoolExecutor(1, f"sink-{owner}")
        self._last: Future[Any] | None = None
        self._is_finished = False

    async def do(self, what: Callable[[], T], within_s: float | None = None) -> T:
        """Args:
            within_s: what takes longer is waited for no more; None: it is, for ever.

        Raises:
            SinkError: this hangs, or what was done before still does, or the hand was finished. Otherwise what it
                raises.
        """
        async with self._in_turn:
            before = _at_work.get(self._owner)
            if before is not None:
                hung = asyncio.wrap_future(before)
                hung.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # who began it was told
                await asyncio.wait({hung}, timeout=PATIENCE_S)
                if not before.done():
                    raise SinkError("what was tried before still hangs: the disk or device does not answer")
            if self._is_finished:
                raise SinkError("it was ended or changed meanwhile: try again")
            try:
                async with asyncio.timeout(within_s) as limit:
                    return await asyncio.wrap_future(self._begin(what))
            except TimeoutError:
                if not limit.expired():
                    raise
                raise SinkError(f"the disk or device hangs: it did not answer within {within_s:g} s") from None

    def finish(self, what: Callable[[], object] | None = None) -> None:
        """Do a last thing, once what is being done has ended, and wait for nothing."""
        if what is not None:
            self._begin(what)
        self._is_finished = True
        self._executor.shutdown(wait=False)

    def _begin(self, what: Callable[[], T]) -> Future[T]:
        """What hangs in the hand of another run stays the one that is waited for."""
        before, job = _at_work.get(self._owner), self._executor.submit(what)
        if before is None or before.done() or before is self._last:
            _at_work[self._owner] = job
        self._last = job

        def ended(job: Future[T]) -> None:
            if _at_work.get(self._owner) is job:
                del _at_work[self._owner]

        job.add_done_callback(ended)
        return job
