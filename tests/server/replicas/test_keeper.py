"""What the keeper makes of replicas from one look at them to the next. It looks when a test says so, by a clock that
the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import pytest

from server.inspection import Encoded, Looked, NotLooked, Wanted
from server.replicas import Replicas, ReplicasWanted
from server.replicas import replicas as module
from server.replicas.replica import Request
from server.replicas.replicas import BEAT_S, LOAD_S, LOST_S, SILENT_S, TICK_S, YOUNG_S, _One
from server.replicas.scaling import IDLE_S
from tests.server.fakes import GOOD, WAIT_S, FakeModel, until
from tests.server.replicas.stand_in import StandIn, StandInPeer, Version, pack


class Plant:
    """Replicas on a stand-in cluster. ``models``: in force; ``now``: seconds."""

    def __init__(self, model: FakeModel, least: int, most: int) -> None:
        self.cluster, self.models, self.now = StandIn(), [model], 1000.0
        self.replicas = Replicas(
            self.cluster,
            ReplicasWanted(least, most),
            lambda: self.models,  # type: ignore[arg-type]
            call_s=60.0,
            pack=pack,
            share_of=lambda model: model,
        )

    def monotonic(self) -> float:
        return self.now

    @property
    def all(self) -> list[_One]:
        return self.replicas._all

    @property
    def ready(self) -> int:
        return sum(one.is_ready for one in self.all)

    async def look(self, seconds: float = TICK_S, times: int = 1) -> None:
        """The keeper's next look, so many seconds after the last; who is not deaf answers before the next."""
        for _ in range(times):
            self.now += seconds
            self.replicas._look_after_all(self.now, seconds)
            await until(lambda: all(one.beat is None or one.beat.done() or is_deaf(one) for one in self.all))

    async def become_ready(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.ready < count:
                await self.look()
                await asyncio.sleep(0.005)

    def frame(self, sender: str, model: FakeModel) -> asyncio.Task[Looked]:
        """A frame of this stream, which some replica looks at."""
        load = Encoded(GOOD, 10_000_000, sender)
        ask: Any = lambda: (model, Wanted())  # noqa: E731
        return asyncio.create_task(asyncio.to_thread(self.replicas.look, load, ask, lambda: None))


def is_deaf(one: _One) -> bool:
    assert isinstance(one.peer, StandInPeer)
    return one.peer.is_deaf


@pytest.fixture
async def plants(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Makes one."""
    made = list[Plant]()

    def make(least: int, most: int | None = None) -> Plant:
        made.append(plant := Plant(model, least, most or least))
        monkeypatch.setattr(module, "time", plant)
        return plant

    yield make
    model.gate.set()
    for plant in made:
        plant.replicas._let_go("the test ends")
        await plant.replicas.stop()
        plant.cluster.close()


async def test_a_keeper_that_was_held_up_calls_no_replica_silent(plants: Any, model: FakeModel) -> None:
    plant = plants(1)
    await plant.become_ready(1)
    frame = await in_work(plant, model, "a")
    for held_up_s in (SILENT_S + TICK_S, 5.0, 60.0):
        await plant.look(held_up_s)
        assert plant.ready == 1 and not frame.done()
    plant.cluster.peers[0].is_deaf = True
    await plant.look(2 * BEAT_S)  # it is asked, and does not answer
    await plant.look(5.0)
    assert plant.ready == 1, "its answer may be there, and not seen yet"
    await plant.look(times=round(SILENT_S / TICK_S))
    assert plant.ready == 0
    with pytest.raises(NotLooked, match="no sign of life"):
        await frame


async def test_whose_picture_silences_replicas_leaves_some_to_the_others(
    plants: Any, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.replicas.strikes.FREE_STRIKES", 0)
    plant, other = plants(2), Version(1)
    plant.models.append(other)
    await plant.become_ready(2)
    evil = await in_work(plant, model, "evil")
    silent = next(peer for peer in plant.cluster.peers if peer.at_work)
    await fall_silent(plant, silent)
    with pytest.raises(NotLooked, match="no sign of life"):
        await evil
    with pytest.raises(NotLooked, match="1 detector replica died or hung with a picture of this stream"):
        await plant.frame("evil", model)
    assert (await plant.frame("other", other)).size == (64, 48)
    await plant.look(times=round(LOST_S / TICK_S))
    assert silent.is_dead and plant.replicas._strikes.count("evil") == 1, "once for a frame"


async def test_who_looks_at_its_picture_after_all_was_silent_for_other_reasons(plants: Any, model: FakeModel) -> None:
    plant = plants(1)
    await plant.become_ready(1)
    frame = await in_work(plant, model, "a")
    await fall_silent(plant, plant.cluster.peers[0])
    assert plant.replicas._strikes.count("a") == 1
    model.gate.set()
    await until(lambda: plant.replicas._strikes.count("a") == 0)
    with pytest.raises(NotLooked, match="no sign of life"):
        await frame


async def test_a_picture_that_came_after_it_stopped_answering_is_not_to_blame(plants: Any, model: FakeModel) -> None:
    plant = plants(1)
    await plant.become_ready(1)
    plant.cluster.peers[0].is_deaf = True
    await plant.look(2 * BEAT_S)
    plant.now += TICK_S / 2
    frame = await in_work(plant, model, "a")
    await plant.look(times=round((SILENT_S + LOST_S) / TICK_S))
    with pytest.raises(NotLooked, match="no sign of life"):
        await frame
    assert plant.cluster.peers[0].is_dead and plant.replicas._strikes.count("a") == 0


async def test_whoever_is_first_to_hear_of_a_death_the_picture_counts(plants: Any, model: FakeModel) -> None:
    """The keeper's question may fail before the frame does."""
    plant = plants(1)
    await plant.become_ready(1)
    frame = await in_work(plant, model, "a")
    peer = plant.cluster.peers[0]
    with peer._lock:
        peer.is_dead = True
    await plant.look(2 * BEAT_S, times=2)
    with pytest.raises(NotLooked, match="is gone"):
        await frame
    assert plant.replicas._strikes.count("a") == 1


async def in_work(plant: Plant, model: FakeModel, sender: str) -> asyncio.Task[Looked]:
    """A frame that a replica has, and is not done with."""
    model.gate.clear()
    before = model.detected
    frame = plant.frame(sender, model)
    await until(lambda: model.detected > before and any(one.look is not None for one in plant.all))
    return frame


async def fall_silent(plant: Plant, peer: StandInPeer) -> None:
    peer.is_deaf = True
    await plant.look(2 * BEAT_S)
    await plant.look(times=1 + round(SILENT_S / TICK_S))


@pytest.mark.parametrize("by_keeper", [True, False])
async def test_an_answer_from_before_a_model_was_loaded_unlearns_nothing(
    plants: Any, model: FakeModel, monkeypatch: pytest.MonkeyPatch, by_keeper: bool
) -> None:
    plant, version, answer = plants(1), Version(1), Future[tuple[str, ...]]()
    await plant.become_ready(1)
    (one,), (peer,) = plant.all, plant.cluster.peers
    monkeypatch.setattr(peer, "beat", lambda wanted: answer)
    peer.is_deaf = True  # it answers when the test does
    await plant.look(2 * BEAT_S)
    assert one.beat is answer
    if by_keeper:
        plant.replicas._coming[version.hash] = version, plant.now
        await plant.look()
        await until(lambda: one.loading[version.hash][0].done())
    else:
        await asyncio.to_thread(plant.replicas._load_everywhere, pack(version), version)
    plant.models.append(version)
    answer.set_result((model.hash,))
    await plant.look()
    assert one.is_ready, "it has what is in force"
    await plant.look(2 * BEAT_S, times=2)  # asked once more, it still does not name it: it has let go of it
    assert not one.is_ready


async def test_what_dies_at_its_start_is_started_less_and_less_often_beside_one_that_is_well(plants: Any) -> None:
    plant = plants(2)
    await plant.become_ready(2)
    await plant.look(2 * YOUNG_S)
    plant.cluster.is_broken = True
    plant.cluster.peers[1].die()
    started = list[float]()
    while len(started) < 8:
        before = len(plant.cluster.peers)
        await plant.look()
        started += [plant.now] * (len(plant.cluster.peers) - before)
    pauses = [later - earlier for earlier, later in pairwise(started)]
    assert pauses == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0], abs=1.1 * TICK_S)
    plant.cluster.is_broken = False
    await plant.look(10.0)
    await plant.become_ready(2)
    await plant.look(YOUNG_S - 1.0)
    assert plant.replicas._failed_starts > 0
    await plant.look(2.0)
    assert plant.replicas._failed_starts == 0


async def test_one_that_waits_for_room_is_withdrawn_once_it_is_not_needed_and_none_that_takes_frames(
    plants: Any,
) -> None:
    plant = plants(1, 4)
    await plant.become_ready(1)
    plant.cluster.is_full, plant.replicas._scaling.wanted = True, 2
    await plant.look()
    plant.cluster.is_full = False
    plant.cluster.peers[0].die()
    while len(plant.cluster.peers) < 3:
        await plant.look()
    await plant.become_ready(1)
    _, waits, newest = plant.cluster.peers
    await plant.look(IDLE_S / 2)
    assert not waits.is_dead
    await plant.look(IDLE_S / 4, times=4)
    assert waits.is_dead and not newest.is_dead and plant.ready == 1


async def test_a_replica_is_at_work_for_as_long_as_it_has_a_frame(
    plants: Any, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, told = plants(1), list[float]()
    await plant.become_ready(1)
    see = plant.replicas._scaling.see

    def note(now: float, *, busy: float, **more: Any) -> int:
        told.append(busy)
        return see(now, busy=busy, **more)

    monkeypatch.setattr(plant.replicas._scaling, "see", note)
    frame = await in_work(plant, model, "a")
    await plant.look(1.0)
    plant.now += 0.25
    model.gate.set()
    await frame
    plant.now -= 0.25
    await plant.look(0.5)
    await plant.look(0.5)
    assert told == pytest.approx([1.0, 0.5, 0.0])


async def test_who_hangs_while_it_loads_does_not_hang_with_its_picture(plants: Any, model: FakeModel) -> None:
    plant = plants(1)
    await plant.become_ready(1)
    frame = await in_work(plant, model, "a")
    plant.cluster.hang_loading = True
    plant.models.append(Version(1))
    await plant.look(LOAD_S, times=3)
    with pytest.raises(NotLooked, match="is gone"):
        await frame
    assert plant.cluster.peers[0].is_dead and plant.replicas._strikes.count("a") == 0


async def test_a_replica_that_has_not_all_that_is_in_force_looks_at_the_frame_it_was_taken_for(
    plants: Any, model: FakeModel
) -> None:
    plant = plants(1)
    await plant.become_ready(1)
    taken = plant.replicas._take(model.hash)
    plant.cluster.hang_loading = True
    plant.models.append(Version(1))
    await plant.look()
    assert not taken.is_ready
    request = Request(model.hash, Encoded(GOOD, 10_000_000), Wanted())
    assert isinstance(await asyncio.to_thread(plant.replicas._asked_of, taken, request, WAIT_S), Looked)
