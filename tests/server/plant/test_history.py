"""Two gateways write into one history at once: it adds up, in one order, and neither is ever turned away."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from server.ground import Calendar, DatabaseAddress
from server.records import Entry, Records, Span, Wanted
from server.streams import Told
from tests.server.records.histories import BEGINNING, everything, frame, part, until

PARTS = 600
SINCE = round(BEGINNING.timestamp() * 1000)


@pytest.fixture
def trouble(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the histories warn of."""
    caplog.set_level(logging.WARNING)
    return caplog.records


def say(history: Records, gateway: str, number: int) -> None:
    """A part of one of three streams that every gateway has, a frame of one that runs freely, a picture now and then;
    each gateway goes through the streams and the time in an order of its own."""
    place = number if gateway == "one" else PARTS - 1 - number
    id = f"{gateway}-{number}"
    history.hear(Told(part(place, id=id, stream=f"s{place % 3}", after_s=place * 3)))
    verdict = "ANOMALY" if place % 20 < 5 else "NORMAL"
    history.hear(frame(number * 10, verdict, stream=f"{gateway}-free"))
    if number % 7 == 0:
        history.link_picture(id, id)
    if number % 70 == 69:
        history.pictures_gone([f"{gateway}-{number - 69}"])


async def follow(history: Records, done: asyncio.Event) -> None:
    """What has a lower number than the newest that was seen never comes later."""
    seen: set[int] = set()
    newest = 0
    while not done.is_set():
        found = [entry.seq for entry in await everything(history)]
        late = [seq for seq in found if seq <= newest and seq not in seen]
        assert not late, f"{late[:5]} came after {newest}"
        seen, newest = set(found), max(found, default=0)


async def test_two_gateways_write_at_once(
    address: DatabaseAddress, tmp_path: Path, trouble: list[logging.LogRecord]
) -> None:
    both = {name: Records(tmp_path / name, address) for name in ("one", "two")}
    for history in both.values():
        history.start()  # both make the tables
    for history in both.values():
        await until(lambda history=history: history.state.state == "ok", history)
    done = asyncio.Event()
    following = asyncio.create_task(follow(both["two"], done))
    for number in range(PARTS):
        for name, history in both.items():
            say(history, name, number)
        if number % 100 == 99:
            await asyncio.sleep(0.02)
    for history in both.values():
        await until(lambda history=history: not history.state.waiting, history)
    done.set()
    await following
    found = await everything(both["one"])
    parts = [entry for entry in found if entry.kind == "part"]
    assert sorted(entry.id for entry in parts) == sorted(f"{name}-{n}" for name in both for n in range(PARTS))
    for name in both:
        mine = [int(entry.id.partition("-")[2]) for entry in parts if entry.id.startswith(name)]
        assert mine == [*range(PARTS)], "each gateway's in the order it said them"
    kept = {entry.id for entry in parts if entry.picture_kept}
    assert kept == {f"{name}-{n}" for name in both for n in range(0, PARTS, 7) if n % 70 or n == PARTS - PARTS % 70}
    await adds_up(both["one"], parts)
    for history in both.values():
        await history.close()
    assert not trouble, [one.getMessage() for one in trouble]


async def adds_up(history: Records, parts: list[Entry]) -> None:
    """The counts of every stream say what the entries do, by quarters of an hour and by days."""
    day = Span(SINCE - SINCE % 86_400_000, SINCE - SINCE % 86_400_000 + 86_400_000)
    for stream in ("s0", "s1", "s2"):
        mine = [entry for entry in parts if entry.stream == stream]
        (numbers,) = await history.numbers([day], stream=stream)
        assert (numbers.total, numbers.rejected) == (len(mine), sum(one.verdict == "ANOMALY" for one in mine))
        assert sum(numbers.scores) == len(mine)
        quarters = [Span(at, at + 900_000) for at in range(day.since, day.until, 900_000)]
        assert sum(one.total for one in await history.numbers(quarters, stream=stream)) == len(mine)
        span = Wanted(since=SINCE, until=SINCE + 900_000, stream=stream)
        assert len(await everything(history, span)) == sum(SINCE <= one.at < SINCE + 900_000 for one in mine)


async def test_two_gateways_delete_what_is_too_much(
    address: DatabaseAddress, tmp_path: Path, trouble: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.records.records.EVERY_S", 0.02)
    both = {name: Records(tmp_path / name, address, days=1e9, rows=300) for name in ("one", "two")}
    for history in both.values():
        history.start()
    for number in range(600):
        for name, history in both.items():
            history.hear(Told(part(number, id=f"{name}-{number}")))
    for history in both.values():
        await until(lambda history=history: history.state.state == "ok" and not history.state.waiting, history)
    await until(lambda: both["one"].state.deleted + both["two"].state.deleted == 900)
    found = await everything(both["one"])
    assert len(found) == 300 and {entry.number for entry in found} >= {599}
    for history in both.values():
        await history.close()
    assert not trouble, [one.getMessage() for one in trouble]


async def test_a_gateway_whose_clock_is_years_ahead_deletes_nothing(address: DatabaseAddress, tmp_path: Path) -> None:
    ahead = Calendar(None, wall=lambda: time.time() + 10 * 365 * 86_400)
    history = Records(tmp_path / "new", address, days=3650, calendar=ahead)
    history.start()
    for number in range(20):
        history.hear(Told(part(number)))
    await until(lambda: history.state.state == "ok" and history.state.stored == 20, history)
    await history._clear()
    assert history.state.deleted == 0 and len(await everything(history)) == 20
    await history.close()


async def test_what_is_said_of_parts_at_two_gateways_is_counted_once(address: DatabaseAddress, tmp_path: Path) -> None:
    both = [Records(tmp_path / name, address) for name in ("one", "two")]
    for history in both:
        history.start()
        await until(lambda history=history: history.state.state == "ok", history)
    for number in range(20):
        both[0].hear(Told(part(number * 10)))
    await until(lambda: both[0].state.stored == 20, both[0])
    said = [history.dispose(f"part-{number * 10}", "confirmed") for number in range(20) for history in both]
    assert None not in await asyncio.gather(*said)
    (numbers,) = await both[1].numbers([Span(0, 2**60)])
    assert numbers.confirmed == 20
    for history in both:
        await history.close()
