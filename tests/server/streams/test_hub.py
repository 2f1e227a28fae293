"""Who hears."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.streams.hub import MAX_WAITING, MAX_WAITING_CHARACTERS, MAX_WAITING_WITH_PICTURES, Hub, Subscription
from server.words.messages import Change, Message, Picture, Status, encode
from tests.server.fakes import RESULT
from tests.server.sinks.fakes import PART

WITH_PICTURE = msgspec.structs.replace(RESULT, picture=Picture(1, 1, "AA=="))
CHANGE = Change("a", "recipe", RESULT.at, "other", "Other", 2, RESULT.model, 1.0, "model", None)


async def drain(subscription: Subscription) -> list[str]:
    subscription.close()
    return [text async for text in subscription]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 60_000)), max_size=150))
def test_what_waits_is_bounded_and_the_newest_is_there(pushed: list[tuple[bool, bool, int]]) -> None:
    """Each message: whether it passes, and then carries a picture; and how long it is."""
    subscription = Subscription()
    for number, (passes, pictured, length) in enumerate(pushed):
        subscription.push(f"{number} ".ljust(length), passes=passes, pictured=passes and pictured)
    texts = asyncio.run(drain(subscription))
    heard = [int(text.split()[0]) for text in texts]
    assert heard == sorted(heard) and heard[-1:] == ([len(pushed) - 1] if pushed else [])
    assert len(heard) <= MAX_WAITING
    assert sum(map(len, texts)) <= MAX_WAITING_CHARACTERS
    assert sum(pushed[number][0] and pushed[number][1] for number in heard) <= MAX_WAITING_WITH_PICTURES


async def test_the_newest_is_kept_however_long_it_is() -> None:
    subscription = Subscription()
    longer = "x" * (MAX_WAITING_CHARACTERS + 1)
    for text in ("first", longer):
        subscription.push(text)
    assert await drain(subscription) == [longer]


@given(st.integers(0, 200), st.booleans())
def test_the_oldest_are_lost(pushed: int, passes: bool) -> None:
    subscription = Subscription()
    for number in range(pushed):
        subscription.push(str(number), passes=passes)
    assert asyncio.run(drain(subscription)) == [str(number) for number in range(pushed)][-MAX_WAITING:]


@pytest.mark.parametrize("picture", [True, False])
async def test_a_part_that_was_rejected_outlives_the_results_after_it(picture: bool) -> None:
    """Who listens over a slow network takes nothing meanwhile."""
    hub = Hub()
    screen = hub.subscribe("a", picture=picture)
    others: list[Message] = [CHANGE, PART]
    for message in others:
        hub.publish(message)
    for _ in range(2 * MAX_WAITING):
        hub.publish(RESULT, WITH_PICTURE)
    results = [encode(WITH_PICTURE)] * MAX_WAITING_WITH_PICTURES if picture else [encode(RESULT)] * (MAX_WAITING - 2)
    assert await drain(screen) == [*map(encode, others), *results]


async def test_a_sender_hears_of_its_part_too_whatever_waits() -> None:
    hub, sender = Hub(), Subscription()
    hub.publish(PART, sender=sender)
    for _ in range(2 * MAX_WAITING):
        hub.publish(RESULT, WITH_PICTURE, sender)
    assert (await drain(sender))[0] == encode(PART)


async def test_messages_come_as_they_are_pushed_until_the_close() -> None:
    subscription, heard = Subscription(), []

    async def listen() -> None:
        async for text in subscription:
            heard.append(text)
            if text == "last":
                subscription.close()

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    subscription.push("first")
    await asyncio.sleep(0)
    assert heard == ["first"]
    subscription.push("last")
    await listening
    assert heard == ["first", "last"]


async def test_only_the_listeners_of_a_stream_hear_it() -> None:
    hub = Hub()
    ours, theirs = hub.subscribe("a"), hub.subscribe("b")
    hub.publish(Status("a", "live"))
    assert await drain(ours) == [encode(Status("a", "live"))]
    assert await drain(theirs) == []


async def test_pictures_go_only_to_those_who_asked() -> None:
    hub = Hub()
    plain = hub.subscribe("a")
    assert not hub.wants_picture("a")
    screen = hub.subscribe("a", picture=True)
    assert hub.wants_picture("a") and hub.listeners("a") == 2
    sender = Subscription(heatmap=False)
    hub.publish(RESULT, WITH_PICTURE, sender)
    assert await drain(sender) == [encode(msgspec.structs.replace(RESULT, heatmap=msgspec.UNSET))]
    assert await drain(plain) == [encode(RESULT)]
    assert await drain(screen) == [encode(WITH_PICTURE)]


async def test_who_asked_for_pictures_hears_results_without_one_too() -> None:
    hub = Hub()
    screen = hub.subscribe("a", picture=True)
    hub.publish(RESULT)
    assert await drain(screen) == [encode(RESULT)]


def test_a_topic_lives_as_long_as_somebody_listens() -> None:
    hub = Hub()
    subscription = hub.subscribe("a")
    hub.unsubscribe("a", subscription)
    hub.unsubscribe("a", subscription)
    hub.unsubscribe("never", subscription)
    assert hub.listeners("a") == 0
    assert hub._topics == {}


async def test_the_close_ends_everyone() -> None:
    hub = Hub()
    ended: list[Any] = [asyncio.create_task(drain_open(hub.subscribe(name))) for name in "aab"]
    await asyncio.sleep(0)
    hub.close()
    await asyncio.gather(*ended)


async def drain_open(subscription: Subscription) -> None:
    async for _ in subscription:
        pass
