"""The way back of a history's tables, in either database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from server.ground import DatabaseAddress
from server.records import HistoryStays, WayBack
from server.records.database import Database
from tests.server.records.histories import Place, hear, numbers_of, until


async def test_all_entries_stay_and_today_s_server_takes_it_on_again(place: Place, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    async with place.opened() as history:
        hear(history, *range(20))
        await until(lambda: history.state.stored == 20, history)
    with pytest.raises(HistoryStays, match="brought back to 0001, not to '2'"):
        await goal(place, "2")
    if place.address is None:
        with pytest.raises(HistoryStays, match="no copy of it can be made before"):
            await take_back(place, tmp_path / "not mounted")
    assert await version_of(place) == "0002"
    assert {await goal(place, to, begun) for to in (None, "0001") for begun in (None, "0001")} == {"0001"}
    said = await take_back(place, aside)
    assert said == "the history, from version 0002 to 0001" and await version_of(place) == "0001"
    assert (aside / "history.db").exists() == (place.address is None)
    assert [await goal(place, "0001"), await goal(place, None, "0001")] == ["0001"] * 2, "no further than it was to go"
    for begun in (None, "0002"):
        with pytest.raises(HistoryStays, match="every DefectVision reads it"):
            await goal(place, None, begun)
    assert await take_back(place, aside) == "the history, in version 0001 already"
    async with place.opened() as history:
        assert await numbers_of(history) == [*range(20)]
    assert await version_of(place) == "0002"


async def test_a_history_of_a_newer_version_is_said_and_stays(place: Place, tmp_path: Path) -> None:
    async with place.opened():
        pass
    database = Database(place.folder, place.address)
    await database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '0003'")))
    await database.close()
    with pytest.raises(HistoryStays, match=r"of a newer version \(0003; this one knows 0002\)"):
        await goal(place, None)


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    pytest.importorskip("asyncpg")
    with pytest.raises(HistoryStays, match="cannot be reached"):
        WayBack(tmp_path, DatabaseAddress("127.0.0.1", 1, "line"), None).goal(None)
    with pytest.raises(HistoryStays, match="there is nothing to bring back"):
        WayBack(tmp_path, None, None).goal(None)
    (tmp_path / "history.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(HistoryStays, match=r"history\.db"):
        WayBack(tmp_path, None, None).goal(None)


async def goal(place: Place, to: str | None, begun: str | None = None) -> str:
    return await asyncio.to_thread(WayBack(place.folder, place.address, to).goal, begun)


async def take_back(place: Place, aside: Path) -> str:
    return await asyncio.to_thread(WayBack(place.folder, place.address, None).take_back, aside, "0001")


async def version_of(place: Place) -> str:
    database = Database(place.folder, place.address)
    try:
        return str(
            await database.read(lambda connection: connection.scalar(text("SELECT version_num FROM alembic_version")))
        )
    finally:
        await database.close()
