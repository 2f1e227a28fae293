"""Who computes: pull, fairness, bounds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from server.streams.pool import (
    MAX_HANGING,
    MAX_HANGING_EACH,
    MAX_REQUESTS,
    SHOWN_S,
    Hung,
    InferencePool,
    Job,
    PoolBusy,
    Progress,
)
from server.streams.turns import Account
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
        self.name, self.pool, self.done, self.account = name, pool, done, Account()
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
    assert all(one.thread._work_queue.qsize() == 0 for one in pool._in_work) and len(pool._in_work) == 1
    gate.set()
    await until(lambda: len(done) == 9)
    assert [value for _, value, _ in done] == [1, 2, 2, 2, 2, 2, 2, 2, 2]


async def test_sources_take_turns() -> None:
    """One always has a frame waiting; the others, whose jobs take as long, are served as often."""
    pool, done = InferencePool(1, clock=lambda: 0.0), list[Any]()
    pool.start()
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
    pool.close()


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


async def test_a_thread_that_cannot_be_started_costs_its_job_and_no_place(
    pool: InferencePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[Any] = []
    camera = Camera("a", pool, done)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        for value in (1, 2):
            camera.put(value)
        with pytest.raises(RuntimeError, match="can't start"):
            await pool.run(lambda: 7)
    assert [(value, str(outcome)) for _, value, outcome in done] == [
        (value, "can't start new thread") for value in (1, 2)
    ]
    assert await pool.run(lambda: 7) == 7 and pool.trouble is None
    camera.put(3)
    await until(lambda: len(done) == 3)
    assert done[2] == ("a", 3, None)


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
    assert not pool._turns._waiting
    pool.close()


# --- jobs that take long, and jobs that never end ---


@pytest.fixture
async def watched() -> AsyncIterator[InferencePool]:
    pool = InferencePool(1, hung_after_s=0.2)
    pool.start()
    yield pool
    pool.close()


class Frozen:
    """Work that hangs until the end of the test."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.returned = threading.Event()

    def __call__(self) -> str:
        self.gate.wait(WAIT_S)
        self.returned.set()
        return "late"


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    frozen = Frozen()
    yield frozen
    frozen.gate.set()


async def test_a_slow_job_does_not_hold_up_a_quick_source(pool: InferencePool, frozen: Frozen) -> None:
    """The watchdog's time is not up for long: the express place is what lets the quick one through."""
    done: list[Any] = []
    quick = Camera("quick", pool, done)
    quick.put(0)
    await until(lambda: len(done) == 1)
    Camera("slow", pool, done, frozen).put(1)
    for value in range(1, 6):
        quick.put(value)
        await until(lambda value=value: done[-1][1] == value)  # type: ignore[misc]
    assert not frozen.returned.is_set() and pool.trouble is None


async def test_a_hung_job_is_given_up_replaced_and_never_heard_again(
    watched: InferencePool, frozen: Frozen, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[Any] = []
    camera = Camera("press", watched, done, frozen)
    camera.put(1)
    await until(lambda: len(done) == 1)
    assert isinstance(done[0][2], Hung)
    assert watched.trouble is not None and "press" in watched.trouble
    assert watched.warning is not None and "1 worker hangs" in watched.warning
    camera.work = lambda: "in time"
    camera.put(2)
    await until(lambda: len(done) == 2)
    assert done[1] == ("press", 2, "in time"), "another worker took over, for this very source too"
    frozen.gate.set()
    await until(lambda: watched.warning is None)
    await until(lambda: "came back" in caplog.text)
    assert len(done) == 2, "the late result is nobody's"
    hangs = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(hangs) == 1 and "at=press" in hangs[0].getMessage()


async def test_trouble_is_shown_for_a_while_and_then_over(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    pool, done = InferencePool(1, hung_after_s=0.2, clock=lambda: now), list[Any]()
    pool.start()
    camera = Camera("press", pool, done, frozen)
    camera.put(1)
    await until(lambda: len(done) == 1)
    now += 3600
    assert pool.trouble is not None and pool.is_hung, "nothing was inspected since"
    camera.work = lambda: None
    camera.put(2)
    await until(lambda: len(done) == 2)
    assert pool.trouble is None and not pool.is_hung
    pool.close()


async def test_who_left_before_its_job_was_given_up_is_no_longer_in_trouble_for_it(frozen: Frozen) -> None:
    now, done = 100.0, list[Any]()
    pool = InferencePool(1, hung_after_s=0.05, clock=lambda: now)
    pool.start()
    left = Camera("press", pool, done, frozen)
    left.put(1)
    pool.withdraw(left)
    await until(lambda: len(done) == 1)
    assert pool.trouble is not None, "shown for a moment, as any that hangs"
    now += SHOWN_S
    assert pool.trouble is None and not pool.is_hung and pool.warning is not None
    pool.close()


async def test_who_left_takes_no_place_among_those_that_wait(frozen: Frozen) -> None:
    """Its job comes to an end while too many of its name hang."""
    pool, done = InferencePool(MAX_HANGING_EACH + 1, hung_after_s=0.2), list[Any]()
    gate, progress = threading.Event(), Progress()
    pool.start()

    def go_on() -> None:
        while not gate.wait(0.01):
            progress.made()

    class Busy(Camera):
        def next_job(self) -> Job | None:
            job = super().next_job()
            return job and replace(job, progress=progress)

    hang = (Camera("cursed", pool, done, frozen) for _ in range(MAX_HANGING_EACH))
    for camera in (Busy("cursed", pool, done, go_on), *hang):
        camera.put("of one that left")
        pool.withdraw(camera)
    await until(lambda: len(done) == MAX_HANGING_EACH)
    back = Camera("cursed", pool, done)
    back.put("one more")
    gate.set()
    await until(lambda: len(done) == MAX_HANGING_EACH + 1)
    assert back.waiting == "one more"
    frozen.gate.set()
    await until(lambda: done[-1] == ("cursed", "one more", None))
    pool.close()


async def test_other_sources_go_on_while_one_hangs(watched: InferencePool, frozen: Frozen) -> None:
    done: list[Any] = []
    Camera("hangs", watched, done, frozen).put(1)
    other = Camera("other", watched, done)
    other.put(1)
    await until(lambda: any(name == "other" for name, _, _ in done))


async def test_what_takes_long_but_goes_on_is_not_called_hung(watched: InferencePool) -> None:
    progress = Progress()

    def work() -> str:
        for _ in range(10):
            time.sleep(0.1)  # half of what a hung job is given
            progress.made()
        return "done"

    assert await watched.run(work, progress=progress) == "done"
    assert watched.trouble is None


async def test_a_request_that_hangs_is_told(watched: InferencePool, frozen: Frozen) -> None:
    with pytest.raises(Hung, match="given up"):
        await watched.run(frozen)
    assert await watched.run(lambda: 7) == 7


async def test_requests_that_hung_are_trouble_for_a_moment_or_while_no_more_are_taken(frozen: Frozen) -> None:
    now = 100.0
    pool = InferencePool(1, hung_after_s=0.05, clock=lambda: now)
    pool.start()
    for number in range(MAX_HANGING_EACH):
        assert pool.trouble is None, number
        with pytest.raises(Hung, match="given up"):
            await pool.run(frozen)
        assert pool.trouble is not None and "a single picture" in pool.trouble
        now += SHOWN_S
    assert pool.trouble is not None and "a single picture" in pool.trouble
    with pytest.raises(Hung, match="a single picture"):
        await pool.run(lambda: 7)
    frozen.gate.set()
    await until(lambda: pool.warning is None)
    assert pool.trouble is None and await pool.run(lambda: 7) == 7
    pool.close()


async def test_one_source_cannot_use_up_the_threads(watched: InferencePool, frozen: Frozen) -> None:
    done: list[Any] = []
    camera = Camera("cursed", watched, done, frozen)
    for value in range(MAX_HANGING_EACH):
        camera.put(value)
        await until(lambda value=value: len(done) == value + 1)  # type: ignore[misc]
    camera.put("one more")
    assert camera.waiting == "one more", "it waits until a thread of its comes back"
    assert await watched.run(lambda: 7) == 7
    frozen.gate.set()
    await until(lambda: len(done) == MAX_HANGING_EACH + 1)
    assert done[-1][1:] == ("one more", "late")


async def test_a_source_that_comes_back_under_its_name_does_not_either(watched: InferencePool, frozen: Frozen) -> None:
    done: list[Any] = []
    for connection in range(MAX_HANGING_EACH):
        camera = Camera("cursed", watched, done, frozen)
        camera.put(connection)
        await until(lambda connection=connection: len(done) == connection + 1)  # type: ignore[misc]
        watched.withdraw(camera)
    away, back = (Camera("cursed", watched, done, frozen) for _ in range(2))
    away.put("of one that is gone again")
    watched.withdraw(away)
    back.put("one more")
    assert back.waiting == "one more" and watched.trouble is not None and "cursed" in watched.trouble
    assert await watched.run(lambda: 7) == 7
    frozen.gate.set()
    await until(lambda: len(done) == MAX_HANGING_EACH + 1)
    assert done[-1][1:] == ("one more", "late") and away.waiting is not None


async def test_when_too_many_hang_it_says_that_only_a_restart_helps(frozen: Frozen) -> None:
    pool, done = InferencePool(2, hung_after_s=0.05), list[Any]()
    pool.start()
    for number in range(MAX_HANGING):
        Camera(str(number), pool, done, frozen).put(1)
    await until(lambda: len(done) == MAX_HANGING)
    assert pool.trouble is not None and "restart the server" in pool.trouble and pool.is_hung
    with pytest.raises(Hung, match="restart the server"):
        await pool.run(lambda: 7)
    for number in range(3):
        Camera(f"late {number}", pool, done, frozen).put(1)
    await until(lambda: len(done) == MAX_HANGING + 2)
    await asyncio.sleep(0)
    assert len(pool._hanging) == MAX_HANGING + 2, "two workers hang and are not replaced; no thread more"
    frozen.gate.set()
    await until(lambda: pool.warning is None)
    assert await pool.run(lambda: 7) == 7, "they came back by themselves"
    pool.close()


async def test_a_request_that_waits_when_nothing_goes_any_more_is_told(frozen: Frozen) -> None:
    pool, done = InferencePool(1, hung_after_s=0.05), list[Any]()
    pool.start()
    for number in range(MAX_HANGING - 1):
        Camera(str(number), pool, done, frozen).put(1)
    await until(lambda: len(done) == MAX_HANGING - 1)
    Camera("last", pool, done, frozen).put(1)
    waiting = asyncio.create_task(pool.run(lambda: 7))
    with pytest.raises(Hung):
        await waiting
    pool.close()
