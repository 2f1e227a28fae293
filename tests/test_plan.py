"""The simulation of a plan keeps the pool's rules."""

from __future__ import annotations

import math

import pytest

from benchmarks.plan import Asked, Death, Plant, Simulation, Spread, simulated, split

STEADY, NONE = Spread(10.0, 10.0), Spread(1e-9, 1e-9)


@pytest.mark.parametrize("replicas", [1, 3, 12])
def test_every_frame_is_accounted_for(replicas: int) -> None:
    plant = Plant(20, 10.0, replicas, Spread(20.0, 40.0), Spread(1.0, 3.0))
    found = Simulation(plant, 20.0, Death(10.0, 1, 2.0)).run()
    assert found.received == found.inspected + found.dropped + found.failed
    assert found.received == pytest.approx(20 * 10 * 20, rel=0.02)


def test_enough_replicas_drop_nothing_and_one_frame_takes_what_it_takes() -> None:
    found = Simulation(Plant(4, 10.0, 4, STEADY, NONE), 10.0).run()
    assert (found.dropped, found.failed) == (0, 0)
    assert found.p95() == pytest.approx(10.0)


@pytest.mark.parametrize("times", [2.0, 3.0])
def test_what_is_too_much_is_dropped_and_nothing_else(times: float) -> None:
    plant = Plant(40, times * 2 * 100 / 40, 2, STEADY, NONE)  # two replicas look at 100 frames a second each
    found = Simulation(plant, 60.0).run()
    assert found.share_dropped == pytest.approx(1 - 1 / times, abs=0.01)
    assert found.p95() < 10.0 + 1000 / plant.fps, "a frame waits no longer than until the next one of its stream"


def test_replicas_that_die_cost_their_frames_and_come_back() -> None:
    plant = Plant(30, 10.0, 4, STEADY, NONE)
    whole = Simulation(plant, 20.0).run()
    some = Simulation(plant, 20.0, Death(10.0, 2, 5.0)).run()
    forever = Simulation(plant, 20.0, Death(10.0, 2)).run()
    assert whole.dropped == 0 and some.failed <= 2
    assert 0 < some.dropped < forever.dropped
    assert some.p95(16.0) == pytest.approx(whole.p95(16.0), rel=0.2)


def test_a_plan_is_divided_among_gateways_and_none_is_lost() -> None:
    assert split(7, 3) == [3, 2, 2] and sum(split(200, 7)) == 200
    asked = Asked(50, 5.0, Spread(12.0, 14.0), Spread(1.0, 4.0), 4.0, 46.0, 307.0, 4, 5.0, 10.0)
    assert asked.replicas == math.ceil(50 * 5 * 0.013 / 0.7) and asked.gateways == 2
    assert simulated(asked, asked.replicas).received == pytest.approx(2500, rel=0.02)
