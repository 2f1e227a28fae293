"""Documents that several gateways share: who comes second, who is away, who does not belong."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.ground import DatabaseAddress, Form, NewerVersion, NotKept
from server.plant import Plant, PlantError, StoreAddress
from server.plant import plant as plant_module
from tests.server.fakes import WAIT_S, until
from tests.server.records.postgres import PostgreSQL


def decode(data: bytes) -> tuple[tuple[int, ...], bool]:
    version, numbers = msgspec.json.decode(data, type=tuple[int, tuple[int, ...]])
    if version > 1:
        raise NewerVersion("its version is newer")
    return numbers, False


FORM: Form[tuple[int, ...]] = Form(
    largest=10_000,
    encode=lambda numbers: msgspec.json.encode((1, numbers)),
    decode=decode,
    empty=(),
    without="nothing is known",
    then="begin anew",
)

Join = Callable[[str], Plant]


@pytest.fixture
def gateway(address: DatabaseAddress, tmp_path: Path) -> Iterator[Join]:
    """Makes gateways of one plant, each with a data directory by its name."""
    made: list[Plant] = []

    def gateway(name: str) -> Plant:
        (tmp_path / name).mkdir(exist_ok=True)
        plant = Plant.of(address, StoreAddress("file", str(tmp_path / "store")), tmp_path / name, name)
        assert plant is not None
        made.append(plant)
        return plant

    yield gateway
    for plant in made:
        plant.close()


def numbers(plant: Plant, folder: Path, *, joins: bool = True) -> Any:
    document = plant.keep(folder / plant._gateway / "numbers.json", FORM)
    if joins:
        plant.join()
    return document


def test_what_one_changes_the_other_sees(gateway: Join, tmp_path: Path) -> None:
    one, two = (numbers(gateway(name), tmp_path) for name in ("one", "two"))
    one.change(lambda known: (*known, 1))
    assert two.contents == () and two.recover() and two.contents == (1,)
    assert not two.recover()
    two.change(lambda known: (*known, 2))
    one.change(lambda known: (*known, 3))  # of what it is now, not of what was known here
    assert one.contents == (1, 2, 3) and one.is_whole
    two.recover()
    copies = [(tmp_path / name / "numbers.json").read_bytes() for name in ("one", "two")]
    assert copies == [FORM.encode((1, 2, 3))] * 2
    assert numbers(gateway("three"), tmp_path).contents == (1, 2, 3)


def test_none_of_many_changes_at_once_is_lost(gateway: Join, tmp_path: Path) -> None:
    documents = [numbers(gateway(f"gateway{number}"), tmp_path) for number in range(4)]
    refused: list[NotKept] = []

    def add(document: Any, number: int) -> None:
        for one in range(10):
            while True:
                try:
                    document.change(lambda known, added=10 * number + one: (*known, added))
                    break
                except NotKept as error:  # all of its tries were too late
                    refused.append(error)

    threads = [threading.Thread(target=add, args=(one, number)) for number, one in enumerate(documents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    documents[0].recover()
    assert sorted(documents[0].contents) == [*range(40)]
    assert all("try again" in str(error) for error in refused)


def test_a_change_that_is_refused_changes_nothing(gateway: Join, tmp_path: Path) -> None:
    document = numbers(gateway("one"), tmp_path)
    document.change(lambda known: (1,))

    def refuse(known: tuple[int, ...]) -> tuple[int, ...]:
        raise ValueError("no")

    with pytest.raises(ValueError):
        document.change(refuse)
    with pytest.raises(OSError, match="would be over"):
        document.change(lambda known: tuple(range(5000)))
    assert document.contents == (1,) and not document.recover()


async def test_a_database_that_is_away_leaves_what_is_known(
    postgresql: PostgreSQL, gateway: Join, tmp_path: Path
) -> None:
    plant = gateway("one")
    document = numbers(plant, tmp_path)
    await asyncio.to_thread(document.change, lambda known: (1,))
    plant.start()
    postgresql.kill()
    try:
        with pytest.raises(NotKept, match="cannot be used"):
            await asyncio.to_thread(document.change, lambda known: (2,))
        async with asyncio.timeout(WAIT_S):
            while plant.warning is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert "goes on with what it knows" in plant.warning and document.contents == (1,)
        again = numbers(gateway("one"), tmp_path)  # after a restart, too
        assert again.contents == (1,) and again.is_unread and not again.is_whole
        with pytest.raises(PlantError, match="belongs to no plant yet"):
            gateway("new")
    finally:
        postgresql.start()
    async with asyncio.timeout(WAIT_S):
        await plant.news(WAIT_S)
    assert plant.warning is None
    await asyncio.to_thread(document.change, lambda known: (*known, 2))
    assert again.recover() and again.contents == (1, 2)


async def test_a_copy_that_cannot_be_written_is_said_and_written_once_it_can_be(
    gateway: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = await asyncio.to_thread(gateway, "one")
    document = await asyncio.to_thread(numbers, plant, tmp_path)
    copy = tmp_path / "one" / "numbers.json"

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(plant_module, "write_atomically", full)
        await asyncio.to_thread(document.change, lambda known: (1,))
        assert document.contents == (1,)
        assert "no copy of the plant's numbers.json can be kept here (No space left" in str(document.warning)
    plant.start()
    await until(lambda: document.warning is None)
    assert copy.read_bytes() == FORM.encode((1,))


async def test_who_waits_is_told_of_what_others_change(gateway: Join, tmp_path: Path) -> None:
    one, two = gateway("one"), gateway("two")
    mine, theirs = numbers(one, tmp_path), numbers(two, tmp_path)
    two.start()
    await asyncio.to_thread(mine.change, lambda known: (1,))
    async with asyncio.timeout(WAIT_S):
        while not await asyncio.to_thread(theirs.refresh):
            await two.news(WAIT_S)
    assert theirs.contents == (1,)


def test_what_was_here_before_is_never_written_over(gateway: Join, tmp_path: Path) -> None:
    numbers(gateway("one"), tmp_path).change(lambda known: (1,))
    (tmp_path / "two").mkdir()
    before = FORM.encode((7, 8))
    (tmp_path / "two" / "numbers.json").write_bytes(before)
    with pytest.raises(PlantError, match="plant make"):
        numbers(gateway("two"), tmp_path)
    assert (tmp_path / "two" / "numbers.json").read_bytes() == before
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "numbers.json").write_bytes(FORM.encode((1,)))  # the same: nothing is lost
    assert numbers(gateway("three"), tmp_path).contents == (1,)


def test_a_gateway_of_another_plant_is_refused(
    postgresql: PostgreSQL, address: DatabaseAddress, gateway: Join, tmp_path: Path
) -> None:
    numbers(gateway("one"), tmp_path)
    with pytest.raises(PlantError, match="another plant"):
        Plant.of(postgresql.database(), StoreAddress("file", str(tmp_path / "store")), tmp_path / "one", "one")
    (tmp_path / "one" / "plant.json").write_text("{")
    with pytest.raises(PlantError, match=r"plant\.json cannot be read"):
        gateway("one")
    wrong = dataclasses.replace(address, password="wrong")
    with pytest.raises(PlantError, match="password authentication failed"):
        Plant.of(wrong, StoreAddress("file", str(tmp_path / "store")), tmp_path / "two", "two")


def test_a_newer_or_damaged_document_leaves_what_is_known(gateway: Join, tmp_path: Path) -> None:
    one, two = gateway("one"), gateway("two")
    mine, theirs = numbers(one, tmp_path), numbers(two, tmp_path)
    mine.change(lambda known: (1,))
    theirs.recover()
    for data, words in ((b"[2,[5]]", "newer version"), (b"[1,[5", "damaged")):
        mine._version = one.store_if("numbers.json", mine._version, data)
        assert not theirs.refresh() and theirs.contents == (1,)
        with pytest.raises(NotKept, match=words):
            theirs.change(lambda known: (2,))
        assert words in str(theirs.warning) and not theirs.is_whole
    assert one.store_if("numbers.json", mine._version, FORM.encode((3,)))
    assert theirs.recover() and theirs.contents == (3,) and theirs.warning is None


async def test_a_database_that_answers_nothing_keeps_nobody_waiting_for_long(
    postgresql: PostgreSQL, gateway: Join, tmp_path: Path
) -> None:
    plant = gateway("one")
    document = numbers(plant, tmp_path)
    plant.start()
    with postgresql.paused():
        async with asyncio.timeout(WAIT_S):
            while plant.warning is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert "does not answer in time" in plant.warning
        for _ in range(20):  # at once, each: otherwise this takes minutes
            with pytest.raises(NotKept, match="does not answer"):
                await asyncio.to_thread(document.change, lambda known: (2,))
        assert not document.refresh() and document.contents == ()
    async with asyncio.timeout(WAIT_S):
        while plant.warning is not None:
            await plant.news(WAIT_S)
    await asyncio.to_thread(document.change, lambda known: (2,))


async def sql(address: DatabaseAddress, *statements: str) -> None:
    """As the operator, or whoever else may."""
    import asyncpg

    connection = await asyncpg.connect(
        host=address.host, port=address.port, database=address.database, user=address.user, password=address.password
    )
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_after_an_older_dump_no_gateway_takes_another_contents_for_what_it_knows(
    address: DatabaseAddress, gateway: Join, tmp_path: Path
) -> None:
    one, two = [await asyncio.to_thread(numbers, gateway(name), tmp_path) for name in ("one", "two")]
    await asyncio.to_thread(one.change, lambda known: (1,))
    await sql(address, "CREATE TABLE dump AS SELECT * FROM plant_documents")
    await asyncio.to_thread(one.change, lambda known: (1, 2))
    await asyncio.to_thread(two.recover)  # then this one is cut off, while
    await sql(address, "DELETE FROM plant_documents", "INSERT INTO plant_documents SELECT * FROM dump")
    await asyncio.to_thread(one.change, lambda known: (*known, 3))  # as many changes are made as were lost
    assert await asyncio.to_thread(two.recover) and two.contents == one.contents == (1, 3)


async def test_a_database_that_becomes_another_plants_changes_nothing_here(
    address: DatabaseAddress, gateway: Join, tmp_path: Path
) -> None:
    plant = gateway("one")
    document = await asyncio.to_thread(numbers, plant, tmp_path)
    await asyncio.to_thread(document.change, lambda known: (1,))
    theirs = FORM.encode((7,)).hex()
    await sql(
        address,
        "UPDATE plant SET id = 'another'",
        f"UPDATE plant_documents SET version = 1, data = '\\x{theirs}'",
    )
    with pytest.raises(NotKept, match="another plant"):
        await asyncio.to_thread(document.change, lambda known: (*known, 2))
    assert document.contents == (1,)
    plant.start()
    async with asyncio.timeout(WAIT_S):
        while plant.warning is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "holds another plant" in plant.warning
    assert not document.refresh() and document.contents == (1,)


async def test_a_document_that_is_gone_from_the_database_leaves_what_is_known(
    address: DatabaseAddress, gateway: Join, tmp_path: Path
) -> None:
    document = await asyncio.to_thread(numbers, gateway("one"), tmp_path)
    await asyncio.to_thread(document.change, lambda known: (1,))
    await sql(address, "CREATE TABLE dump AS SELECT * FROM plant_documents", "DELETE FROM plant_documents")
    with pytest.raises(NotKept, match="gone from its database"):
        await asyncio.to_thread(document.change, lambda known: (2,))
    assert document.contents == (1,) and not document.is_whole and "put back" in str(document.warning)
    await sql(address, "INSERT INTO plant_documents SELECT * FROM dump")
    assert not await asyncio.to_thread(document.recover) and document.warning is None
    await sql(address, "DELETE FROM plant_documents")
    again = await asyncio.to_thread(numbers, gateway("one"), tmp_path)  # after a restart its copy is put back
    await asyncio.to_thread(again.change, lambda known: (*known, 2))
    assert await asyncio.to_thread(document.recover) and document.contents == (1, 2)


def test_what_a_change_took_in_of_others_is_told_as_theirs(gateway: Join, tmp_path: Path) -> None:
    one, two = (numbers(gateway(name), tmp_path) for name in ("one", "two"))
    one.change(lambda known: (1,))
    two.change(lambda known: (*known, 2))  # nobody looked since
    assert two.refresh() and two.contents == (1, 2)
    assert not two.refresh() and not two.recover()


@pytest.mark.parametrize("first", ["models", ""])
def test_a_store_of_another_plant_is_refused(postgresql: PostgreSQL, gateway: Join, tmp_path: Path, first: str) -> None:
    if first:
        (tmp_path / "store" / first).mkdir(parents=True)  # of a version that marked none
    numbers(gateway("one"), tmp_path)
    with pytest.raises(PlantError, match="files of another plant"):
        Plant.of(postgresql.database(), StoreAddress("file", str(tmp_path / "store")), tmp_path / "two", "two")


def test_below_a_folder_that_is_not_mounted_nothing_is_stored(gateway: Join, tmp_path: Path) -> None:
    plant = gateway("one")
    numbers(plant, tmp_path)
    (tmp_path / "file").write_bytes(b"1")
    plant.store.put("models/a", tmp_path / "file")
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").mkdir()
    for work in (lambda: plant.store.put("models/b", tmp_path / "file"), lambda: plant.store.remove("models/a")):
        with pytest.raises(NotKept, match="is it mounted here"):
            work()
    with pytest.raises(PlantError, match="is it mounted here"):
        gateway("one")
    (tmp_path / "store").rmdir()
    (tmp_path / "away").rename(tmp_path / "store")
    plant.store.put("models/b", tmp_path / "file")
