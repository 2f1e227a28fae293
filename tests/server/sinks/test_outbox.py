"""What a sink is told, and what waits for it: bounded in number and bytes, the oldest lost, none twice and none lost
otherwise."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.inspection import NO_RECIPE, Inspected, KeptPicture, Threshold
from server.recipes import PartRule
from server.sinks import Choice, SinkError
from server.sinks.choice import MOST_STREAMS, NAMED_S, Chooser
from server.sinks.outbox import WITHOUT_PICTURE, BoundedOutbox, TurnListener
from server.streams import Told
from server.words import Change, Error, Heartbeat, Heatmap, PartResult, Result
from tests.server.fakes import RESULT, status
from tests.server.sinks.fakes import PART, part, result


def chosen(choice: Choice, *told: Any) -> list[str | None]:
    chooser = Chooser(choice, clock=lambda: 0.0)
    return [chooser.what(one) for one in told]


def test_parts_are_told_as_they_are_wanted() -> None:
    parts = [msgspec.structs.replace(PART, verdict=verdict) for verdict in ("NORMAL", "ANOMALY", "FAILED")]
    assert chosen(Choice(), *parts) == ["part", "part", "part"]
    assert chosen(Choice(parts="rejects"), *parts) == [None, "part", "part"]
    assert chosen(Choice(parts="none"), *parts) == [None, None, None]
    assert chosen(Choice(streams=("b",)), *parts) == [None, None, None]
    assert chosen(Choice(streams=("b", "a")), parts[0]) == ["part"]


def test_of_free_running_results_the_changes_are_told_and_others_so_many_a_second() -> None:
    now = [0.0]
    chooser = Chooser(Choice(results_per_s=2.0), clock=lambda: now[0])

    def what(verdict: str, stream: str = "a") -> str | None:
        return chooser.what(msgspec.structs.replace(RESULT, verdict=verdict, stream=stream))  # type: ignore[arg-type]

    assert [what("NORMAL"), what("NORMAL"), what("NORMAL")] == ["verdict", "result", None]
    assert [what("ANOMALY"), what("NORMAL", "b"), what("ANOMALY")] == ["verdict", "verdict", None]
    now[0] = 0.6
    assert [what("ANOMALY"), what("ANOMALY")] == ["result", None]
    repeated = msgspec.structs.replace(RESULT, verdict="NORMAL", repeated=True)
    assert chooser.what(repeated) is None and what("ANOMALY") is None
    assert chosen(Choice(verdicts=False), RESULT) == [None]


def test_of_frames_of_parts_nothing_is_told_but_the_part() -> None:
    recipe = msgspec.structs.replace(NO_RECIPE, parts=PartRule(by="trigger"))
    chooser, frame = Chooser(Choice(results_per_s=10.0)), replace(seen(1), recipe=recipe)
    assert chooser.what(RESULT, frame) is None and chooser.what(PART, frame) == "part"
    assert chooser.what(RESULT, seen(1)) == "verdict"


def test_a_verdict_of_before_a_time_of_parts_or_of_another_recipe_is_none_any_more() -> None:
    now, triggered = [0.0], msgspec.structs.replace(NO_RECIPE, parts=PartRule(by="trigger"))
    bad = msgspec.structs.replace(RESULT, verdict="ANOMALY")
    chooser = Chooser(Choice(state=False), clock=lambda: now[0])
    assert [chooser.what(bad), chooser.what(bad)] == ["verdict", None]
    assert chooser.what(RESULT, replace(seen(1), recipe=triggered)) is None
    assert [chooser.what(bad), chooser.what(bad)] == ["verdict", None]
    change = Change("a", "recipe", "", "r-2", "Lid", 1, "m", 1.0, "model", None)
    assert [chooser.what(msgspec.structs.replace(change, what="threshold")), chooser.what(bad)] == [None, None]
    assert [chooser.what(change), chooser.what(bad), chooser.what(bad)] == [None, "verdict", None]
    named = msgspec.structs.replace(RESULT, part="A-1")
    assert [chooser.what(one) for one in (named, bad, named)] == [None] * 3, "between two parts"
    now[0] = NAMED_S
    assert [chooser.what(one) for one in (named, bad)] == [None, "verdict"], "after a shift of parts"


def test_of_states_the_changes_are_told_and_a_sender_that_comes_again_begins_anew() -> None:
    live, silent, waiting = status("a", "live"), status("a", "silent"), status("a", "waiting")
    change = Change("a", "recipe", "", "r-2", "Lid", 1, "m", 1.0, "model", None)
    assert chosen(Choice(), live, live, silent, change, live) == ["state", None, "state", "change", "state"]
    assert chosen(Choice(), RESULT, live, RESULT, waiting, RESULT) == ["verdict", "state", None, "state", "verdict"]
    assert chosen(Choice(state=False), live, change) == [None, None]
    error, beat = Error("a", 1, "", 1, 1, 1, 1), Heartbeat("a", "", "live", None, None, None)
    assert chosen(Choice(), error, beat) == [None, None]


def test_a_changed_choice_makes_no_news_of_what_was_told_and_tells_what_was_not() -> None:
    bad, live = msgspec.structs.replace(RESULT, verdict="ANOMALY"), status("a", "live")
    told = [live, bad]

    def changed(*choices: Choice) -> list[str | None]:
        """What of those is told after the last change, each choice having heard them."""
        chooser = Chooser(choices[0])
        heard = [chooser.what(one) for one in told]
        for choice in choices[1:]:
            chooser = Chooser(choice, before=chooser)
            heard = [chooser.what(one) for one in told]
        return heard

    assert changed(Choice()) == ["state", "verdict"]
    assert changed(Choice(), Choice(parts="rejects")) == [None, None]
    assert changed(Choice(verdicts=False), Choice()) == [None, "verdict"]
    assert changed(Choice(state=False), Choice()) == ["state", None]
    assert changed(Choice(), Choice(streams=("b",)), Choice()) == ["state", "verdict"]


def test_ever_new_streams_take_no_memory() -> None:
    chooser = Chooser(Choice())
    for number in range(2 * MOST_STREAMS):
        chooser.what(msgspec.structs.replace(RESULT, stream=f"s{number}"))
    assert len(chooser._streams) == MOST_STREAMS


@pytest.mark.parametrize(
    "wrong", [{"results_per_s": 11}, {"parts": "some"}, {"streams": [""]}, {"streams": ["a"] * 65}]
)
def test_a_choice_has_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Choice)


def box(most: int = 5, most_bytes: int = 10**9, *, pictures: bool = False) -> BoundedOutbox:
    return BoundedOutbox(Chooser(Choice()), pictures=pictures, most=most, most_bytes=most_bytes)


def seen(size: int) -> Inspected:
    kept = KeptPicture(None, "", (b"x" * size, 1, 1))
    return Inspected(1.0, Threshold(2.0, "model"), np.zeros((2, 2), np.uint8), (1, 1), ("m", "openvino"), kept=kept)


async def test_the_oldest_is_lost_but_not_the_one_that_was_handed_out() -> None:
    one = box()
    told = [part() for _ in range(9)]
    turn = one.turn()
    one.offer(told[0])
    assert (await anext(turn)).message is not None
    for told_ in told[1:]:
        one.offer(told_)
    assert (one.waiting, one.dropped) == (5, 4)
    turn.confirm()
    turn.confirm()  # nothing is handed out
    assert one.delivered == 1
    assert [(await _next(turn)).message for _ in range(4)] == [one.message for one in told[5:]]


async def _next(turn: Any) -> Any:
    event = await anext(turn)
    turn.confirm()
    return event


async def test_bytes_are_bounded_where_pictures_are_kept_and_none_are_kept_elsewhere() -> None:
    one = box(1000, 100_000, pictures=True)
    for _ in range(50):
        one.offer(replace(part(), seen=seen(10_000)))
    assert one.waiting == 100_000 // (10_004 + WITHOUT_PICTURE) and one.dropped == 50 - one.waiting
    one.offer(replace(part(), seen=seen(1_000_000)))
    assert one.waiting == 0, "what is larger than all of it is not kept"
    bare = box(1000, 100_000)
    told = Told(msgspec.structs.replace(RESULT, heatmap=Heatmap(1, 1, "gA==")), seen(10_000))
    bare.offer(told)
    event = await anext(bare.turn())
    assert event.seen is None and isinstance(event.message, Result) and event.message.heatmap is msgspec.UNSET


async def test_ids_are_the_parts_own_and_others_are_never_given_twice() -> None:
    one, other = box(100), box(100)
    ids = []
    for outbox in (one, other):
        turn = outbox.turn()
        for told in (part(), result(verdict="ANOMALY"), result(verdict="NORMAL")):
            outbox.offer(told)
            ids.append((told, await _next(turn)))
    events = [event.id for _, event in ids]
    assert len(set(events)) == 6 and [event.number for _, event in ids] == [1, 2, 3, 1, 2, 3]
    for told, event in ids:
        assert not isinstance(told.message, PartResult) or event.id == told.message.id


async def test_a_run_that_is_over_gets_and_settles_nothing() -> None:
    one = box()
    old = one.turn()
    one.offer(part())
    event = await anext(old)
    waits = asyncio.create_task(anext(old))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    old.end()
    new = one.turn()
    old.confirm()
    old.is_up("a ghost")
    assert one.delivered == 0 and await anext(new) is event
    new.confirm()
    with pytest.raises(SinkError):
        await waits
    with pytest.raises(SinkError):
        await anext(old)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["offer", "take", "confirm", "refuse", "fail"]), max_size=60), st.integers(1, 6))
def test_every_event_is_delivered_refused_dropped_or_waits_in_order(steps: list[str], most: int) -> None:
    async def run() -> None:
        one, offered, delivered = box(most), list[str](), list[str]()
        turn, handed = one.turn(TurnListener()), None
        for step in steps:
            if step == "offer":
                one.offer(told := part())
                offered.append(told.message.id)  # type: ignore[union-attr]
            elif step == "take" and handed is None and one.waiting:
                handed = (await anext(turn)).id
            elif step == "confirm" and handed is not None:
                turn.confirm()
                delivered.append(handed)
                handed = None
            elif step == "refuse" and handed is not None:
                turn.refuse("no")
                handed = None
            elif step == "fail":
                turn.end()
                turn, handed = one.turn(TurnListener()), None
            assert one.waiting <= most + 1
            assert one.delivered + one.refused + one.dropped + one.waiting == len(offered)
        assert delivered == sorted(delivered, key=offered.index) and len(set(delivered)) == len(delivered)

    asyncio.run(run())
