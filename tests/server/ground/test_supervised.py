"""Tasks that live as long as the server, and how they end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time

import pytest

from server.ground import Supervised, ended
from tests.server.fakes import until


async def test_a_part_that_crashes_is_begun_anew_with_growing_pauses_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "defectvision.supervised")
    began: list[float] = []
    well = asyncio.Event()

    async def work() -> None:
        began.append(time.monotonic())
        if not well.is_set():
            raise ZeroDivisionError("of a driver\nand more")
        await asyncio.Event().wait()

    part = Supervised("the test", work, first_s=0.01, longest_s=0.04, settled_s=0.2)
    assert part.warning is None
    part.start()
    part.start()  # once
    await until(lambda: part.restarts >= 4)
    assert part.warning is not None and "ZeroDivisionError: of a driver and more" in part.warning
    assert "times in a row" in part.warning
    gaps = [after - before for before, after in itertools.pairwise(began)]
    assert gaps[0] >= 0.009 and gaps[1] >= 0.019 and gaps[2] >= 0.039
    well.set()
    await until(lambda: part.warning is None)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert "state=failed" in lines[0] and "state=well" in lines[1]
    await part.stop()
    assert part.task is not None and part.task.cancelled()


async def test_a_part_that_returns_is_done() -> None:
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1

    part = Supervised("the test", work, first_s=0.0)
    part.start()
    await until(lambda: part.task is not None and part.task.done())
    assert times == 1 and part.warning is None
    part.start()
    await until(lambda: times == 2)


async def test_a_stop_ends_the_pause_too() -> None:
    async def work() -> None:
        raise OSError

    part = Supervised("the test", work, first_s=1000, longest_s=1000)
    part.start()
    await until(lambda: part.warning is not None)
    await part.stop()
    assert part.task is not None and part.task.done()


async def test_ends_go_side_by_side_and_none_holds_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    there = asyncio.Event()

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def meets() -> None:
        there.set()

    async def after() -> None:
        await there.wait()

    async def fails() -> None:
        raise ValueError("torn")

    await ended(0.3, hangs=hangs(), after=after(), meets=meets(), fails=fails())
    words = "\n".join(record.getMessage() for record in caplog.records)
    assert "part=hangs did not stop within=0.3s" in words and "part=fails did not stop cleanly" in words
    assert "after" not in words and "meets" not in words
    await ended(0.1)
