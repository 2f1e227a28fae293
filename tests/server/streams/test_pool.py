"""Who computes: pull, fairness, bounds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from server.streams.pool import MAX_REQUESTS, InferencePool, Job, PoolBusy
from tests.server.fakes import WAIT_S, until


@pytest.fixture
async def pool() -> AsyncIterator[InferencePool]:
    pool = InferencePool(1)
    pool.start()
    yield pool
    pool.close()


class Camera:
    """A source with one slot, as a stream has one. Its work is to write its name down."""

    def __init__(self, name: str, pool: InferencePool, done: list[Any], work: Callable[[], Any] | None = None) -> None:
        self.name, self.pool, self.done = name, pool, done
        self.waiting: Any = None
        self.work = work or (lambda: None)

    def put(self, value: Any) -> None:
        self.waiting = value
        self.pool.notify(self)

    def next_job(self) -> Job | None:
        value, self.waiting = self.waiting, None
        if value is None:
            return None
        return Job(self.work, lambda outcome: self.done.append((self.name, value, outcome)))


async def test_a_free_worker_takes_the_newest(pool: InferencePool) -> None:
    gate, done = threading.Event(), list[Any]()
    camera = Camera("a", pool, done, lambda: gate.wait(WAIT_S))
    for value in (1, 2, 3, 4):
        camera.put(value)
    gate.set()
    await until(lambda: len(done) == 2)
    assert [value for _, value, _ in done] == [1, 4]


async def test_nothing_waits_inside_the_executor(pool: InferencePool) -> None:
    gate, done = threading.Event(), list[Any]()
    cameras = [Camera(str(number), pool, done, lambda: gate.wait(WAIT_S)) for number in range(8)]
    for camera in cameras:
        camera.put(1)
    for camera in cameras:
        camera.put(2)
    assert pool._executor._work_queue.qsize() <= 1
    gate.set()
    await until(lambda: len(done) == 9)
    assert [value for _, value, _ in done] == [1, 2, 2, 2, 2, 2, 2, 2, 2]


async def test_sources_take_turns(pool: InferencePool) -> None:
    """One always has a frame waiting; the others are served as often."""
    done: list[Any] = []
    cameras = [Camera(name, pool, done) for name in "abc"]

    class Greedy(Camera):
        def next_job(self) -> Job | None:
            self.waiting = 1
            return super().next_job()

    greedy = Greedy("greedy", pool, done)
    for _ in range(20):
        greedy.put(1)
        for camera in cameras:
            camera.put(1)
        served = len(done) + 8
        await until(lambda served=served: len(done) >= served)  # type: ignore[misc]
    counts = [sum(name == camera for name, _, _ in done) for camera in "abc"]
    assert min(counts) >= 19


async def test_each_source_has_one_job_in_work_at_most() -> None:
    pool, at_once, most, lock = InferencePool(4), 0, 0, threading.Lock()
    pool.start()

    def work() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        with lock:
            at_once -= 1

    done: list[Any] = []
    camera = Camera("a", pool, done, work)
    for value in range(1, 200):
        camera.put(value)
        await asyncio.sleep(0)
    await until(lambda: bool(done) and done[-1][1] == 199)
    assert most == 1
    values = [value for _, value, _ in done]
    assert values == sorted(values)
    pool.close()


async def test_all_workers_work() -> None:
    pool, meeting = InferencePool(3), threading.Barrier(3, timeout=WAIT_S)
    pool.start()
    assert sorted(await asyncio.gather(*(pool.run(meeting.wait) for _ in range(3)))) == [0, 1, 2]
    pool.close()


async def test_a_failure_reaches_its_source_and_ends_nothing(pool: InferencePool) -> None:
    done: list[Any] = []

    def fail() -> None:
        raise RuntimeError("broken")

    camera = Camera("a", pool, done, fail)
    camera.put(1)
    await until(lambda: len(done) == 1)
    assert str(done[0][2]) == "broken"
    with pytest.raises(RuntimeError, match="broken"):
        await pool.run(fail)
    assert await pool.run(lambda: 7) == 7


def _fail(outcome: Any) -> None:
    raise RuntimeError("clumsy")


async def test_a_listener_that_fails_ends_nothing(pool: InferencePool) -> None:
    class Clumsy(Camera):
        def next_job(self) -> Job | None:
            job = super().next_job()
            return job and Job(job.work, _fail)

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    Clumsy("a", pool, []).put(1)
    assert await pool.run(lambda: 7) == 7


async def test_requests_are_refused_beyond_a_bound(pool: InferencePool) -> None:
    gate = threading.Event()
    waiting = [asyncio.create_task(pool.run(lambda: gate.wait(WAIT_S))) for _ in range(MAX_REQUESTS)]
    await asyncio.sleep(0)
    with pytest.raises(PoolBusy, match="try again"):
        await pool.run(lambda: None)
    gate.set()
    assert all(await asyncio.gather(*waiting))
    assert await pool.run(lambda: 7) == 7


async def test_nothing_is_computed_for_a_request_that_was_given_up(pool: InferencePool) -> None:
    gate, computed = threading.Event(), []
    first = asyncio.create_task(pool.run(lambda: gate.wait(WAIT_S)))
    given_up = asyncio.create_task(pool.run(lambda: computed.append(1)))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    gate.set()
    await first
    assert await pool.run(lambda: 7) == 7
    assert computed == []


async def test_nothing_runs_before_the_start() -> None:
    pool, done = InferencePool(1), list[Any]()
    camera = Camera("a", pool, done)
    camera.put(1)
    camera.put(2)
    request = asyncio.create_task(pool.run(lambda: 7))
    await asyncio.sleep(0.01)
    assert not done and not request.done()
    pool.start()
    assert await request == 7
    assert [value for _, value, _ in done] == [2]
    pool.close()


async def test_what_ends_after_the_close_is_not_heard() -> None:
    pool, gate, done, ended = InferencePool(1), threading.Event(), list[Any](), threading.Event()
    pool.start()

    def work() -> None:
        gate.wait(WAIT_S)
        ended.set()

    Camera("a", pool, done, work).put(1)
    pool.close()
    gate.set()
    await asyncio.to_thread(ended.wait, WAIT_S)
    pool.notify(Camera("b", pool, done))
    for _ in range(5):
        await asyncio.sleep(0)
    assert done == []


async def test_a_source_that_goes_before_there_is_a_model_is_forgotten() -> None:
    pool = InferencePool(1)
    for number in range(100):
        camera = Camera(str(number), pool, [])
        camera.put(1)
        pool.withdraw(camera)
        pool.withdraw(camera)
    assert not pool._ready
    pool.close()
