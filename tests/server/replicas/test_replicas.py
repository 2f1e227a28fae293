"""Replicas that die, fall silent, hang, or are not there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detector import ModelError
from detector.images import decode, encode_png
from server.inspection import Calibrations, Encoded, Inspection, NotLooked
from server.replicas import Replicas, ReplicasWanted
from server.replicas import replicas as module
from server.replicas.replicas import _One
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


async def test_the_pool_is_told_last_what_was_counted_last(plant: Plant) -> None:
    """Several threads count replicas."""
    replicas, told, second_is_done = plant.replicas, list[int](), threading.Event()
    await plant.replicas.stop()

    def employ(workers: int) -> None:
        if not told and not second.is_alive():
            second.start()
            second_is_done.wait(0.3)
        told.append(workers)

    def lose_one() -> None:
        replicas._all[0].is_ready = False
        replicas._tell()
        second_is_done.set()

    second = threading.Thread(target=lose_one)
    replicas._all = [_One(None, 0.0, Future(), number, is_ready=True) for number in (1, 2)]  # type: ignore[arg-type]
    replicas._employ = employ
    replicas._ready_before = 0
    replicas._tell()
    second.join()
    assert told == [2, 1]


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
    await until(lambda: "cannot load a model: no memory" in (plant.replicas.warning or ""))


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


async def test_a_model_that_cannot_be_loaded_stops_only_what_is_inspected_with_it(
    plant: Plant, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FAILED_S", 0.2)
    other = plant.inspection.recipe_on("a")
    broken, recipe = Version(7), msgspec.structs.replace(other, id="broken")
    for peer in plant.cluster.peers:
        peer.cannot_load[broken.hash] = RuntimeError("no memory")
    plant.inspection.use(broken, recipe)  # type: ignore[arg-type]
    plant.inspection.choose({"b": recipe.id}, other.id)
    a, b = (plant.streams.open(name, "websocket") for name in "ab")
    await until(lambda: "cannot load a model: no memory" in (plant.replicas.warning or ""))
    for _ in range(3):
        a.offer(good)
        b.offer(good)
        await until(lambda: settled(a) and settled(b))
    assert (a.stream.inspected, b.stream.failed, plant.ready) == (3, 3, 2)
    assert plant.replicas.trouble is None
    for peer in plant.cluster.peers:
        peer.cannot_load.clear()
    await until(lambda: plant.replicas.warning is None)
    b.offer(good)
    await until(lambda: b.stream.inspected == 1)


async def test_what_a_model_learned_is_shared_once_and_keeps_no_replica_waiting(plant: Plant) -> None:
    before = plant.cluster.sharing
    plant.cluster.share_gate.clear()
    spreading = asyncio.create_task(plant.replicas.spread(Version(1)))  # type: ignore[arg-type]
    await until(lambda: plant.cluster.sharing > before)
    plant.cluster.peers[0].die()
    await until(lambda: len(plant.cluster.peers) == 3 and plant.ready == 2)
    assert not spreading.done()
    plant.cluster.share_gate.set()
    await spreading
    assert plant.cluster.sharing == before + 1


async def test_what_cannot_be_shared_is_refused_and_shared_again_later(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def share(base: Any) -> Any:
        raise RuntimeError("shared memory is full")

    with monkeypatch.context() as full:
        full.setattr(plant.cluster, "share", share)
        with pytest.raises(ModelError, match="shared memory is full"):
            await plant.replicas.spread(Version(1))  # type: ignore[arg-type]
    assert plant.ready == 2
    await plant.replicas.spread(Version(1))  # type: ignore[arg-type]
    await until(lambda: all(Version(1).hash in one.loaded for one in plant.replicas._all))


async def test_a_version_that_no_replica_can_load_is_refused_before_it_counts(plant: Plant) -> None:
    broken = Version(7)
    for peer in plant.cluster.peers:
        peer.cannot_load[broken.hash] = ModelError("the model that came is damaged")
    with pytest.raises(ModelError, match="cannot load it"):
        await plant.replicas.spread(broken)  # type: ignore[arg-type]
    await until(lambda: plant.ready == 2 and plant.replicas.warning is None)


async def test_a_change_waits_for_no_replica_that_falls_silent(
    model: FakeModel, tmp_path: Path, plants: list[Plant]
) -> None:
    plants.append(plant := Plant(model, tmp_path, silent_s=1.0))
    await plant.started()
    hung = plant.cluster.peers[0]
    hung.load_gate.clear()
    hung.is_deaf = True
    began = asyncio.get_running_loop().time()
    await plant.replicas.spread(Version(1))  # type: ignore[arg-type]
    assert asyncio.get_running_loop().time() - began < module.SPREAD_S / 2
    assert Version(1).hash in await asyncio.wrap_future(plant.cluster.peers[1].beat([Version(1).hash]))
    hung.load_gate.set()


async def test_a_sender_whose_pictures_end_replicas_leaves_some_to_the_others(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.replicas.strikes.FREE_STRIKES", 0)
    plants.append(plant := Plant(model, tmp_path, count=1))
    await plant.started(1)
    evil, other = (plant.streams.open(name, "websocket") for name in ("evil", "other"))
    plant.cluster.alive[0].dies_of_a_look = True
    evil.offer(replace(good, sender="evil"))
    await until(lambda: evil.stream.failed == 1 and plant.ready == 1)
    evil.offer(replace(good, sender="evil"))
    await until(lambda: evil.stream.failed == 2)
    assert plant.cluster.alive[0].looked == []
    other.offer(replace(good, sender="other"))
    await until(lambda: other.stream.inspected == 1)


async def test_what_is_no_jpeg_is_decoded_here(plant: Plant) -> None:
    opened = plant.streams.open("a", "websocket")
    opened.offer(Encoded(encode_png(decode(GOOD)), 10_000_000))
    await until(lambda: opened.stream.inspected == 1)
    assert not any(peer.looked for peer in plant.cluster.peers), "a decoder that takes its time holds no replica up"


async def test_a_replica_that_is_not_done_with_a_frame_for_long_is_replaced(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOST_S", 2.0)
    plants.append(plant := Plant(model, tmp_path, count=1, silent_s=0.5, call_s=5.0))
    await plant.started(1)
    model.gate.clear()
    opened = plant.streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: model.detected == 1)
    plant.cluster.peers[0].is_deaf = True
    await until(lambda: opened.stream.failed == 1)
    plant.cluster.peers[0].is_deaf = False  # it gives signs of life again, and still has the frame
    monkeypatch.setattr(plant.replicas, "_call_s", 0.1)
    await until(lambda: len(plant.cluster.peers) == 2)
    model.gate.set()
    opened.offer(good)
    await until(lambda: opened.stream.inspected == 1)


async def test_one_that_hangs_while_it_loads_is_replaced(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOAD_S", 0.3)
    plants.append(plant := Plant(model, tmp_path, count=1))
    plant.cluster.hang_loading = True
    plant.start()
    await until(lambda: len(plant.cluster.peers) == 2)
    plant.cluster.hang_loading = False
    await until(lambda: plant.ready == 1)


async def test_whatever_a_cluster_raises_it_is_tried_again(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.05)
    plants.append(plant := Plant(model, tmp_path, count=1))
    plant.cluster.raises = RuntimeError("of no kind that anybody knows")
    plant.start()
    await until(lambda: "of no kind that anybody knows" in (plant.pool.trouble or ""))
    plant.cluster.raises = None
    await until(lambda: plant.ready == 1 and plant.pool.trouble is None)


async def test_a_cluster_whose_head_is_gone_is_reached_anew_once_no_replica_is_left(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.2)
    monkeypatch.setattr(module, "AGAIN_S", 0.05)
    plant.cluster.why_not, plant.cluster.is_full = "no Ray cluster at auto: nobody answers there", True
    opened = plant.streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: opened.stream.inspected == 1)
    for peer in plant.cluster.alive:
        peer.die()
    await until(lambda: "nobody answers there" in (plant.pool.trouble or ""))
    plant.cluster.why_not, plant.cluster.is_full = None, False
    await until(lambda: plant.ready == 2 and plant.pool.trouble is None)


async def test_a_model_that_is_loaded_late_ends_no_replica(
    model: FakeModel, tmp_path: Path, plants: list[Plant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading it left the frame no time: nothing is wrong with the replica, nor with who sent it."""
    plants.append(plant := Plant(model, tmp_path, count=1, call_s=0.5))
    await plant.started(1)
    late = Version(3)
    there = plant.cluster.peers[0]._replica
    monkeypatch.setattr(plant.replicas, "_load_late", lambda *_: there.load(pack(late), lambda: late))
    opened = plant.streams.open("a", "websocket")
    opened.offer(good)  # its own model, which is there
    await until(lambda: opened.stream.inspected == 1)
    recipe = msgspec.structs.replace(plant.inspection.recipe_on("a"), id="late")
    monkeypatch.setattr(plant.replicas, "_models", lambda: [model])  # as before the keeper's next look
    late.gate.clear()
    plant.inspection.use(late, recipe)  # type: ignore[arg-type]
    plant.inspection.choose({"a": recipe.id}, recipe.id)
    opened.offer(replace(good, sender="a"))
    await until(lambda: opened.stream.failed == 1)
    late.gate.set()
    assert plant.replicas._strikes.count("a") == 0
    assert len(plant.cluster.alive) == len(plant.cluster.peers) == 1 and late.detected == 1


async def test_what_a_load_raises_is_not_waited_for_again(plant: Plant) -> None:
    broken = Version(7)
    for peer in plant.cluster.peers:
        peer.cannot_load[broken.hash] = TimeoutError("of the disk there")
    began = asyncio.get_running_loop().time()
    await plant.replicas.spread(broken)  # type: ignore[arg-type]
    assert asyncio.get_running_loop().time() - began < module.SPREAD_S / 2


async def test_replicas_that_die_at_once_for_days_are_still_started(plant: Plant) -> None:
    plant.replicas._failed_starts = 100_000
    plant.cluster.peers[0].die()
    await until(lambda: plant.ready == 1)
    assert plant.replicas._start_at - time.monotonic() <= 10.0
