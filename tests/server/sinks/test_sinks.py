"""Sinks that fail, hang, raise and come back, beside others that do not: kept, run, changed, tried."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detector.extras import to_install
from server.cameras import Backoff
from server.sinks import (
    MOST,
    CannotAdd,
    Choice,
    Draft,
    NoSink,
    Outbox,
    SinkError,
    SinkOver,
    Sinks,
    TooManyTests,
    waiting,
)
from server.sinks import running_sink as running
from server.sinks import sinks as module
from server.sinks.sink import Outgoing
from server.sinks.waiting import Waiting
from server.streams import Hub
from tests.server.fakes import until
from tests.server.sinks.fakes import Fake, away, hangs, never_ends, part, result, takes_all

SECRET = "s3cret-Pa55word"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(running, "SETTLED_S", 0.05)
    monkeypatch.setattr(running, "CANCEL_S", 0.2)
    monkeypatch.setattr(running, "Backoff", lambda longest: Backoff(first=0.02, longest=0.1))


Made = Callable[..., Sinks]


@pytest.fixture
async def hub() -> Hub:
    return Hub()


@pytest.fixture
async def made(tmp_path: Path, hub: Hub) -> AsyncIterator[Made]:
    all_: list[Sinks] = []

    def make(*fakes: Fake, **about: Any) -> Sinks:
        kinds = {f"fake{number}": fake.kind(name=f"fake{number}", **about) for number, fake in enumerate(fakes)}
        sinks = Sinks(tmp_path, hub, kinds=kinds)
        sinks.start()
        all_.append(sinks)
        return sinks

    yield make
    for sinks in all_:
        await sinks.stop()


def draft(name: str = "plc", kind: str = "fake0", enabled: bool = True, **settings: Any) -> Draft:
    return Draft(kind, name, enabled, Choice(), {"address": "here"} | settings)


async def test_it_is_kept_run_told_and_removed(made: Made, hub: Hub, tmp_path: Path) -> None:
    fake = Fake()
    sinks = made(fake)
    hub.publish(part().message)
    stored = await sinks.add(draft(password=SECRET), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    assert sinks.state(stored.id).words == "fake peer" and sinks.warning is None
    for _ in range(3):
        hub.publish(part().message)
    await until(lambda: len(fake.taken) == 3)
    assert (sinks.state(stored.id).delivered, sinks.state(stored.id).waiting) == (3, 0)
    file = tmp_path / "sinks.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and SECRET in file.read_text()
    again = Sinks(tmp_path, hub, kinds=sinks.kinds)
    assert again.all == (stored,)
    await sinks.remove(stored.id, "a test")
    assert fake.ended == fake.begun and not sinks.all
    with pytest.raises(NoSink):
        sinks.state(stored.id)


async def test_off_is_off(made: Made, hub: Hub) -> None:
    fake = Fake()
    sinks = made(fake)
    stored = await sinks.add(draft(enabled=False), "a test")
    assert sinks.state(stored.id).state == "off" and not fake.begun
    await sinks.change(stored.id, "a test", enabled=True)
    await until(lambda: sinks.state(stored.id).state == "up")
    await sinks.change(stored.id, "a test", enabled=False)
    assert sinks.state(stored.id).state == "off" and fake.ended == 1


async def test_what_waits_goes_out_when_it_is_back_in_order_and_the_log_has_two_lines(
    made: Made, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake = Fake([away, away, away, away, takes_all])
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    told = [part() for _ in range(5)]
    for one in told:
        hub.publish(one.message)
    await until(lambda: sinks.state(stored.id).state == "retrying")
    state = sinks.state(stored.id)
    assert state.retry_in_s is not None and state.last_error == "nobody answers at that address"
    assert sinks.warning == "plc is not told: nobody answers at that address"
    await until(lambda: len(fake.taken) == 5)
    assert [event.message for event in fake.taken] == [one.message for one in told]
    await until(lambda: sinks.state(stored.id).failures == 0)
    lines = [record.getMessage() for record in caplog.records if "sink=plc" in record.getMessage()][1:]
    assert len(lines) == 2 and "nobody answers" in lines[0] and "state=up failures=4 dropped=0" in lines[1]


async def test_an_event_that_was_handed_out_and_not_confirmed_comes_again_under_its_id(made: Made, hub: Hub) -> None:
    seen = []

    async def loses(fake: Fake, outbox: Outbox) -> None:
        async for event in outbox:
            seen.append(event)
            raise SinkError("the connection broke")

    fake = Fake([loses, loses, takes_all])
    sinks = made(fake)
    await sinks.add(draft(), "a test")
    hub.publish(part().message)
    hub.publish(part().message)
    await until(lambda: len(fake.taken) == 2)
    assert len(seen) == 2 and seen[0] is seen[1] is fake.taken[0]


async def test_one_that_hangs_raises_is_cancelled_or_ends_disturbs_no_other(
    made: Made, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "PATIENCE_S", 0.1)

    async def raises(fake: Fake, outbox: Outbox) -> None:
        raise RuntimeError("what nobody expected")

    async def exits(fake: Fake, outbox: Outbox) -> None:
        raise SystemExit(1)

    async def is_cancelled(fake: Fake, outbox: Outbox) -> None:
        raise asyncio.CancelledError

    async def ends(fake: Fake, outbox: Outbox) -> None:
        return

    async def keeps(fake: Fake, outbox: Outbox) -> None:
        outbox.is_up("somebody")
        async for _ in outbox:
            await asyncio.Event().wait()

    whole = Fake()
    bad = [Fake([run]) for run in (hangs, raises, exits, is_cancelled, ends, keeps)]
    sinks = made(whole, *bad)
    good = await sinks.add(draft(), "a test")
    for number in range(len(bad)):
        await sinks.add(draft(f"bad{number}", f"fake{number + 1}"), "a test")
    for _ in range(20):
        hub.publish(part().message)
    await until(lambda: len(whole.taken) == 20 and all(fake.begun > 2 for fake in bad))
    assert whole.begun == 1 and sinks.state(good.id).state == "up"
    words = [sinks.state(one.id).last_error or "" for one in sinks.all[1:]]
    for said, part_of in zip(
        words,
        ("it hung", "RuntimeError", "SystemExit", "cancelled from within", "ended by itself", "it hung"),
        strict=True,
    ):
        assert part_of in said
    assert len([record for record in caplog.records if record.exc_info and "bad1" in record.getMessage()]) == 1
    began = time.monotonic()
    await sinks.stop()
    assert time.monotonic() - began < 5


async def test_one_that_does_not_even_end_is_left_behind_and_then_given_up(
    made: Made, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PATIENCE_S", 0.02)
    monkeypatch.setattr(running, "CANCEL_S", 0.02)
    fake = Fake([never_ends])
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    await until(lambda: sinks.state(stored.id).state == "trouble")
    assert "restart the server" in sinks.state(stored.id).words and fake.begun == running.MOST_STUCK
    await sinks.remove(stored.id, "a test")
    await until(lambda: fake.ended == fake.begun)


async def test_one_that_is_over_switches_itself_off_for_good_and_says_why(made: Made, hub: Hub, tmp_path: Path) -> None:
    async def over(fake: Fake, outbox: Outbox) -> None:
        raise SinkOver("the peer does not want it any more")

    fake = Fake([over, takes_all])
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    await until(lambda: not sinks.get(stored.id).enabled)
    await until(lambda: sinks.state(stored.id).state == "off")
    assert sinks.state(stored.id).last_error == "the peer does not want it any more"
    assert "does not want it" in (sinks.warning or "")
    assert json.loads((tmp_path / "sinks.json").read_text())["sinks"][0]["why_off"]
    await sinks.change(stored.id, "a test", enabled=True)
    await until(lambda: sinks.state(stored.id).state == "up")
    assert sinks.warning is None and sinks.get(stored.id).why_off is None


async def test_what_waits_survives_a_change(made: Made, hub: Hub) -> None:
    async def takes_at_the_right_one(fake: Fake, outbox: Outbox) -> None:
        await (takes_all if fake.settings[-1].address == "right" else away)(fake, outbox)

    fake = Fake([takes_at_the_right_one])
    sinks = made(fake)
    stored = await sinks.add(draft(address="wrong"), "a test")
    hub.publish(part().message)
    await until(lambda: fake.begun > 1)
    await sinks.change(stored.id, "a test", settings={"address": "right"})
    # A last run of the old one may take it too: what it confirms counts for nothing.
    await until(lambda: bool(fake.taken) and sinks.state(stored.id).waiting == 0)
    assert {event.id for event in fake.taken} == {fake.taken[0].id}


@pytest.mark.parametrize(("acts", "after"), [(True, ["part"]), (False, ["verdict", "part"])])
async def test_after_a_change_a_verdict_that_stands_is_no_news_to_what_acts_on_it(
    made: Made, hub: Hub, acts: bool, after: list[str]
) -> None:
    fake = Fake()
    sinks = made(fake, acts=acts)
    stored = await sinks.add(draft(), "a test")
    standing = result(verdict="ANOMALY").message
    hub.publish(standing)
    await until(lambda: len(fake.taken) == 1)
    for change in ({"name": "ejector"}, {"settings": {"address": "elsewhere"}}):
        fake.taken.clear()
        await sinks.change(stored.id, "a test", **change)
        for message in (standing, part().message):
            hub.publish(message)
        await until(lambda: bool(fake.taken) and fake.taken[-1].what == "part")
        assert [event.what for event in fake.taken] == after


async def test_what_waits_survives_a_restart_in_order_and_once(made: Made, hub: Hub, tmp_path: Path) -> None:
    fake = Fake([away])
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    file = tmp_path / "sinks" / f"{stored.id}.waiting"
    told = [part(part=f"A-{number}") for number in range(3)]
    for one in told[:2]:
        hub.publish(one.message)
    await until(lambda: fake.begun > 1)
    await sinks.stop()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    fake.run = [takes_all]
    again = made(fake)
    hub.publish(told[2].message)
    await until(lambda: len(fake.taken) == 3)
    assert [event.message for event in fake.taken] == [one.message for one in told]
    await until(lambda: not file.exists())
    await again.stop()
    fake.taken.clear()
    last = made(fake)
    await until(lambda: last.state(stored.id).state == "up")
    assert not fake.taken and not file.exists()


async def waiting_when_it_was_stopped(made: Made, hub: Hub, fake: Fake, n: int = 2) -> str:
    """Id of a sink of which so many events waited at the last stop."""
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    for _ in range(n):
        hub.publish(part().message)
    await until(lambda: fake.begun > 1)
    await sinks.stop()
    return stored.id


async def test_what_waited_on_disk_goes_once_it_has_gone_out_by_a_changed_sink(
    made: Made, hub: Hub, tmp_path: Path
) -> None:
    fake = Fake([away])
    id = await waiting_when_it_was_stopped(made, hub, fake)
    file = tmp_path / "sinks" / f"{id}.waiting"
    again = made(fake)
    await until(lambda: again.state(id).waiting == 2)
    await again.change(id, "a test", settings={"address": "there"})
    fake.run = [takes_all]
    await until(lambda: len({event.id for event in fake.taken}) == 2)
    await until(lambda: not file.exists())


async def test_a_change_while_the_file_is_read_loses_nothing_of_it(
    made: Made, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake([away])
    id = await waiting_when_it_was_stopped(made, hub, fake)
    fake.run = [takes_all]
    reads, goes_on, read = threading.Event(), threading.Event(), Waiting.read

    def slowly(file: Waiting) -> tuple[list[Outgoing], int]:
        reads.set()
        assert goes_on.wait(20)
        return read(file)

    monkeypatch.setattr(Waiting, "read", slowly)
    again = made(fake)
    await until(reads.is_set)
    await again.change(id, "a test", settings={"address": "there"})
    goes_on.set()
    await until(lambda: len(fake.taken) == 2)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While there is something in it, no file of events can be read."""
    whole, broken = waiting.read_at_most, list[bool]()

    def read(path: Path, most: int) -> bytes:
        if broken:
            raise OSError(5, "Input/output error")
        return whole(path, most)

    monkeypatch.setattr(waiting, "read_at_most", read)
    monkeypatch.setattr(running, "READ_AGAIN_S", 0.01)
    return broken


async def test_what_waited_and_cannot_be_read_for_a_moment_is_left_alone_and_goes_out_later(
    made: Made, hub: Hub, tmp_path: Path, unreadable: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    fake = Fake([away])
    id = await waiting_when_it_was_stopped(made, hub, fake)
    fake.run = [takes_all]
    file = tmp_path / "sinks" / f"{id}.waiting"
    kept = file.read_bytes()
    unreadable.append(True)
    again = made(fake)
    hub.publish(part().message)
    await until(lambda: len(fake.taken) == 1)
    await until(lambda: "cannot be read (Input/output error), and is tried" in (again.state(id).last_error or ""))
    assert file.read_bytes() == kept
    unreadable.clear()
    await until(lambda: len(fake.taken) == 3 and not file.exists())
    assert caplog.text.count("what waited at the last stop cannot be read") == 1


async def test_what_comes_while_that_cannot_be_read_is_kept_behind_it(
    made: Made, hub: Hub, unreadable: list[bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "READ_AGAIN_S", 1000.0)
    fake = Fake([away])
    await waiting_when_it_was_stopped(made, hub, fake)
    unreadable.append(True)
    again = made(fake)
    await until(lambda: "what waited at the last stop cannot be read" in caplog.text)
    hub.publish(part(part="the last").message)
    unreadable.clear()
    await again.stop()
    fake.run = [takes_all]
    made(fake)
    await until(lambda: len(fake.taken) == 3)
    assert fake.taken[-1].message.part == "the last"


async def test_of_what_waited_only_what_this_version_does_not_know_is_lost_and_counted(
    made: Made, hub: Hub, tmp_path: Path
) -> None:
    fake = Fake([away])
    id = await waiting_when_it_was_stopped(made, hub, fake, 3)
    fake.run = [takes_all]
    file = tmp_path / "sinks" / f"{id}.waiting"
    events = msgspec.msgpack.decode(file.read_bytes())
    events[1][1] = "weather"
    file.write_bytes(newer := msgspec.msgpack.encode(events))
    again = made(fake)
    await until(lambda: len(fake.taken) == 2 and again.state(id).dropped == 1)
    assert [event.id for event in fake.taken] == [events[0][0], events[2][0]]
    assert file.with_name(f"{file.name}.damaged-1").read_bytes() == newer


async def test_refusals_are_logged_once_a_minute_with_how_many_there_were(
    made: Made, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuses(fake: Fake, outbox: Outbox) -> None:
        outbox.is_up("fake peer")
        async for _ in outbox:
            outbox.refuse("it cannot be read")

    sinks = made(Fake([refuses]))
    stored = await sinks.add(draft(), "a test")

    async def refused(number: int) -> list[str]:
        for _ in range(3):
            hub.publish(part().message)
        await until(lambda: sinks.state(stored.id).refused == number)
        return [line for line in caplog.text.splitlines() if "refuses an event" in line]

    (line,) = await refused(3)
    assert line.endswith("refused=1")
    monkeypatch.setattr(running, "REFUSALS_EVERY_S", 0.0)
    lines = await refused(6)
    assert len(lines) == 4 and lines[-1].endswith("refused=6")


async def test_what_waited_on_disk_goes_with_a_sink_that_switched_itself_off(
    made: Made, hub: Hub, tmp_path: Path
) -> None:
    async def over(fake: Fake, outbox: Outbox) -> None:
        raise SinkOver("the peer does not want it any more")

    fake = Fake([away])
    id = await waiting_when_it_was_stopped(made, hub, fake)
    fake.run = [over]
    again = made(fake)
    await until(lambda: not again.get(id).enabled)
    await until(lambda: not (tmp_path / "sinks" / f"{id}.waiting").exists())


async def test_what_is_told_while_it_is_changed_goes_out_by_the_changed_one(made: Made, hub: Hub) -> None:
    async def hears_while_it_ends(fake: Fake, outbox: Outbox) -> None:
        outbox.is_up("fake peer")
        try:
            await asyncio.Event().wait()
        finally:
            hub.publish(part().message)

    fake = Fake([hears_while_it_ends, takes_all])
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    await sinks.change(stored.id, "a test", settings={"address": "there"})
    await until(lambda: len(fake.taken) == 1)


async def test_what_waits_is_forgotten_with_the_sink_and_a_damaged_file_is_no_obstacle(
    made: Made, hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake = Fake([away])
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    file = tmp_path / "sinks" / f"{stored.id}.waiting"
    hub.publish(part().message)
    await until(lambda: fake.begun > 1)
    await sinks.stop()
    file.write_bytes(b"\xc1" * 100)
    fake.run = [takes_all]
    sinks = made(fake)
    hub.publish(part().message)
    await until(lambda: len(fake.taken) == 1)
    assert "cannot be read" in caplog.text
    assert file.with_name(f"{file.name}.damaged-1").read_bytes() == b"\xc1" * 100
    file.write_bytes(b"")
    await sinks.remove(stored.id, "a test")
    assert not file.exists()


async def test_a_secret_goes_to_nobody_it_was_not_meant_for(made: Made) -> None:
    sinks = made(Fake())
    stored = await sinks.add(draft(password=SECRET), "a test")
    with pytest.raises(ValueError, match="Address is another one: give Password again"):
        await sinks.change(stored.id, "a test", settings={"address": "elsewhere"})
    with pytest.raises(ValueError, match="give Password again"):
        await sinks.try_out(draft(address="elsewhere"), stored.id)
    changed = await sinks.change(stored.id, "a test", settings={"slots": 4})
    assert changed.settings == {"address": "here", "password": SECRET, "slots": 4}
    changed = await sinks.change(stored.id, "a test", settings={"address": "elsewhere", "password": "other"})
    assert changed.settings["password"] == "other"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (draft(name="a b"), "the name has 1 to 64"),
        (draft(name=".."), "the name has 1 to 64"),
        (draft(kind="gone"), "there is no kind 'gone'"),
        (draft(address="x" * 101), "Address: expected text of length <= 100"),
        (draft(address=4), "Address: expected text, got a whole number"),
        (draft(slots=10), "Slots: expected a whole number <= 9"),
        (draft(mode="three"), "Mode: invalid enum value"),
        (draft(other=1), "contains unknown field"),
        (draft(address="nowhere"), "the address is nowhere: give another"),
        (draft(pem="x" * 200_000), "more than 100 kB"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(made: Made, wrong: Draft, words: str) -> None:
    sinks = made(Fake())
    with pytest.raises(ValueError, match=words):
        await sinks.add(wrong, "a test")
    assert not sinks.all


async def test_names_are_taken_once_and_there_are_so_many(made: Made) -> None:
    sinks = made(Fake())
    first = await sinks.add(draft(enabled=False), "a test")
    with pytest.raises(CannotAdd, match="is taken"):
        await sinks.add(draft(), "a test")
    assert (await sinks.change(first.id, "a test", name="other")).name == "other"
    for number in range(MOST - 1):
        await sinks.add(draft(f"more{number}", enabled=False), "a test")
    with pytest.raises(CannotAdd, match="remove one first"):
        await sinks.add(draft("last"), "a test")


async def test_without_its_package_it_is_kept_and_says_what_to_install(made: Made) -> None:
    fake = Fake()
    sinks = made(fake, modules=("a_package_that_is_not_there",), extra="fake")
    stored = await sinks.add(draft(), "a test")
    await until(lambda: sinks.state(stored.id).state == "trouble")
    assert to_install("fake") in sinks.state(stored.id).words and not fake.begun
    with pytest.raises(SinkError, match="pip install"):
        await sinks.test(stored.id)


async def test_a_kind_that_is_gone_keeps_its_sinks(made: Made, hub: Hub, tmp_path: Path) -> None:
    stored = await made(Fake()).add(draft(), "a test")
    later = Sinks(tmp_path, hub, kinds={})
    later.start()
    assert later.state(stored.id).state == "trouble" and "knows no fake0" in later.state(stored.id).words
    await later.stop()


async def test_what_cannot_be_written_is_not_in_force(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake()
    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("server.ground.kept_file.write_atomically", full)
    for change in (
        sinks.add(draft("b"), "t"),
        sinks.remove(stored.id, "t"),
        sinks.change(stored.id, "t", enabled=False),
    ):
        with pytest.raises(OSError, match="No space"):
            await change
    assert sinks.all == (stored,) and sinks.state(stored.id).state in ("connecting", "up")


async def test_tests_are_bounded_in_number_and_time(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEST_WITHIN_S", 0.1)
    fake, entered = Fake(), asyncio.Event()

    async def never() -> str:
        entered.set()
        await asyncio.Event().wait()
        return ""

    async def fails() -> str:
        raise RuntimeError("what nobody expected")

    sinks = made(fake)
    stored = await sinks.add(draft(), "a test")
    assert await sinks.test(stored.id) == "it was asked, and answered"
    assert await sinks.try_out(draft("other")) == "it was asked, and answered"
    fake.test = fails
    with pytest.raises(SinkError, match="a fault of this software"):
        await sinks.test(stored.id)
    with pytest.raises(SinkError, match="a fault of this software"):
        await sinks.try_out(draft(address="broken"))
    fake.test = never
    both = [asyncio.create_task(sinks.test(stored.id)) for _ in range(2)]
    await entered.wait()
    with pytest.raises(TooManyTests):
        await sinks.try_out(draft("other"))
    for one in both:
        with pytest.raises(SinkError, match="nothing came of it"):
            await one
    assert len(sinks.all) == 1


async def test_a_damaged_file_is_set_aside_and_says_so_without_what_was_in_it(made: Made, tmp_path: Path) -> None:
    (tmp_path / "sinks.json").write_text(f'{{"version": 1, "sha256": "", "sinks": [{{"password": "{SECRET}"}}]}}')
    sinks = made(Fake())
    assert sinks.warning is not None and "sinks.json was damaged" in sinks.warning and SECRET not in sinks.warning
    assert (tmp_path / "sinks.json.damaged-1").is_file()
