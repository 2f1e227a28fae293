"""What befalls database and store under gateways that run, and gateways that are taken for another."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from fsspec.implementations.local import LocalFileSystem

from server.app import create_app
from server.ground import DatabaseAddress, NotKept
from server.plant import ObjectStore, Plant, PlantError, StoreAddress, listed_in, object_store
from server.plant import plant as plant_module
from server.settings import Settings
from tests.running import running
from tests.server.fakes import WAIT_S, http
from tests.server.plant.lossy import Lossy, lossy
from tests.server.plant.test_gateways import until as until_true
from tests.server.plant.test_plant import FORM, numbers, sql
from tests.server.records.postgres import PostgreSQL
from tests.server.test_calamities import mounted as disk

Join = Callable[..., Plant]


@pytest.fixture
def between(address: DatabaseAddress) -> Iterator[Lossy]:
    with lossy(address.port) as running:
        yield running


@pytest.fixture
def gateway(
    address: DatabaseAddress, between: Lossy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Join]:
    """Makes gateways of one plant, each with a data directory; all but ``two`` through what loses answers."""
    monkeypatch.setattr(plant_module, "LOOK_S", 0.02)
    monkeypatch.setattr(plant_module, "AWAY_S", 0.05)
    monkeypatch.setattr(plant_module, "BEAT_S", 0.02)
    made: list[Plant] = []

    def gateway(folder: str, name: str | None = None) -> Plant:
        (tmp_path / folder).mkdir(exist_ok=True)
        at = address if folder == "two" else dataclasses.replace(address, port=between.port)
        store = StoreAddress("file", str(tmp_path / "store"))
        made.append(plant := Plant(at, store, tmp_path / folder, gateway=name or folder))
        plant.open()
        return plant

    yield gateway
    for plant in made:
        plant.close()


async def until(condition: Callable[[], object], plant: Plant | None = None) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        said = None if plant is None else (plant.warning, plant.among.warning)
        raise AssertionError(f"it did not come: {said}") from error


async def opened(gateway: Plant, folder: Path, *first: int) -> Any:
    """Its document, while it looks for what others change; ``first``: what it is made to say."""
    document = await asyncio.to_thread(numbers, gateway, folder)
    gateway.start()
    if first:
        await asyncio.to_thread(document.change, lambda known: first)
    return document


# ---- answers that are lost, late, or none ---------------------------------------------------------------------------


@pytest.mark.parametrize("before", [(), (7,)], ids=["the first", "another"])
def test_a_change_whose_answer_is_lost_is_made_once(
    gateway: Join, between: Lossy, tmp_path: Path, before: tuple[int, ...]
) -> None:
    mine = numbers(gateway("one"), tmp_path)
    mine.change(lambda known: before)
    between.swallow = 1
    mine.change(lambda known: (*known, 1))
    assert between.swallowed == 1 and mine.contents == (*before, 1)
    theirs = numbers(gateway("two"), tmp_path)
    assert theirs.contents == (*before, 1)
    assert not mine.recover(), "it is what the gateway takes it for"


def test_a_change_that_nobody_answers_for_is_said_to_be_open_and_seen_later(
    gateway: Join, between: Lossy, tmp_path: Path
) -> None:
    mine = numbers(gateway("one"), tmp_path)
    mine.change(lambda known: (7,))
    between.swallow = 2
    with pytest.raises(NotKept, match="whether the change was made all the same is seen"):
        mine.change(lambda known: (*known, 1))
    assert mine.contents == (7,), "inspected with what is known"
    assert mine.recover() and mine.contents == (7, 1)
    assert numbers(gateway("two"), tmp_path).contents == (7, 1)


async def test_a_database_that_is_slow_is_given_up_and_nothing_is_left_over(
    gateway: Join, between: Lossy, address: DatabaseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plant_module, "LOOKED_S", 0.5)
    plant = gateway("one")
    document = await opened(plant, tmp_path, 1)
    threads = threading.active_count()
    between.delay_s = 5.0
    await until(lambda: plant.warning is not None)
    assert "does not answer in time" in str(plant.warning) and "still let in here" in str(plant.warning)
    with pytest.raises(NotKept, match="does not answer"):
        await asyncio.to_thread(document.change, lambda known: (2,))
    assert document.contents == (1,)
    between.delay_s = 0.0
    await until(lambda: plant.warning is None)
    await asyncio.to_thread(document.change, lambda known: (*known, 2))
    who = await connected(address)
    assert await who.fetchval(CONNECTIONS) <= 3  # of before, one may still be ending
    await who.close()
    await until(lambda: threading.active_count() <= threads + 4)  # those of what stands between


CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE application_name = 'defectvision plant' AND datname = current_database()"
)


async def connected(address: DatabaseAddress) -> Any:
    """A connection of somebody else's."""
    import asyncpg

    return await asyncpg.connect(
        host=address.host, port=address.port, database=address.database, user=address.user, password=address.password
    )


async def test_a_table_that_somebody_locks_and_a_database_that_is_read_only(
    gateway: Join, address: DatabaseAddress, tmp_path: Path
) -> None:
    plant = gateway("two")
    document = await opened(plant, tmp_path, 1)
    who = await connected(address)
    async with who.transaction():
        await who.execute("LOCK TABLE plant_documents IN ACCESS EXCLUSIVE MODE")
        await until(lambda: plant.warning is not None)
        assert "lock" in str(plant.warning)
        with pytest.raises(NotKept, match="lock"):
            await asyncio.to_thread(document.change, lambda known: (2,))
    await until(lambda: plant.warning is None)
    await who.execute(f"ALTER DATABASE {address.database} SET default_transaction_read_only = on")
    ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'defectvision plant'"
    await who.execute(f"{ends} AND datname = current_database()")
    await until(lambda: "nothing can be changed" in str(plant.among.warning))
    with pytest.raises(NotKept, match="read-only transaction"):
        await asyncio.to_thread(document.change, lambda known: (2,))
    await who.execute(f"ALTER DATABASE {address.database} RESET default_transaction_read_only")
    await who.execute(f"{ends} AND datname = current_database()")
    await until(lambda: plant.among.warning is None and plant.warning is None, plant)
    await asyncio.to_thread(document.change, lambda known: (*known, 2))
    assert document.contents == (1, 2)
    await who.close()


async def test_a_gateway_that_starts_while_the_database_is_read_only_says_so(
    gateway: Join, address: DatabaseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables cannot be looked after then, which is not tried with every look: each costs a connection."""
    plant = gateway("two")
    await asyncio.to_thread(numbers, plant, tmp_path)
    plant.close()
    who = await connected(address)
    await who.execute(f"ALTER DATABASE {address.database} SET default_transaction_read_only = on")
    tried, make = list[int](), Plant._make_missing_tables

    async def counted(plant: Plant, connection: Any) -> bool:
        tried.append(len(looks))
        return await make(plant, connection)

    looks, look = list[int](), Plant._looked

    def looked(plant: Plant) -> dict[str, int]:
        looks.append(1)
        return look(plant)

    monkeypatch.setattr(Plant, "_make_missing_tables", counted)
    monkeypatch.setattr(Plant, "_looked", looked)
    monkeypatch.setattr(plant_module, "BEAT_S", 0.5)
    again = gateway("two")
    await opened(again, tmp_path)
    await until(lambda: "nothing can be changed" in str(again.among.warning) and len(looks) > 10, again)
    assert len(tried) < len(looks) / 2
    await who.execute(f"ALTER DATABASE {address.database} RESET default_transaction_read_only")
    ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'defectvision plant'"
    await who.execute(f"{ends} AND datname = current_database()")
    await until(lambda: again.among.warning is None and again.warning is None, again)
    await who.execute("DROP TABLE plant_gateways")
    await until(lambda: again.among.warning is not None, again)
    await until(lambda: again.among.warning is None, again)
    await who.close()


async def test_a_database_that_has_no_connection_left(
    postgresql: PostgreSQL, address: DatabaseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plant_module, "LOOK_S", 0.02)
    monkeypatch.setattr(plant_module, "AWAY_S", 0.05)
    role = f"few_{address.database}"
    await sql(
        address,
        f"CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT 2",
        f"GRANT CREATE ON SCHEMA public TO {role}",
    )
    few = dataclasses.replace(address, user=role, password="few")
    plant = await asyncio.to_thread(Plant.of, few, StoreAddress("file", str(tmp_path / "store")), tmp_path, "one")
    assert plant is not None
    document = await asyncio.to_thread(plant.keep, tmp_path / "numbers.json", FORM)
    await asyncio.to_thread(plant.join)
    other = await connected(few)
    plant.start()
    try:
        await until(lambda: plant.warning is not None)
        assert "too many connections" in str(plant.warning)
        with pytest.raises(NotKept, match="too many connections"):
            await asyncio.to_thread(document.change, lambda known: (1,))
        await other.close()
        await until(lambda: plant.warning is None)
        await asyncio.to_thread(document.change, lambda known: (1,))
    finally:
        plant.close()


async def test_who_looks_for_changes_goes_on_whatever_the_database_library_raises(
    gateway: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where a connection ends between two of its messages."""
    import asyncpg

    one, two = gateway("one"), gateway("two")
    document = await opened(one, tmp_path)
    theirs = await asyncio.to_thread(numbers, two, tmp_path)
    for wrong in (asyncpg.InternalClientError("another operation (2) is in progress"), RuntimeError("whatever")):
        with monkeypatch.context() as patched:
            patched.setattr(Plant, "_versions", AsyncMock(side_effect=wrong))
            await until(lambda: one.warning is not None, one)
            assert str(wrong) in str(one.warning)
        await until(lambda: one.warning is None, one)
        await asyncio.to_thread(theirs.change, lambda known: (*known, 1))
        await until(document.refresh, one)


async def test_a_login_that_is_removed_elsewhere_goes_on_at_a_gateway_that_is_cut_off_and_ends_with_that(
    address: DatabaseAddress, between: Lossy, mounted: StoreAddress, tmp_path: Path
) -> None:
    @contextlib.asynccontextmanager
    async def whole(name: str, at: DatabaseAddress) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
        settings = Settings(data_dir=tmp_path / name, database_url=at, plant_store=mounted, gateway_name=name)
        app = create_app(settings, code="4711-secret")
        async with running(app, settings) as server, http(server) as client:
            yield server, client

    key = {"Authorization": "Bearer 4711-secret"}
    far = dataclasses.replace(address, port=between.port)
    async with whole("one", address) as (_, at_one), whole("two", far) as (_, at_two):
        token = (await at_one.post("/api/tokens", json={"name": "press", "role": "viewer"}, headers=key)).json()
        mine = {"Authorization": f"Bearer {token['secret']}"}

        async def is_let_in() -> bool:
            return (await at_two.get("/api/streams", headers=mine)).status_code == 200

        async def is_out() -> bool:
            return not await is_let_in()

        async def is_cut_off() -> bool:
            return "is still let in here" in (await at_two.get("/health", headers=key)).text

        await until_true(is_let_in)
        with between.cut():
            gone = await at_one.delete(f"/api/tokens/{token['token']['id']}", headers=key)
            assert gone.status_code < 300, gone.text
            await until_true(is_cut_off)
            assert await is_let_in()
        await until_true(is_out)


# ---- documents and gateways that are not what they seem -------------------------------------------------------------


async def test_a_gateway_that_does_not_know_a_document_never_puts_its_own_in_the_place_of_a_lost_one(
    gateway: Join, address: DatabaseAddress, tmp_path: Path
) -> None:
    known = await asyncio.to_thread(numbers, gateway("one"), tmp_path)
    await asyncio.to_thread(known.change, lambda known: (1,))
    await sql(address, "DELETE FROM plant_documents")
    new = await asyncio.to_thread(numbers, gateway("two"), tmp_path)
    assert new.is_unread, "it makes no first login"
    with pytest.raises(NotKept, match="gone from its database"):
        await asyncio.to_thread(new.change, lambda known: (9,))
    again = await asyncio.to_thread(numbers, gateway("one"), tmp_path)  # its copy
    assert again.contents == (1,) and "change something at this gateway" in str(again.warning)
    await asyncio.to_thread(again.change, lambda known: (*known, 2))
    assert again.warning is None
    for one in (known, new):
        assert await asyncio.to_thread(one.recover) and one.contents == (1, 2) and one.warning is None


async def test_a_plant_that_becomes_of_a_newer_version_is_inspected_on_with(
    gateway: Join, address: DatabaseAddress, tmp_path: Path
) -> None:
    plant = gateway("one")
    document = await opened(plant, tmp_path, 1)
    await sql(address, "UPDATE plant SET format = 2")
    await until(lambda: plant.warning is not None)
    assert "upgrade this gateway" in str(plant.warning)
    with pytest.raises(NotKept, match="upgrade this gateway"):
        await asyncio.to_thread(document.change, lambda known: (2,))
    again = await asyncio.to_thread(numbers, gateway("one"), tmp_path)  # after a restart, too
    assert again.contents == (1,)
    with pytest.raises(NotKept, match="upgrade this gateway"):
        await asyncio.to_thread(again.change, lambda known: (2,))
    with pytest.raises(PlantError, match="upgrade this gateway"):
        await asyncio.to_thread(gateway, "two")
    await sql(address, "UPDATE plant SET format = 1")
    await until(lambda: plant.warning is None)
    await asyncio.to_thread(document.change, lambda known: (*known, 2))


async def test_after_a_dump_of_an_earlier_version_the_tables_it_lacks_are_made(
    gateway: Join, address: DatabaseAddress, tmp_path: Path
) -> None:
    plant = gateway("one")
    document = await opened(plant, tmp_path, 1)
    await sql(address, "DROP TABLE plant_names, plant_gateways")
    who = await connected(address)
    missing = "SELECT to_regclass('plant_names') IS NULL OR to_regclass('plant_gateways') IS NULL"
    async with asyncio.timeout(WAIT_S):
        while await who.fetchval(missing):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await who.close()
    await until(lambda: plant.warning is None, plant)
    await asyncio.to_thread(document.change, lambda known: (*known, 2))
    await sql(address, "DROP TABLE plant, plant_names, plant_gateways, plant_documents")
    await until(lambda: plant.warning is not None, plant)
    assert document.contents == (1, 2) and not document.refresh()
    who = await connected(address)
    assert await who.fetchval("SELECT to_regclass('plant_names')") is None, "it is no plant's database"
    await who.close()


async def test_gateways_that_are_taken_for_another_say_so(
    gateway: Join, address: DatabaseAddress, tmp_path: Path
) -> None:
    one = gateway("one", "hall")
    await opened(one, tmp_path)
    one.among.streams = lambda: ["press", "lathe"]
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copy = gateway("copy")
    copy.start()
    two = gateway("two", "hall")
    two.start(lambda: ["saw", "press"])
    for plant, other in ((one, two), (two, one)):
        await until(lambda plant=plant: "is called hall, too" in str(plant.among.warning))  # type: ignore[misc]
        await until(lambda plant=plant: "press: a stream of this name" in str(plant.among.warning))  # type: ignore[misc]
        assert "saw" not in str(plant.among.warning) and other.warning is None
    for plant in (one, copy):
        await until(lambda plant=plant: "a copy of the other" in str(plant.among.warning))  # type: ignore[misc]
    copy.close()
    two.among.streams = lambda: ["saw"]
    await until(lambda: "copy" not in str(one.among.warning) and "press" not in str(one.among.warning))
    _, gateways = await asyncio.to_thread(listed_in, address, tmp_path / "one")
    assert {(found.name, found.streams, found.is_there) for found in gateways} == {
        ("hall", ("lathe", "press"), True),
        ("hall", ("saw",), True),
    }


# ---- the store ------------------------------------------------------------------------------------------------------


def test_a_store_that_is_full_or_read_only_is_said_and_nothing_half_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    store = ObjectStore(StoreAddress("file", str(tmp_path / "disk")))
    with disk(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        with pytest.raises(NotKept, match="No space left"):
            store.put("models/a/model.zip", tmp_path / "file")
        assert [path for path in (tmp_path / "disk").rglob("*") if path.is_file()] == []
        subprocess.run(["mount", "-o", "remount,size=1m", str(tmp_path / "disk")], check=True)
        store.put("models/a/model.zip", tmp_path / "file")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        for work in (
            lambda: store.put("models/b/model.zip", tmp_path / "file"),
            lambda: store.remove("models/a/model.zip"),
        ):
            with pytest.raises(NotKept, match="Read-only"):
                work()
        assert store.read("models/a/model.zip", most=100_000) == bytes(100_000)


def test_a_mounted_folder_that_hangs_is_given_up(
    mounted: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: the call into the folder waits until the test lets it go on, as one into a dead server's does."""
    monkeypatch.setattr(object_store, "ANSWER_S", 0.1)
    goes_on, info = threading.Event(), LocalFileSystem.info

    def hangs(files: LocalFileSystem, path: Any, **more: Any) -> Any:
        goes_on.wait(WAIT_S)
        return info(files, path, **more)

    store = ObjectStore(mounted)
    store.write("models/a", b"patches")
    threads = threading.active_count()
    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "info", hangs)
        with pytest.raises(NotKept, match="does not answer in time"):
            store.read("models/a", most=7)
        for _ in range(20):  # at once, each, and without a thread of its own
            with pytest.raises(NotKept, match="has not answered yet"):
                store.read("models/a", most=7)
        assert threading.active_count() <= threads + 1
        goes_on.set()
        for thread in threading.enumerate():
            if thread.name == "plant store":
                thread.join(WAIT_S)
    assert store.read("models/a", most=7) == b"patches" and threading.active_count() <= threads


NO_BUCKET = b"<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>"


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"oops"), (403, b"no"), (200, b"<html>a portal</html>"), (404, NO_BUCKET)]
)
def test_an_s3_that_answers_something_else_is_said(
    bucket: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        store = ObjectStore(bucket)
        if status != 404:  # where nothing is, nothing is found
            with pytest.raises(NotKept, match="which the plant's gateways share, cannot be used"):
                store.below("models")
            with pytest.raises(NotKept, match="which the plant's gateways share, cannot be used"):
                store.modified("models/a")
        store.belong_to("a" * 32, is_new=False)
        for work in (store.check, lambda: store.remove_unfinished("models", 1e10)):
            with pytest.raises(NotKept, match=r"the plant's gateways share|another plant"):
                work()
        (tmp_path / "file").write_bytes(b"patches")
        with pytest.raises(NotKept, match=r"the plant's gateways share|another plant"):
            store.put("models/a", tmp_path / "file")
    finally:
        server.shutdown()
        server.server_close()
