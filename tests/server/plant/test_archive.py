"""Pictures of all gateways: each puts its own into the plant's store, and shows those of the others."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import logging
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from server.archive import Archive, Damaged, Folder, Limits, Pictured, SharedPictures
from server.archive import shared as module
from server.archive.folder import is_shared
from server.archive.pictured import FACTS, MOST_BYTES, PICTURE, began, pack, said_of
from server.plant import ObjectStore, PlantAway, StoreAddress
from server.records import milliseconds
from tests.detector.parts import draw_part
from tests.server.archive.pictures import one
from tests.server.plant.test_gateways import _inspects_with, copied, gateway, until
from tests.server.web.test_recipes import score

__all__ = ["gateway"]

BOTH = pytest.mark.parametrize("store", ["mounted", "bucket"], indirect=True)
TODAY = date(2026, 11, 26)
AT = "2026-11-26T09:30:05.250+00:00"
PLENTY = Limits(bytes=1 << 40, days=90, free=0)


class Store(ObjectStore):
    """One that is away while a test says so."""

    is_away = False
    day = TODAY
    """By its own clock."""

    def now(self) -> float:
        return datetime.combine(self.day, dt.time(), UTC).timestamp()

    def _files(self) -> Any:
        return self._away() if self.is_away else super()._files()

    def _away(self) -> Any:
        raise ConnectionError("no route to host")


class Gateway:
    """What shares the pictures of one gateway, without its event loop."""

    def __init__(self, root: Path, store: StoreAddress, limits: Limits = PLENTY, today: date = TODAY) -> None:
        self.store, self.today = Store(store), today
        self.folder = Folder(root, limits, today=lambda: self.today, free=lambda _: 1 << 40, has_store=True)
        self.folder.count()
        self.gone: list[str] = []
        self.begin()

    def begin(self) -> None:
        """As after a restart."""
        self.shared = SharedPictures(self.store, self.folder, days=90, aged_by=lambda: self.today)
        self.shared.on_gone = self.gone.extend

    def write(self, pictured: Pictured) -> None:
        self.folder.write(pictured)
        self.shared.put_soon(pictured.facts.id)

    def go(self) -> None:
        """What its thread does, once."""
        while self.shared._round():
            pass
        self.shared._put_queued()

    def is_marked(self, id: str) -> bool:
        path = self.folder.find(id)
        assert path is not None
        return is_shared(path.stat().st_mode)

    def fetch(self, id: str) -> Pictured | None:
        return self.shared.fetch(id, milliseconds(AT))


@pytest.fixture
def two(tmp_path: Path, store: StoreAddress) -> tuple[Gateway, Gateway]:
    return Gateway(tmp_path / "one", store), Gateway(tmp_path / "two", store)


@BOTH
def test_what_one_keeps_another_reads(two: tuple[Gateway, Gateway]) -> None:
    mine, theirs = two
    mine.write(one("p1", at=AT))
    assert theirs.fetch("p1") is None
    mine.go()
    assert theirs.fetch("p1") == one("p1", at=AT) and theirs.folder.find("p1") is None
    assert mine.is_marked("p1") and mine.folder.read("p1") == one("p1", at=AT)
    assert [found.name for found in mine.store.below("archive")] == ["archive/2026-11-26/p1.zip"]


def test_an_alarm_that_goes_on_over_midnight_is_one_object(two: tuple[Gateway, Gateway]) -> None:
    mine, theirs = two
    moment = milliseconds("2026-11-26T23:59:59.900+00:00")
    id = f"press-{moment}-7"
    mine.write(one(id, kind="alarm", at="2026-11-26T23:59:59.900+00:00"))
    mine.go()
    mine.today = date(2026, 11, 27)
    worse = one(id, kind="alarm", at="2026-11-27T00:00:01.000+00:00")
    mine.write(worse)
    assert not mine.is_marked(id), "what is written in its place is another file"
    mine.go()
    assert began(worse.facts) == moment and theirs.shared.fetch(id, moment) == worse
    assert len(mine.store.below("archive")) == 1


def test_what_was_not_put_is_found_again_after_a_restart(two: tuple[Gateway, Gateway]) -> None:
    mine, theirs = two
    mine.store.is_away = True
    for number in range(3):
        mine.write(one(f"p{number}", at=AT))
        with pytest.raises(PlantAway, match="no route"):
            mine.go()
    mine.store.is_away = False
    mine.begin()
    mine.go()
    assert all(theirs.fetch(f"p{number}") is not None and mine.is_marked(f"p{number}") for number in range(3))
    mine.begin()
    mine.go()
    assert mine.shared.put == 0, "nothing is put twice"


def test_what_its_queue_does_not_hold_is_found_again(
    two: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = two
    mine.go()
    monkeypatch.setattr(module, "MOST_QUEUED", 2)
    for number in range(9):
        mine.write(one(f"p{number}", at=AT))
    mine.go()
    assert len(mine.store.below("archive")) == 9


def test_a_store_that_is_away_is_said_when_it_begins_and_when_it_is_over(
    two: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine, theirs = two
    monkeypatch.setattr(module, "RETRY_S", (0.001,))
    mine.store.is_away = True
    caplog.set_level(logging.INFO, "defectvision.archive")
    tries = iter(range(5))

    def stop_being_away(seconds: float) -> None:
        mine.shared._came.clear()
        if next(tries) == 4:
            mine.store.is_away = False
        if mine.shared.warning:
            warnings.append(mine.shared.warning)

    warnings: list[str] = []
    monkeypatch.setattr(mine.shared, "_pause", stop_being_away)
    mine.write(one("p1", at=AT))
    mine.shared.start()
    for _ in range(2000):
        if mine.shared.put:
            break
        mine.shared._thread.join(0.005)
    mine.shared.stop()
    mine.shared.end()
    assert theirs.fetch("p1") is not None
    assert "lie here until they can be put there" in warnings[0] and mine.shared.warning is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@BOTH
def test_what_is_said_holds_wherever_it_is_said_and_the_later_wins(two: tuple[Gateway, Gateway]) -> None:
    mine, theirs = two
    mine.write(one("p1", at=AT))
    mine.go()
    assert theirs.shared.say("p1", milliseconds(AT), "bad", "c1")
    assert not theirs.shared.say("p2", milliseconds(AT), "bad", "c1")
    here = mine.folder.read("p1")
    assert here is not None and here.facts.disposition is None
    assert mine.shared.newest(here).facts.disposition == "bad"
    read = mine.folder.read("p1")
    assert read is not None and (read.facts.disposition, read.facts.correction) == ("bad", "c1")
    # Said here while the store is away, then there: there it was later.
    mine.store.is_away = True
    mine.folder.say("p1", "good", "c2")
    assert mine.shared.newest(mine.folder.read("p1") or read).facts.disposition == "good"
    theirs.shared.say("p1", milliseconds(AT), None, None)
    theirs.shared.say("p1", milliseconds(AT), "bad", "c3")
    mine.store.is_away = False
    mine.begin()
    mine.go()
    for found in (mine.folder.read("p1"), theirs.fetch("p1")):
        assert found is not None and found.facts.correction == "c3"
    assert mine.is_marked("p1")
    # And the other way round.
    mine.folder.say("p1", "good", "c4")
    mine.shared.put_soon("p1")
    mine.go()
    found = theirs.fetch("p1")
    assert found is not None and (found.facts.disposition, found.facts.correction) == ("good", "c4")


@pytest.mark.parametrize("asks", ["who looks at it", "what puts it"])
def test_what_is_said_here_while_the_store_is_asked_holds(
    two: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    mine, theirs = two
    mine.write(one("p1", at=AT))
    mine.go()
    theirs.shared.say("p1", milliseconds(AT), "good", "c1")
    here, get = mine.folder.read("p1"), mine.shared._get
    assert here is not None
    said = iter([True])

    def slow(id: str, at: int) -> Pictured | None:
        found = get(id, at)
        if next(said, False):
            mine.folder.say("p1", "bad", "c2")
        return found

    monkeypatch.setattr(mine.shared, "_get", slow)
    if asks == "who looks at it":
        assert mine.shared.newest(here).facts.correction == "c2"
    mine.shared.put_soon("p1")
    mine.go()
    for found in (mine.folder.read("p1"), theirs.fetch("p1")):
        assert found is not None and (found.facts.disposition, found.facts.correction) == ("bad", "c2")


def test_a_worse_frame_does_not_take_the_place_of_one_that_another_gateway_spoke_of(
    two: tuple[Gateway, Gateway],
) -> None:
    mine, theirs = two
    mine.write(one("p1", at=AT))
    mine.go()
    theirs.shared.say("p1", milliseconds(AT), "good", "c1")
    mine.write(one("p1", at=AT, size=5000))
    mine.go()
    for found in (mine.folder.read("p1"), theirs.fetch("p1")):
        assert found is not None and found.facts.disposition == "good" and found.input == one("p1").input


def test_what_is_in_the_store_may_go_here_and_is_not_gone(tmp_path: Path, store: StoreAddress) -> None:
    small = Limits(bytes=150_000, days=90, free=0)
    mine = Gateway(tmp_path / "one", store, small)
    mine.write(one("p1", at=AT, size=100_000))
    mine.go()
    mine.write(one("p2", at=AT, size=100_000))
    assert mine.folder.find("p1") is None and mine.folder.take_gone() == []
    mine.write(one("p3", at=AT, size=100_000))
    assert mine.folder.take_gone() == ["p2"], "it was nowhere else"
    mine.go()
    assert mine.fetch("p1") is not None and mine.fetch("p2") is None


def test_a_mark_means_nothing_without_a_store(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Limits(bytes=150_000, days=90, free=0), free=lambda _: 1 << 40)
    folder.count()
    folder.write(one("p1", size=100_000))
    path = folder.find("p1")
    assert path is not None
    path.chmod(0o444)
    folder.write(one("p2", size=100_000))
    assert folder.take_gone() == ["p1"]


@BOTH
def test_what_is_too_old_goes_from_the_store(two: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = two
    monkeypatch.setattr(module, "MOST_TIDIED", 2)
    for number in range(5):
        mine.write(one(f"p{number}", at=AT))
    mine.write(one("later", at="2026-11-27T00:00:00.000+00:00"))
    mine.go()
    assert not theirs.shared.is_over(milliseconds(AT))
    theirs.today = theirs.store.day = date(2027, 2, 25)  # 91 days later
    theirs.begin()
    theirs.go()
    assert theirs.gone == [] and not theirs.shared.is_over(milliseconds(AT))
    theirs.today = date(2027, 2, 26)  # by the gateway's clock alone: it may be wrong
    theirs.begin()
    theirs.go()
    assert theirs.gone == []
    theirs.store.day = theirs.today
    theirs.begin()
    theirs.go()
    assert sorted(theirs.gone) == [f"p{number}" for number in range(5)]
    assert theirs.shared.is_over(milliseconds(AT))
    assert [found.name for found in mine.store.below("archive")] == ["archive/2026-11-27/later.zip"]
    assert mine.store.folders("archive") == ["2026-11-27"]
    theirs.go()
    mine.today = theirs.today
    mine.begin()
    mine.go()
    assert mine.fetch("p1") is None, "what is too old is not put there again"


def _zip(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, its in files.items():
            archive.writestr(name.replace("_", "."), its)
    return data.getvalue()


def _long_list() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(FACTS, b"{}")
        for number in range(9):
            archive.writestr(str(number), b"")
    return data.getvalue()


def _zip64(whole: bytes) -> bytes:
    return whole[:-22] + b"PK\6\7".ljust(20, b"\0") + whole[-22:]


WHOLE = pack(one("p1", at=AT))
HOSTILE = {
    "another": pack(one("p2", at=AT)),
    "nothing": b"",
    "no zip": b"\0" * 5000,
    "deflated": _zip(facts_json=b"{}"),
    "half": WHOLE[: len(WHOLE) // 2],
    "one byte": WHOLE[:200] + bytes([WHOLE[200] ^ 1]) + WHOLE[201:],
    "long list": _long_list(),
    "other list": _zip64(WHOLE),
    "deep": _zip(facts_json=b"[" * 100_000, picture_jpg=b"\xff\xd8\xff"),
    "header": pack(
        msgspec.structs.replace(one("p1"), facts=msgspec.structs.replace(one("p1").facts, frame='"\r\nSet-Cookie: a'))
    ),
    "never": pack(msgspec.structs.replace(one("p1"), facts=msgspec.structs.replace(one("p1").facts, said_at=2**62))),
    "no picture": _zip(**{FACTS.replace(".", "_"): b"{}", PICTURE.replace(".", "_"): b"<script>"}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_somebody_else_put_there_is_damaged(two: tuple[Gateway, Gateway], tmp_path: Path, what: str) -> None:
    mine, theirs = two
    (tmp_path / "object").write_bytes(HOSTILE[what])
    mine.store.put("archive/2026-11-26/p1.zip", tmp_path / "object")
    with pytest.raises(Damaged):
        mine.fetch("p1")
    mine.write(one("p1", at=AT))
    mine.go()
    assert theirs.fetch("p1") == one("p1", at=AT), "and mended by who has it"


def test_what_is_larger_than_any_picture_is_not_fetched(two: tuple[Gateway, Gateway], tmp_path: Path) -> None:
    mine, _ = two
    with (tmp_path / "object").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    mine.store.put("archive/2026-11-26/p1.zip", tmp_path / "object")
    with pytest.raises(Damaged, match="larger"):
        mine.fetch("p1")


def test_a_file_that_cannot_be_read_holds_up_no_other(
    two: tuple[Gateway, Gateway], caplog: pytest.LogCaptureFixture
) -> None:
    mine, _ = two
    mine.write(one("p1", at=AT))
    mine.write(one("p2", at=AT))
    path = mine.folder.find("p1")
    assert path is not None
    path.write_bytes(b"half")
    (path.parent / ".odd.zip").write_bytes(pack(one(".odd", at=AT)))
    mine.begin()
    mine.go()
    assert mine.is_marked("p2") and mine.fetch("p2") is not None and not mine.is_marked("p1")
    assert sum("is not put into the plant's store" in record.getMessage() for record in caplog.records) == 1


@pytest.fixture
async def archive(tmp_path: Path, store: StoreAddress) -> AsyncIterator[tuple[Archive, Store]]:
    its = Store(store)
    made = Archive(tmp_path / "here", PLENTY, store=its)
    made.start()
    yield made, its
    await made.stop()


async def test_nobody_waits_long_for_a_store_that_hangs(
    archive: tuple[Archive, Store], two: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, its = archive
    monkeypatch.setattr("server.archive.archive.FETCH_S", 0.01)
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(*arguments: Any, **options: Any) -> None:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(20)

    monkeypatch.setattr(its, "read", hang)
    with pytest.raises(PlantAway, match="in time"):
        await here.fetch("p1", milliseconds(AT))
    assert await here.read("p1") is None, "who reads here does not wait for those"
    gate.set()


def test_what_is_said_is_later_than_what_was_said_whatever_the_clock_says() -> None:
    first = said_of(one("p1"), "good", None)
    assert said_of(first, None, None).facts.said_at > first.facts.said_at > 0
    ahead = msgspec.structs.replace(first, facts=msgspec.structs.replace(first.facts, said_at=4_000_000_000_000))
    assert said_of(ahead, "bad", None).facts.said_at == 4_000_000_000_001


@pytest.mark.parametrize("store", ["bucket"], indirect=True)
async def test_the_history_of_one_gateway_shows_pictures_of_another(
    gateway: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway("one", first=True) as (one_, at_one), gateway("two") as (_, at_two):
        made = await copied(at_one)
        await until(lambda: _inspects_with(at_two, made["id"]))
        async with connect(f"{one_.ws}/ws/stream?name=press") as press:
            await score(press, draw_part(3, defect=True))

            async def pictured() -> Any:
                answer = await at_two.get("/api/history", params={"verdict": "ANOMALY"})  # 503 until it is open
                return next((entry["id"] for entry in answer.json().get("entries", ()) if entry["picture"]), None)

            id = await until(pictured)

            async def there() -> Any:
                answer = await at_two.get(f"/api/history/{id}/picture")
                return answer if answer.status_code == 200 else None

            picture = await until(there)
            assert picture.content == (await at_one.get(f"/api/history/{id}/picture")).content
            assert (await at_two.get(f"/api/history/{id}/thumbnail")).status_code == 200
            told = await at_two.post(f"/api/history/{id}/good", json={})
            assert told.status_code == 200, told.text
            for client in (at_two, at_one):  # once the correction is there, too
                await until(lambda client=client: _is_said(client, id, "good"))
            taken_back = await at_one.post(f"/api/history/{id}/nothing", json={})
            assert taken_back.status_code == 200, taken_back.text

            await until(lambda: _is_said(at_two, id, None))
            taught = await at_two.post("/api/history/teach", json={"ids": [id], "name": "discs again"})
            assert taught.status_code == 201, taught.text
            monkeypatch.setattr(ObjectStore, "_files", Store._away)
            assert (await at_one.get(f"/api/history/{id}/picture")).status_code == 200
            answer = await at_two.get(f"/api/history/{id}/picture")
            assert answer.status_code == 503 and "which the plant's gateways share" in answer.text
            assert (await at_two.get(f"/api/history/{id}")).json()["entry"]["picture_kept"]


async def _is_said(client: httpx.AsyncClient, id: str, what: str | None) -> bool:
    return bool((await client.get(f"/api/history/{id}/frame")).json()["disposition"] == what)
