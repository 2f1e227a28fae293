"""Databases that are away, full, killed, damaged, or of another version: what is inspected is kept, in order, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import create_engine, text

from detector.counted import counted
from server.ground import DatabaseAddress, data_directory
from server.records import Records, RecordsAway, Span, Wanted, migrations, records
from server.records.backlog import Backlog
from server.records.database import Database
from server.records.migrations import steps
from server.streams import Hub
from tests.server.records.histories import Place, everything, hear, numbers_of, part, until
from tests.server.records.postgres import PASSWORD, PostgreSQL

ROOT = Path(__file__).parents[3]


def the_log(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "defectvision.history"]


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_a_postgresql_that_stops_in_mid_run(
    how: str, address: DatabaseAddress, postgresql: PostgreSQL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = 0
    async with Place(tmp_path, address).opened() as history:

        def send(count: int) -> None:
            nonlocal sent
            hear(history, *range(sent, sent + count))
            sent += count

        send(150)
        await until(lambda: history.state.stored > 0)
        with caplog.at_level(logging.WARNING):
            if how == "paused":
                with postgresql.paused():
                    send(150)
                    await until(lambda: history.state.state == "away", history)
                    send(50)
                    await until(lambda: not history.state.waiting, history)
                    assert history.state.backlog >= 50
                    assert "entries wait on disk" in str(history.warning) and PASSWORD not in str(history.warning)
                    with pytest.raises(RecordsAway):
                        await history.find(Wanted())
            else:
                send(100)
                await asyncio.to_thread(postgresql.kill)
                send(100)
                await until(lambda: history.state.state == "away", history)
                send(50)
                await until(lambda: not history.state.waiting, history)
                with pytest.raises(RecordsAway):
                    await history.find(Wanted())
                await asyncio.to_thread(postgresql.start)
            send(20)
            await until(lambda: history.state.state == "ok" and not history.state.backlog, history)
            send(10)
            await until(lambda: not history.state.waiting, history)
        assert await numbers_of(history) == [*range(sent)]
        (numbers,) = await history.numbers([Span(0, 2**60)])
        assert numbers.total == sent
        assert history.state.dropped == 0 and history.warning is None
    said = the_log(caplog)
    assert sum("history away" in line for line in said) == sum("history back" in line for line in said) == 1
    assert not list((tmp_path / "backlog").glob("*.jsonl"))


async def test_a_postgresql_that_is_back_is_said_to_be_where_nothing_comes(
    address: DatabaseAddress, postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "EVERY_S", 0.0)
    async with Place(tmp_path, address).opened() as history:
        await asyncio.to_thread(postgresql.kill)
        await until(lambda: history.state.state == "away", history)
        await asyncio.to_thread(postgresql.start)
        await until(lambda: history.state.state == "ok", history)
        assert history.warning is None


async def test_a_postgresql_that_is_not_there_at_the_start(tmp_path: Path) -> None:
    history = Records(tmp_path, DatabaseAddress("127.0.0.1", 1, "line"))
    history.start()
    hear(history, 1, 2, 3)
    await until(lambda: history.state.backlog == 3, history)
    assert history.state.state == "away" and "PostgreSQL line on 127.0.0.1:1" in str(history.warning)
    hear(history, 4)
    await history.close()
    async with Place(tmp_path).opened() as other:  # without DATABASE_URL what waited goes into the file
        assert await numbers_of(other) == [1, 2, 3, 4]


async def test_what_is_committed_is_not_doubled_by_a_crash_before_the_backlog_is_taken_out(place: Place) -> None:
    history = Records(place.folder, place.address)
    hear(history, *range(250))
    history._running.overdue()
    await history.close()  # it was never started: all of it is on disk
    kept = {path.name: path.read_bytes() for path in (place.folder / "backlog").iterdir()}
    for _ in range(2):
        async with place.opened() as history:
            assert await numbers_of(history) == [*range(250)]
            (numbers,) = await history.numbers([Span(0, 2**60)])
            assert numbers.total == 250
        for name, data in kept.items():  # as if it had been killed just before
            (place.folder / "backlog" / name).write_bytes(data)


async def test_a_torn_backlog_is_read_up_to_the_tear(tmp_path: Path) -> None:
    history = Records(tmp_path)
    hear(history, 0, 1, 2)
    await history.close()
    (path,) = (tmp_path / "backlog").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    hear(history := Records(tmp_path), 3)
    await history.close()
    async with Place(tmp_path).opened() as history:
        assert await numbers_of(history) == [0, 1] or await numbers_of(history) == [0, 1, 3]
        await until(lambda: history.state.damaged == 1)
        assert await numbers_of(history) == [0, 1, 3] and history.state.dropped == 0
        assert "1 line of the backlog could not be read" in str(history.warning)
    assert any(name.endswith(".jsonl.damaged") for name in os.listdir(tmp_path / "backlog"))  # noqa: PTH208


def test_a_line_that_cannot_be_read_counts_once_however_often_it_is_tried(tmp_path: Path) -> None:
    (tmp_path / "0000000001.jsonl").write_bytes(b"{\n{\n{\n")
    backlog = Backlog(tmp_path)
    backlog.open()
    for _ in range(20):  # the database is away
        events, read = backlog.oldest(2)
        assert events == [] and backlog.damaged == 0
    backlog.taken(read)
    assert backlog.damaged == 2
    _, read = backlog.oldest(2)
    backlog.taken(read)
    assert backlog.damaged == 3 and backlog.events == 0


async def test_impossible_counts_in_the_backlog_are_not_stored(tmp_path: Path) -> None:
    (tmp_path / "backlog").mkdir()
    minute = {"op": "minute", "id": "m", "start": 0, "stream": "press", "recipe": "", "recipe_version": 0}
    minute |= {"simulated": False, "frames": -5, "anomalies": 0, "dropped": 0, "failed": 0}
    (tmp_path / "backlog" / "0000000001.jsonl").write_bytes(msgspec.json.encode(minute) + b"\n")
    async with Place(tmp_path).opened() as history:
        await until(lambda: history.state.damaged == 1, history)
        assert await history.minutes() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


async def test_a_full_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_WAITING", 300)
    sent = 0
    async with Place(small_disk).opened() as history:
        hub = Hub()
        hub.listen(history.hear)
        hub.publish(part(sent))
        await until(lambda: history.state.stored == 1)
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(512))
        while history.state.state != "away" or not history.state.dropped:
            sent += 1
            hub.publish(part(sent))  # whoever inspects hears nothing of it
            await asyncio.sleep(0)
            assert sent < 100_000
        assert "full" in str(history.state.last_error).lower() or "space" in str(history.state.last_error)
        assert " lost" in str(history.warning)
        lost = history.state.dropped
        ballast.unlink()
        await until(lambda: not history.state.waiting and not history.state.backlog, history)
        assert history.state.state == "ok" and history.state.dropped == lost
        found = await numbers_of(history)
        assert found == sorted(set(found)) and len(found) == sent + 1 - lost
        assert found[0] == 0 and found[-1] == sent
        assert f"lost {counted(lost, 'entry', 'entries')}" in str(history.warning)


KILLED = """
import asyncio, sys
from pathlib import Path
from detector.counted import counted
from server.records import Records, records
from tests.server.records.histories import hear
async def main():
    records.BATCH_S = 0.01
    history = Records(Path(sys.argv[1]))
    history.start()
    for number in range(10**9):
        hear(history, number)
        if number % 50 == 49:
            before = history.state.stored
            while history.state.stored < before + 50 and history.state.waiting > 200:
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            print(history.state.stored, flush=True)
asyncio.run(main())
"""


async def test_a_server_that_is_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    stored = 0
    while stored < 400:
        stored = int(await process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = (await process.stdout.read()).split()
    await process.wait()
    stored = max([stored, *map(int, rest[-1:])])
    async with Place(tmp_path).opened() as history:
        found = await numbers_of(history)
        assert found == [*range(len(found))] and len(found) >= stored
        (numbers,) = await history.numbers([Span(0, 2**60)])
        assert numbers.total == len(found)


async def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "history.db").write_bytes(b"this is no database" * 1000)
    async with Place(tmp_path).opened() as history:
        hear(history, 1)
        await until(lambda: history.state.stored == 1)
        assert "history.db.damaged-1" in str(history.warning) and "new history begun" in str(history.warning)
        assert (tmp_path / "history.db.damaged-1").read_bytes().startswith(b"this is no database")
        assert await numbers_of(history) == [1]
    assert any("set aside" in line for line in the_log(caplog))


async def test_a_file_that_is_damaged_while_it_is_used(tmp_path: Path) -> None:
    async with Place(tmp_path).opened() as history:
        hear(history, *range(100))
        await until(lambda: history.state.stored == 100)
    with (tmp_path / "history.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(4096))
    async with Place(tmp_path).opened() as history:
        hear(history, *range(100, 103))
        await until(lambda: history.state.stored == 3, history)
        assert await numbers_of(history) == [100, 101, 102]
        assert "was damaged" in str(history.warning)


async def test_a_newer_schema(tmp_path: Path) -> None:
    place = Place(tmp_path)
    await _one_part_and_a_newer_schema(place)
    history = Records(place.folder, place.address)
    history.start()
    await until(lambda: history.state.state == "off", history)
    hear(history, 2)
    assert history.state.waiting == 0
    assert "of a newer version (9999; this one knows" in str(history.warning)
    with pytest.raises(RecordsAway, match="history is off"):
        await history.find(Wanted())
    with pytest.raises(RecordsAway, match="history is off"):
        await history.dispose("part-1", "confirmed")
    await history.close()


async def test_a_newer_schema_that_another_gateway_made(address: DatabaseAddress, tmp_path: Path) -> None:
    place = Place(tmp_path, address)
    await _one_part_and_a_newer_schema(place)
    history = Records(place.folder, place.address)
    history.start()
    await until(lambda: history.state.state == "away", history)
    hear(history, 2)
    await until(lambda: history.state.backlog == 1, history)
    assert "of a newer version (9999; this one knows" in str(history.warning)
    await history.close()
    database = Database(place.folder, place.address)
    await database.write(lambda connection: connection.execute(text(_TODAYS)))  # or this gateway is upgraded
    await database.close()
    async with place.opened() as history:
        assert await numbers_of(history) == [1, 2]


async def test_tables_that_another_gateway_brings_to_a_newer_version_in_mid_run_lose_nothing(
    address: DatabaseAddress, tmp_path: Path
) -> None:
    place = Place(tmp_path, address)
    async with place.opened() as history:

        async def change(*statements: str) -> None:
            for statement in statements:
                await history._database.write(lambda connection: connection.execute(text(statement)))  # noqa: B023

        hear(history, 1)
        await until(lambda: history.state.stored == 1, history)
        # What a newer version fills in, and this one knows nothing of.
        await change("ALTER TABLE entries ADD COLUMN shift text", "UPDATE entries SET shift = 'early'", _NEWER)
        await change("ALTER TABLE entries ALTER COLUMN shift SET NOT NULL")
        hear(history, 2, 3)
        await until(lambda: history.state.backlog == 2, history)
        assert history.state.refused == 0 and "update this software" in str(history.warning)
        await change("ALTER TABLE entries DROP COLUMN shift", _TODAYS)
        await until(lambda: history.state.backlog == 0, history)
        assert await numbers_of(history) == [1, 2, 3]


async def _one_part_and_a_newer_schema(place: Place) -> None:
    async with place.opened() as history:
        hear(history, 1)
        await until(lambda: history.state.stored == 1)
        await history._database.write(lambda connection: connection.execute(text(_NEWER)))


_NEWER = "UPDATE alembic_version SET version_num = '9999'"
_TODAYS = "UPDATE alembic_version SET version_num = '0002'"


async def test_older_tables_are_changed_after_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Place(tmp_path).opened() as history:
        hear(history, 1)
        await until(lambda: history.state.stored == 1)
    newer = tmp_path / "newer"
    (newer / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/step_0001.py", "versions/step_0002.py"):
        (newer / name).write_bytes((steps.FOLDER / name).read_bytes())
    (newer / "versions" / "step_0003.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = '0003', '0002'\n"
        "def upgrade():\n    op.add_column('entries', sa.Column('shift', sa.Text))\n"
    )
    monkeypatch.setattr(steps, "FOLDER", newer)
    async with Place(tmp_path).opened() as history:
        hear(history, 2)
        await until(lambda: history.state.stored == 1)
        assert [one.id for one in await everything(history)] == ["part-1", "part-2"]
        assert "history.db.before-" in str(history.warning)
    (backup,) = [tmp_path / name for name in os.listdir(tmp_path) if name.startswith("history.db.before-")]  # noqa: PTH208
    with sqlite3.connect(backup) as connection:
        assert connection.execute("SELECT id FROM entries").fetchall() == [("part-1",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]
    connection.close()


def test_what_a_kill_leaves_of_the_copy_before_an_upgrade_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        connection.execute("CREATE TABLE entries (id)")

    def killed(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dies, pytest.raises(KeyboardInterrupt):
        dies.setattr(Path, "replace", killed)
        dies.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        Database(tmp_path)._copy_to(tmp_path / "history.db.before-20261127T070000Z")
    assert len([*tmp_path.glob(".*")]) == 1
    with data_directory(tmp_path, "a server"):
        assert sorted(path.name for path in tmp_path.glob("*history*")) == ["history.db"]


async def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Place(tmp_path).opened() as history:
        hear(history, 1)
        await until(lambda: history.state.stored == 1)
    broken = tmp_path / "broken"
    (broken / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/step_0001.py", "versions/step_0002.py"):
        (broken / name).write_bytes((steps.FOLDER / name).read_bytes())
    (broken / "versions" / "step_0003.py").write_text(
        "from alembic import op\nrevision, down_revision = '0003', '0002'\n"
        "def upgrade():\n    op.drop_table('minutes')\n    op.drop_table('nothing of this name')\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(steps, "FOLDER", broken)
        history = Records(tmp_path)
        history.start()
        hear(history, 2)
        await until(lambda: history.state.state == "away", history)
        await history.close()
    async with Place(tmp_path).opened() as history:
        assert await numbers_of(history) == [1, 2]
        assert await history.minutes() == []


def test_the_steps_lead_to_todays_tables(place: Place) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from server.records.schema import metadata

    if place.address is not None:
        pytest.skip("there is no synchronous driver for it here; its types are SQLite's")
    engine = create_engine(f"sqlite:///{place.folder / 'history.db'}")
    with engine.begin() as connection:
        migrations.migrate(connection)
        options = {"compare_type": True, "compare_server_default": False}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    engine.dispose()


async def test_a_shutdown_waits_for_nobody(address: DatabaseAddress, postgresql: PostgreSQL, tmp_path: Path) -> None:
    place = Place(tmp_path, address)
    async with place.opened() as history:
        with postgresql.paused():
            hear(history, *range(30))
            await history.close()
            assert history.state.backlog >= 30
    async with place.opened() as history:
        assert await numbers_of(history) == [*range(30)]


@pytest.mark.parametrize("how", ["removed", "replaced", "journal removed", "journal and it removed"])
async def test_a_file_that_is_taken_away_while_it_is_written(tmp_path: Path, how: str) -> None:
    place, path = Place(tmp_path), tmp_path / "history.db"
    async with place.opened() as history:
        hear(history, *range(10))
        await until(lambda: history.state.stored == 10)
        copy = tmp_path / "copy"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        hear(history, *range(10, 20))
        await until(lambda: history.state.stored == 20)
        if how in ("removed", "journal and it removed"):
            path.unlink()
        if how == "replaced":
            copy.replace(path)
        if "journal" in how:
            (tmp_path / "history.db-wal").unlink()
        await until(lambda: history.warning is not None, history)
        assert "while the server ran" in str(history.warning)
        hear(history, *range(20, 30))
        await until(lambda: history.state.state == "ok" and history.state.stored >= 30, history)
        found = await numbers_of(history)
        assert {*range(20, 30)} <= {*found}
        if how == "replaced":
            assert found == [*range(10), *range(20, 30)]
    with contextlib.closing(sqlite3.connect(path)) as connection:  # and not in a file that has no name any more
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM entries").fetchall() == [(len(found),)]


async def test_damage_that_somebody_met_who_asked_is_told(tmp_path: Path) -> None:
    async with Place(tmp_path).opened() as history:
        hear(history, *range(2000))
        await until(lambda: history.state.stored == 2000)
    path = tmp_path / "history.db"
    async with Place(tmp_path).opened() as history:
        with path.open("r+b") as file:  # another program writes into it; its head and the tables' names are whole
            file.seek(8 * 4096)
            file.write(b"\xff" * (path.stat().st_size - 8 * 4096))
        with pytest.raises(RecordsAway):
            await everything(history)
        await until(lambda: "was damaged" in str(history.warning), history)
        hear(history, 2001)
        await until(lambda: history.state.stored == 1, history)
        assert await numbers_of(history) == [2001]
    assert any("history.db.damaged-" in name for name in os.listdir(tmp_path))  # noqa: PTH208
