"""Replicas that die, fall silent, hang, or are not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.inspection import Calibrations, Encoded, Inspection, NotLooked
from server.replicas import Replicas, ReplicasWanted
from server.replicas import replicas as module
from server.streams import Hub, InferencePool, OpenStream, Streams
from tests.server.fakes import GOOD, FakeModel, until
from tests.server.replicas.stand_in import StandIn, Version, pack

good = Encoded(GOOD, 10_000_000)


class Plant:
    """Streams on some replicas of a stand-in cluster."""

    def __init__(self, model: FakeModel, data_dir: Path, count: int = 2, **more: Any) -> None:
        self.cluster = StandIn()
        self.inspection = Inspection(Calibrations(data_dir))
        self.inspection.use(model)  # type: ignore[arg-type]
        chosen: dict[str, Any] = {"silent_s": 60.0, "call_s": 60.0} | more
        self.replicas = Replicas(
            self.cluster,
            ReplicasWanted(count, count),
            lambda: self.inspection.models,
            pack=pack,
            share_of=lambda model: model,
            **chosen,
        )
        self.inspection.looker = self.replicas
        self.pool = InferencePool(0, hung_after_s=60, supply=self.replicas)
        self.streams = Streams(self.pool, Hub(), self.inspection)
        self.ready = 0

    def start(self) -> None:
        def employ(workers: int) -> None:
            self.ready = workers
            self.pool.employ(workers)

        self.replicas.start(employ, lambda: self.pool.waiting)
        self.pool.start()

    async def started(self, ready: int = 2) -> None:
        self.start()
        await until(lambda: self.ready == ready)


@pytest.fixture
async def plants(model: FakeModel) -> AsyncIterator[list[Plant]]:
    """Those a test starts, which are stopped after it."""
    started = list[Plant]()
    yield started
    model.gate.set()
    for plant in started:
        plant.pool.close()
        await plant.replicas.stop()


@pytest.fixture
async def plant(model: FakeModel, tmp_path: Path, plants: list[Plant]) -> Plant:
    plants.append(Plant(model, tmp_path))
    await plants[0].started()
    return plants[0]


def settled(opened: OpenStream) -> bool:
    counted = opened.stream.counters
    return counted.received == counted.inspected + counted.dropped + counted.failed


async def test_a_replica_is_given_one_frame_at_a_time(plant: Plant) -> None:
    opened = [plant.streams.open(name, "websocket") for name in "abcdef"]
    for _ in range(30):
        for one in opened:
            one.offer(good)
        await asyncio.sleep(0.002)
    await until(lambda: all(settled(one) for one in opened))
    assert all(one.stream.inspected > 0 and one.stream.failed == 0 for one in opened)
    assert [peer.most_at_work for peer in plant.cluster.peers] == [1, 1]


async def test_a_replica_that_dies_costs_its_frame_and_no_other(plant: Plant, model: FakeModel) -> None:
    model.gate.clear()
    opened = plant.streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: model.detected == 1)
    first = next(peer for peer in plant.cluster.peers if peer.at_work)
    first.die()
    await until(lambda: opened.stream.failed == 1)
    model.gate.set()
    opened.offer(good)
    await until(lambda: opened.stream.inspected == 1)
    await until(lambda: plant.ready == 2)
    assert len(plant.cluster.peers) == 3, "another one took its place"
    assert plant.replicas.trouble is None
    lost = {figure.name: figure.value for figure in plant.replicas.figures()}
    assert (lost["replicas_lost"], lost["replicas_frames_lost"]) == (1, 1)


async def test_no_replica_left_is_said_and_inspection_goes_on_by_itself(plant: Plant) -> None:
    plant.cluster.is_broken = True
    for peer in plant.cluster.alive:
        peer.die()
    await until(lambda: plant.ready == 0)
    opened = plant.streams.open("a", "websocket")
    for _ in range(5):
        opened.offer(good)
    assert opened.stream.has_waiting and opened.stream.dropped == 4, "the newest waits"
    assert plant.pool.trouble is not None and "no detector replica is left" in plant.pool.trouble
    await asyncio.sleep(0.3)
    assert len(plant.cluster.peers) < 10, "what fails at once is not started again and again"
    plant.cluster.is_broken = False
    await until(lambda: settled(opened) and plant.ready == 2)
    assert opened.stream.inspected == 1 and plant.pool.trouble is None


async def test_a_silent_one_gives_its_frame_up_and_is_given_none_before_it_is_done_with_it(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOST_S", 1e6)
    plants.append(plant := Plant(model, tmp_path, silent_s=2.0))
    await plant.started()
    model.gate.clear()
    opened = plant.streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: model.detected == 1)
    silent = next(peer for peer in plant.cluster.peers if peer.at_work)
    silent.is_deaf = True
    await until(lambda: opened.stream.failed == 1)
    assert plant.ready == 1 and not silent.is_dead
    model.gate.set()
    opened.offer(good)
    await until(lambda: opened.stream.inspected == 1)
    assert silent.most_at_work == 1


async def test_one_that_is_silent_for_long_is_ended(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOST_S", 3.0)
    plants.append(plant := Plant(model, tmp_path, count=1, silent_s=2.0))
    await plant.started(1)
    plant.cluster.peers[0].is_deaf = True
    await until(lambda: len(plant.cluster.peers) == 2 and plant.ready == 1)
    assert plant.cluster.peers[0].is_dead


async def test_a_frame_that_takes_too_long_is_given_up_with_its_replica(
    model: FakeModel, tmp_path: Path, plants: list[Plant]
) -> None:
    plants.append(plant := Plant(model, tmp_path, count=1, call_s=0.3))
    await plant.started(1)
    model.gate.clear()
    opened = plant.streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: opened.stream.failed == 1)
    assert plant.cluster.peers[0].is_dead
    model.gate.set()
    await until(lambda: plant.ready == 1)
    assert plant.cluster.peers[1].at_work == 0


async def test_frames_go_on_while_a_version_is_spread_and_none_goes_to_who_has_it_not(
    plant: Plant, model: FakeModel
) -> None:
    slow, quick = plant.cluster.peers
    slow.load_gate.clear()
    version = Version(1)
    spreading = asyncio.create_task(plant.replicas.spread(version))  # type: ignore[arg-type]
    await asyncio.sleep(0.2)
    opened = plant.streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: opened.stream.inspected == 1)
    assert plant.ready == 2 and not spreading.done()
    slow.load_gate.set()
    await spreading
    slow.fails_to_load = RuntimeError("no memory")
    broken = Version(2)
    await plant.replicas.spread(broken)  # type: ignore[arg-type]
    plant.inspection.use(broken, plant.inspection.recipe_on("a"))  # type: ignore[arg-type]
    for _ in range(6):
        opened.offer(good)
        await until(lambda: settled(opened))
    await until(lambda: plant.ready == 1)
    assert opened.stream.failed == 0 and broken.hash not in slow.looked and broken.hash in quick.looked
    assert plant.replicas.warning is not None and "cannot load a model: no memory" in plant.replicas.warning


async def test_a_replica_of_another_version_is_refused(model: FakeModel, tmp_path: Path, plants: list[Plant]) -> None:
    plants.append(plant := Plant(model, tmp_path, count=1))
    plant.cluster.version = "0.0.1"
    plant.start()
    await until(lambda: "install the same version" in (plant.replicas.trouble or ""))
    assert plant.ready == 0


async def test_a_cluster_that_cannot_be_reached_is_tried_again(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.05)
    plants.append(plant := Plant(model, tmp_path, count=1))
    plant.cluster.why_not = "no Ray cluster at auto: start one"
    plant.start()
    await until(lambda: plant.pool.trouble == "no frame is inspected: no Ray cluster at auto: start one")
    plant.cluster.why_not = None
    await until(lambda: plant.ready == 1 and plant.pool.trouble is None)


async def test_a_cluster_without_room_says_so(model: FakeModel, tmp_path: Path, plants: list[Plant]) -> None:
    plants.append(plant := Plant(model, tmp_path))
    plant.cluster.is_full = True
    plant.start()
    await until(lambda: len(plant.cluster.peers) == 2)
    assert "has no room" in (plant.replicas.trouble or "")


async def test_who_finds_no_replica_is_told_within_its_time(
    plant: Plant, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FREE_S", 0.1)
    model.gate.clear()
    both = [asyncio.create_task(asyncio.to_thread(plant.inspection.inspect, good)) for _ in range(2)]
    await until(lambda: model.detected == 2)
    with pytest.raises(NotLooked, match="this frame is lost"):
        await asyncio.to_thread(plant.inspection.inspect, good)
    model.gate.set()
    await asyncio.gather(*both)
