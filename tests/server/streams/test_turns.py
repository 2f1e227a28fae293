"""Whose turn it is, played through on a clock of our own."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.streams.turns import SLOW_S, Account, Turns


@dataclass(eq=False)
class Sender:
    """Sends a frame each ``every_s`` from ``since_s`` on, and keeps the newest one; each costs ``cost_s``."""

    cost_s: float
    every_s: float
    since_s: float = 0.0
    account: Account = field(default_factory=Account)
    sent: int = 0
    begun: int = 0
    done: int = 0
    waiting: bool = False
    busy_s: float = 0.0


def play(senders: list[Sender], seconds: float, workers: int = 1) -> None:
    """What a pool does with them, as if each worker had a core of its own."""
    turns: Turns[Sender] = Turns(workers)
    moments: list[tuple[float, int, str, Sender]] = [
        (one.since_s, number, "sends", one) for number, one in enumerate(senders)
    ]
    heapq.heapify(moments)
    count = len(senders)
    in_work: set[Sender] = set()
    while moments and moments[0][0] <= seconds:
        now, _, what, one = heapq.heappop(moments)
        if what == "sends":
            one.sent += 1
            one.waiting = True
            turns.wait(one, one.account)
            moment = (now + one.every_s, count, "sends", one)
        elif what == "is late":
            if one in in_work and one.cost_s > SLOW_S:
                turns.is_late(one, SLOW_S)
            moment = None
        else:
            in_work.discard(one)
            turns.end(one, one.account, one.cost_s)
            one.done += 1
            one.busy_s += one.cost_s
            if one.waiting:
                turns.wait(one, one.account)
            moment = None
        if moment is not None:
            heapq.heappush(moments, moment)
            count += 1
        while (next_one := turns.next()) is not None:
            next_one.waiting = False
            next_one.begun += 1
            turns.begin(next_one, next_one.account)
            in_work.add(next_one)
            heapq.heappush(moments, (now + next_one.cost_s, count, "ends", next_one))
            heapq.heappush(moments, (now + SLOW_S, count + 1, "is late", next_one))
            count += 2


def test_a_stream_of_frames_that_cost_a_second_takes_nothing_from_one_at_10_fps() -> None:
    costly, camera = Sender(1.0, 0.1), Sender(0.01, 0.1)
    play([costly, camera], 60)
    assert camera.done >= 0.98 * camera.sent
    assert costly.done >= 50, "nor is it locked out"


def test_nor_do_many_of_them() -> None:
    camera = Sender(0.01, 0.1)
    play([*(Sender(1.0, 0.1) for _ in range(5)), camera], 60)
    assert camera.done >= 0.9 * camera.sent


def test_nor_one_that_hides_a_costly_frame_behind_a_cheap_one() -> None:
    turns: Turns[str] = Turns(1)
    hiding, quick = Account(), Account()
    for name, account in (("hiding", hiding), ("quick", quick)):
        turns.begin(name, account)
        turns.end(name, account, 0.01)
    turns.begin("hiding", hiding)
    turns.end("hiding", hiding, 2.0)
    turns.begin("hiding", hiding)
    turns.end("hiding", hiding, 0.01)
    turns.begin("another", Account())
    turns.is_late("another", SLOW_S)
    turns.wait("hiding", hiding)
    assert turns.next() is None, "the express place is not for it"
    turns.wait("quick", quick)
    assert turns.next() == "quick"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.005, SLOW_S / 2), min_size=2, max_size=5))
def test_sources_that_always_wait_get_the_same_time_not_the_same_number(costs: list[float]) -> None:
    senders = [Sender(cost, 0.005) for cost in costs]
    play(senders, 5)
    busy = [one.busy_s for one in senders]
    assert max(busy) - min(busy) <= 3 * max(costs), "one job each, begun, in work or not yet begun"


def test_who_comes_later_begins_level_with_the_others() -> None:
    """Neither before them until it has caught up with what they had in all the time before, nor behind."""
    old, new = Sender(0.02, 0.001), Sender(0.02, 0.001, since_s=30)
    play([old, new], 31)
    assert new.done == pytest.approx(25, abs=2)
    assert old.done == pytest.approx(1525, abs=3)


def test_time_that_was_not_used_is_not_saved_up() -> None:
    turns: Turns[str] = Turns(1)
    busy, idle = Account(), Account()
    turns.wait("idle", idle)
    turns.wait("busy", busy)
    for _ in range(2):
        name = turns.next()
        assert name is not None
        turns.begin(name, {"busy": busy, "idle": idle}[name])
        turns.end(name, {"busy": busy, "idle": idle}[name], 0.05)
    for _ in range(1000):
        turns.wait("busy", busy)
        assert turns.next() == "busy"
        turns.begin("busy", busy)
        turns.end("busy", busy, 0.05)
    served = []
    for _ in range(20):
        turns.wait("idle", idle)
        turns.wait("busy", busy)
        name = turns.next()
        assert name is not None
        served.append(name)
        turns.withdraw("idle")
        turns.withdraw("busy")
        turns.begin(name, {"busy": busy, "idle": idle}[name])
        turns.end(name, {"busy": busy, "idle": idle}[name], 0.05)
    assert 9 <= served.count("idle") <= 11


def test_who_shares_an_account_is_one_source_to_the_others() -> None:
    turns: Turns[str] = Turns(1)
    shared, camera = Account(dearest=0.0), Account(dearest=0.0)
    served = []
    for _ in range(40):
        for number in range(8):
            turns.wait(f"picture {number}", shared)
        turns.wait("camera", camera)
        name = turns.next()
        assert name is not None
        served.append(name)
        account = camera if name == "camera" else shared
        turns.begin(name, account)
        turns.end(name, account, 0.01)
    assert served.count("camera") == pytest.approx(20, abs=1)


def test_on_a_computer_that_is_busy_what_is_quick_beside_the_others_is_quick() -> None:
    costly, camera = Sender(3.0, 0.1), Sender(0.3, 0.5)
    play([costly, camera], 120)
    assert camera.done >= 0.95 * camera.sent


def test_slow_sources_alone_have_all_the_workers() -> None:
    """On a slow computer every source is slow: nothing is kept free for quick ones that are not there."""
    senders = [Sender(0.5, 0.01) for _ in range(3)]
    play(senders, 20, workers=3)
    assert min(one.done for one in senders) >= 38


@given(st.data())
def test_there_is_never_more_than_one_beside_the_workers_nor_one_source_twice(data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, 3))
    turns: Turns[int] = Turns(workers)
    accounts = [Account() for _ in range(6)]
    in_work: list[int] = []
    for _ in range(data.draw(st.integers(0, 60))):
        match data.draw(st.sampled_from(["wait", "end", "late", "withdraw", "next", "next"])):
            case "wait":
                number = data.draw(st.integers(0, 5))
                turns.wait(number, accounts[number])
            case "withdraw":
                turns.withdraw(data.draw(st.integers(0, 5)))
            case "end" if in_work:
                number = in_work.pop(data.draw(st.integers(0, len(in_work) - 1)))
                turns.end(number, accounts[number], data.draw(st.floats(0, 3)))
            case "late" if in_work:
                turns.is_late(data.draw(st.sampled_from(in_work)), data.draw(st.floats(0, 5)))
            case "next":
                chosen = turns.next()
                if chosen is not None:
                    assert chosen not in in_work
                    turns.begin(chosen, accounts[chosen])
                    in_work.append(chosen)
        assert len(in_work) <= workers + 1
