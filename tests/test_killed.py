"""The short form of ``benchmarks.killed``, and the soak's line through its samples."""

from __future__ import annotations

import asyncio
import math
import random
import sys

import pytest

from benchmarks import killed
from benchmarks.soak import Load, Sample, slope_of


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for orphans in /proc")
def test_a_server_that_is_killed_under_load_starts_clean_and_has_what_it_accepted() -> None:
    said = killed.run(3, seed=1, longest_s=3.0)
    assert said.startswith("3 kills") and "every start clean" in said


def test_the_slope_is_found_with_its_interval() -> None:
    chance = random.Random(0)

    def samples(rise: float) -> list[Sample]:
        def rss(at: int) -> float:
            return 200 + rise * at / 3600 + chance.gauss(0, 0.5) + (150 if at % 60 < 40 else 0)

        return [Sample(at, rss(at), 0, 1, 1) for at in range(0, 1800, 2)]

    for rise in (0.0, 5.0):
        slope, error = slope_of(samples(rise))
        assert abs(slope - rise) < 2 * error and error < 1.0
    assert math.isnan(slope_of(samples(0)[:5])[0])


async def test_the_load_pauses_when_all_is_answered_and_goes_on_afterwards() -> None:
    load, order = Load(), list[str]()
    sent, answer = asyncio.Event(), asyncio.Event()

    async def send(name: str) -> None:
        async with load.frame():
            order.append(name)
            sent.set()
            await answer.wait()

    async def pause() -> None:
        async with load.pause():
            order.append("pause")

    first = asyncio.create_task(send("first"))
    await sent.wait()
    tasks = [first, asyncio.create_task(pause()), asyncio.create_task(send("second"))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["first"]
    answer.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "pause", "second"]
