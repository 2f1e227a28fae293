"""Who computes: a thread pool whose free workers pull the newest waiting frame, fairly between streams.

Nothing ever sits in the executor's own queue: a job is submitted only when a worker is free. The event loop owns all
state here, so there are no locks. Another pool (Ray Serve, a GPU box) can stand behind the same two calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

MAX_REQUESTS = 16
"""Single requests (``POST /predict``) that may wait or be in work at once; more are refused, not queued."""


class PoolBusy(Exception):
    """Too many single requests wait already."""


@dataclass(frozen=True)
class Job:
    """``work`` runs in a worker thread; ``done`` on the event loop, with its result or the exception it raised."""

    work: Callable[[], Any]
    done: Callable[[Any], None]


class Source(Protocol):
    """Something that may have a job waiting. Has at most one job in work at a time."""

    def next_job(self) -> Job | None:
        """The newest job that waits, handed over; or nothing."""
        ...


class InferencePool:
    """Runs jobs of many sources on a few threads, one job a source in turn."""

    def __init__(self, workers: int) -> None:
        self._executor = ThreadPoolExecutor(workers, "inference")
        self._idle = workers
        self._ready: deque[Source] = deque()
        self._in_work: set[Source] = set()
        self._requests = 0
        self._running = False
        self._closed = False

    def start(self) -> None:
        """Begin to run jobs (there is a model now)."""
        self._running = True
        self._pump()

    def notify(self, source: Source) -> None:
        """Say that a source has a job waiting. Cheap, and harmless when said twice."""
        # A source in work is looked at again when its job is done; one in the queue keeps its place.
        if source not in self._in_work and source not in self._ready:
            self._ready.append(source)
        self._pump()

    def withdraw(self, source: Source) -> None:
        """Forget a source that is gone: while there is no model, nobody else would take it out of the queue."""
        with contextlib.suppress(ValueError):
            self._ready.remove(source)

    async def run(self, work: Callable[[], T], *, refuse: bool = True) -> T:
        """Run one piece of work in turn with the streams.

        Args:
            refuse: false for the next piece of something that was let in already, and must not be lost midway.

        Raises:
            PoolBusy: too many wait already.
        """
        if refuse and self._requests >= MAX_REQUESTS:
            raise PoolBusy("the server is busy: too many requests are waiting; try again in a second")
        self._requests += 1
        try:
            request = _Request(work)
            self.notify(request)
            result: T = await request.result
            return result
        finally:
            self._requests -= 1

    def close(self) -> None:
        """Take no more jobs. Work already in a thread ends by itself, unheard."""
        self._closed = True
        self._ready.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _pump(self) -> None:
        while self._running and not self._closed and self._idle and self._ready:
            source = self._ready.popleft()
            job = source.next_job()
            if job is None:
                continue
            self._idle -= 1
            self._in_work.add(source)
            future = asyncio.get_running_loop().run_in_executor(self._executor, job.work)
            future.add_done_callback(partial(self._finish, source, job))

    def _finish(self, source: Source, job: Job, future: asyncio.Future[Any]) -> None:
        self._idle += 1
        self._in_work.discard(source)
        try:
            if not future.cancelled() and not self._closed:
                job.done(future.exception() or future.result())
        finally:
            if not self._closed:
                self.notify(source)


class _Request:
    def __init__(self, work: Callable[[], Any]) -> None:
        self._work: Callable[[], Any] | None = work
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def next_job(self) -> Job | None:
        work, self._work = self._work, None
        # A client that went away while it waited has cancelled the future: do not compute for nobody.
        return Job(work, self._done) if work is not None and not self.result.done() else None

    def _done(self, outcome: Any) -> None:
        if self.result.done():
            return
        if isinstance(outcome, BaseException):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)
