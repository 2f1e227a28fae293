"""Who works: threads that pull the newest waiting frame, fairly between streams, and are watched while they work.

Nothing ever waits behind a worker: a job is handed over only when one is free. The event loop owns all state here, so
there are no locks. Where frames are looked at elsewhere (:mod:`server.replicas`), each thread waits for one replica,
and there are as many at once as replicas are known to be free.

A thread in native code cannot be stopped. One that makes no progress is left to itself: its job is given up, another
thread takes its place, and what it may say one day is not heard.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from detector.counted import counted
from detector.images import telling
from server.streams.turns import SLOW_S, Account, Turns
from server.words import Figure

T = TypeVar("T")

log = logging.getLogger("defectvision.pool")

MAX_REQUESTS = 16
"""Single requests (``POST /predict``) that may wait or be in work at once; more are refused, not queued."""

MAX_HANGING = 8
"""Threads that may hang and be replaced; beyond that only a restart helps."""
MAX_HANGING_EACH = 2
"""Of sources of one name: a camera whose every picture hangs a thread must not use them all up, nor by connecting
again."""
LOOKS = 8
"""Times a job is looked at before it is called hung: it hangs when it made no progress between any of them. A computer
that was asleep, or a busy event loop, is late for one of them only."""
REQUESTS = "a single picture"
"""Name of all single requests; no stream can have it."""
SHOWN_S = 10.0
"""Seconds for which a hung worker is shown at the least: pages and monitors ask every few seconds."""


class PoolBusy(Exception):
    """Too many single requests wait already, or none is taken any more."""


class Hung(Exception):
    """A job was given up because it made no progress; the message says so to whoever waits for it."""


class Progress:
    """How a job says, from its own thread, that it goes on: each step may take as long as any other job.

    Attributes:
        steps: so many so far.
    """

    def __init__(self) -> None:
        self.steps = 0

    def made(self) -> None:
        self.steps += 1


@dataclass(frozen=True)
class Job:
    """``work`` runs in a worker thread; ``done`` on the event loop, with its result or the exception it raised, or
    :class:`Hung`."""

    work: Callable[[], Any]
    done: Callable[[Any], None]
    progress: Progress = field(default_factory=Progress)


class Source(Protocol):
    """Something that may have a job waiting. Has at most one job in work at a time; ``name``: it keeps when it comes
    back as another one."""

    name: str
    account: Account

    def next_job(self) -> Job | None:
        """The newest job that waits, handed over; or nothing."""
        ...


class Supply(Protocol):
    """Where workers are that are not of this process: they come and go."""

    @property
    def trouble(self) -> str | None:
        """Why frames are not looked at, and what to do; nothing while all is well."""
        ...

    @property
    def warning(self) -> str | None:
        """What is wrong though frames are looked at; or nothing."""
        ...

    def figures(self) -> Iterator[Figure]:
        """How many there are, and what became of them."""
        ...


@dataclass(eq=False)
class _InWork:
    source: Source
    job: Job
    thread: ThreadPoolExecutor
    began: float
    timer: asyncio.TimerHandle | None = None
    looks: int = 0
    steps: int = 0
    replaced: bool = False
    is_gone: bool = False
    """Its source left."""


class InferencePool:
    """Runs jobs of many sources on a few threads.

    Args:
        workers: jobs in work at once; one more beside a slow one, :mod:`server.streams.turns`.
        hung_after_s: seconds without progress after which a job is given up and its thread replaced.
        supply: where the workers are, if not here; it says by :meth:`employ` how many.
        clock: seconds, monotonic.

    Attributes:
        finished: jobs that came to an end in time, so far.
    """

    def __init__(
        self,
        workers: int,
        *,
        hung_after_s: float = 4.0,
        supply: Supply | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        # A slow frame on a replica takes nobody's processor, but the express place would have no replica to go to.
        self._turns: Turns[Source] = Turns(workers, express=supply is None)
        self._supply = supply
        self._hung_after_s, self._clock = hung_after_s, clock
        self._free: list[ThreadPoolExecutor] = []
        self._in_work: set[_InWork] = set()
        self._hanging: set[_InWork] = set()
        self._unserved: dict[Account, str] = {}
        self._barred: dict[str, Source] = {}
        """Those that had something waiting when too many of their name hung, by name."""
        self._shown_until = 0.0
        self._what_hung = ""
        self._requests: set[_Request] = set()
        self._requests_account = Account()
        self._running = False
        self._stopping = self._closed = False
        self.finished = 0

    def start(self) -> None:
        """Begin to run jobs (there is a model now)."""
        self._running = True
        self._pump()

    def employ(self, workers: int) -> None:
        """There are so many workers from now on; those in work above that finish what they do."""
        self._turns.workers = workers
        self._pump()

    @property
    def waiting(self) -> int:
        """How many sources wait for a worker."""
        return self._turns.waiting

    def notify(self, source: Source) -> None:
        """Say that a source has a job waiting. Cheap, and harmless when said twice."""
        # A source in work is looked at again when its job is done; one that waits keeps its place.
        if self._is_barred(source.name):
            self._barred[source.name] = source
            return
        self._turns.wait(source, source.account)
        self._pump()

    def withdraw(self, source: Source) -> None:
        """Forget a source that is gone: while there is no model, nobody else would take it out of the queue.

        What it has in work goes on; if that hangs, nobody waits to be inspected again.
        """
        self._turns.withdraw(source)
        for one in self._in_work | self._hanging:
            one.is_gone |= one.source is source
        self._unserved.pop(source.account, None)
        if self._barred.get(source.name) is source:
            del self._barred[source.name]

    async def run(self, work: Callable[[], T], *, refuse: bool = True, progress: Progress | None = None) -> T:
        """Run one piece of work in turn with the streams. All who call this are one source to them.

        Args:
            refuse: false for the next piece of something that was let in already, and must not be lost midway.
            progress: on which the work tells of its steps, if it has several.

        Raises:
            PoolBusy: too many wait already, or the server stops.
            Hung: it was given up.
        """
        if self._stopping:
            raise _stopping()
        if refuse and len(self._requests) >= MAX_REQUESTS:
            raise PoolBusy("the server is busy: too many requests are waiting; try again in a second")
        if self._is_barred(REQUESTS) or self.is_stuck:
            raise Hung(self.trouble or "the workers hang: restart the server")
        request = _Request(work, self._requests_account, progress or Progress())
        self._requests.add(request)
        try:
            self.notify(request)
            result: T = await request.result
            return result
        finally:
            self._requests.discard(request)
            self.withdraw(request)

    def stop_waiting(self) -> None:
        """Answer all who wait for a single request, now and from now on: the server stops."""
        self._stopping = True
        for request in self._requests:
            if not request.result.done():
                request.result.set_exception(_stopping())

    def close(self) -> None:
        """Take no more jobs. Work already in a thread ends by itself, unheard."""
        self._closed = True
        for one in self._in_work | self._hanging:
            if one.timer is not None:
                one.timer.cancel()
            one.thread.shutdown(wait=False)
        for thread in self._free:
            thread.shutdown(wait=False)

    @property
    def is_stuck(self) -> bool:
        """Whether so many threads hang that no more are started."""
        return len(self._hanging) >= MAX_HANGING

    @property
    def trouble(self) -> str | None:
        """Why frames are not inspected, or were not until a moment ago, and what to do; nothing while all is well."""
        if self.is_stuck:
            return f"{len(self._hanging)} workers hang and no more are started: restart the server"
        return self._supply_trouble or self._hang_trouble

    @property
    def is_hung(self) -> bool:
        """Whether the trouble is what hangs here, which a restart ends; workers elsewhere that are away are no such."""
        return self.is_stuck or (self._supply_trouble is None and self._hang_trouble is not None)

    @property
    def _supply_trouble(self) -> str | None:
        return None if self._supply is None else self._supply.trouble

    @property
    def _hang_trouble(self) -> str | None:
        refused = [REQUESTS] if self._is_barred(REQUESTS) else []
        unserved = ", ".join(sorted({*self._unserved.values(), *self._barred, *refused}))
        if not unserved and self._clock() >= self._shown_until:
            return None
        then = "another worker took over; if this stays, restart the server"
        return f"the inspection of {unserved or self._what_hung} hung for {self._hung_after_s:g} s: {then}"

    @property
    def warning(self) -> str | None:
        """That threads still hang though others took over; or nothing."""
        if not self._hanging:
            return None if self._supply is None else self._supply.warning
        hang = counted(len(self._hanging), "worker hangs", "workers hang")
        return f"{hang} and cannot be ended, others took over: restart the server when the line allows it"

    def figures(self) -> Iterator[Figure]:
        """How much waits and is in work."""
        yield Figure("pool_waiting", "sources that wait for a worker", self._turns.waiting)
        yield Figure("pool_in_work", "jobs in work", len(self._in_work))
        yield Figure("pool_hanging", "workers that hang and cannot be ended", len(self._hanging))
        if self._supply is not None:
            yield from self._supply.figures()
        yield Figure("pool_requests", "single pictures that wait or are in work", len(self._requests))

    def _is_barred(self, name: str) -> bool:
        return sum(one.source.name == name for one in self._hanging) >= MAX_HANGING_EACH

    def _pump(self) -> None:
        while self._running and not self._closed:
            source = self._turns.next()
            if source is None:
                return
            job = source.next_job()
            if job is not None:
                self._begin(source, job)

    def _begin(self, source: Source, job: Job) -> None:
        loop = asyncio.get_running_loop()
        self._turns.begin(source, source.account)
        # The thread that was free last: the others are there only for moments when one more is needed.
        thread = self._free.pop() if self._free else ThreadPoolExecutor(1, "inference")
        one = _InWork(source, job, thread, self._clock())
        try:
            working = loop.run_in_executor(thread, _work, job)
        except RuntimeError as error:  # the system starts no more threads: the next job tries it again
            self._turns.end(source, source.account, 0.0)
            job.done(error)
            return
        self._in_work.add(one)
        one.timer = loop.call_later(SLOW_S, self._is_late, one)
        working.add_done_callback(partial(self._finish, one))

    def _is_late(self, one: _InWork) -> None:
        self._turns.is_late(one.source, self._clock() - one.began)
        one.timer = asyncio.get_running_loop().call_later(self._hung_after_s / LOOKS, self._look, one)
        self._pump()

    def _look(self, one: _InWork) -> None:
        steps = one.job.progress.steps
        one.looks = one.looks + 1 if steps == one.steps else 1
        one.steps = steps
        if one.looks < LOOKS:
            self._turns.is_late(one.source, self._clock() - one.began)
            one.timer = asyncio.get_running_loop().call_later(self._hung_after_s / LOOKS, self._look, one)
            self._pump()
            return
        self._give_up(one)

    def _give_up(self, one: _InWork) -> None:
        one.timer = None
        one.replaced = not self.is_stuck
        self._in_work.discard(one)
        self._hanging.add(one)
        self._what_hung, self._shown_until = one.source.name, self._clock() + SHOWN_S
        if not one.is_gone:
            self._unserved[one.source.account] = one.source.name
        log.error("a worker hangs at=%s then=%s", one.source.name, self.trouble)
        if one.replaced:
            self._turns.end(one.source, one.source.account, self._clock() - one.began)
        words = f"the inspection hung: nothing came of it for {self._hung_after_s:g} s and it was given up"
        try:
            one.job.done(Hung(words))
        finally:
            if self.is_stuck or self._is_barred(REQUESTS):
                self._refuse_requests()
            self._go_on(one)

    def _refuse_requests(self) -> None:
        for request in self._requests:
            request.refuse(Hung(self.trouble or "the workers hang: restart the server"))

    def _finish(self, one: _InWork, future: asyncio.Future[Any]) -> None:
        outcome = None if future.cancelled() else future.exception() or future.result()
        if self._closed:
            return
        if one in self._hanging:
            self._come_back(one)
            return
        assert one.timer is not None
        one.timer.cancel()
        self._in_work.discard(one)
        self.finished += 1
        self._free.append(one.thread)
        self._turns.end(one.source, one.source.account, self._clock() - one.began)
        if self._unserved.pop(one.source.account, None) is not None:
            log.warning("a worker inspects again at=%s", one.source.name)
        try:
            if not future.cancelled():
                one.job.done(outcome)
        finally:
            self._go_on(one)

    def _come_back(self, one: _InWork) -> None:
        """What it found is of a moment long past, and its frame was counted: nobody hears of it."""
        self._hanging.discard(one)
        one.thread.shutdown(wait=False)
        if not one.replaced:
            self._turns.end(one.source, one.source.account, 0.0)
        account = one.source.account
        if not any(other.source.account is account for other in self._hanging):
            self._unserved.pop(account, None)
        log.warning("a worker that hung came back at=%s then=its result was dropped", one.source.name)
        barred = self._barred.pop(one.source.name, None)
        self._go_on(one)
        if barred is not None:
            self.notify(barred)

    def _go_on(self, one: _InWork) -> None:
        """A place is free; what had it may have something waiting again, if it is still there."""
        if not one.is_gone:
            self.notify(one.source)
        self._pump()


def _stopping() -> PoolBusy:
    return PoolBusy("the server is stopping: try again when it is back")


def _work(job: Job) -> Any:
    # A picture that is decoded in another process may take longer than a thread may be silent, and cannot hang it.
    with telling(job.progress.made):
        return job.work()


class _Request:
    def __init__(self, work: Callable[[], Any], account: Account, progress: Progress) -> None:
        self.name, self.account = REQUESTS, account
        self._work: Callable[[], Any] | None = work
        self._progress = progress
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def next_job(self) -> Job | None:
        work, self._work = self._work, None
        # A client that went away while it waited has cancelled the future: do not compute for nobody.
        if work is None or self.result.done():
            return None
        return Job(work, self._done, self._progress)

    def refuse(self, why: Hung) -> None:
        """Give up waiting; a request in work goes on."""
        if self._work is not None:
            self._work = None
            self._done(why)

    def _done(self, outcome: Any) -> None:
        if self.result.done():
            return
        if isinstance(outcome, BaseException):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)
