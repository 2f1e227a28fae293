"""A plant, looked at without changing anything: for commands that say how it does and what it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from detector.counted import counted
from server.ground import DatabaseAddress
from server.plant.gateways import ListedGateway, listed
from server.plant.link import Link
from server.plant.object_store import ObjectStore, StoreAddress
from server.plant.plant import PlantError, joined_in

T = TypeVar("T")


@dataclass(frozen=True)
class ListedDocument:
    """A document of the plant: its version, and which gateway changed it last, and when (ISO 8601)."""

    name: str
    version: int
    gateway: str
    changed: str


def listed_in(address: DatabaseAddress, folder: Path) -> tuple[list[ListedDocument], list[ListedGateway]]:
    """The documents of the plant that a data directory belongs to, or would join, and its gateways; none where no
    plant was made yet.

    Raises:
        PlantAway: nobody answers.
        PlantError: the data directory belongs to another plant.
    """

    async def work(connection: Any) -> tuple[list[ListedDocument], list[ListedGateway]]:
        rows = await connection.fetch("SELECT name, version, gateway, changed FROM plant_documents ORDER BY name")
        documents = [
            ListedDocument(row["name"], row["version"], row["gateway"], row["changed"].isoformat(" ", "seconds"))
            for row in rows
        ]
        return documents, await listed(connection)

    return _of_plant(address, folder, work) or ([], [])


def document_in(address: DatabaseAddress, folder: Path, name: str) -> bytes | None:
    """One of them as it is stored; None where there is none.

    Raises:
        PlantAway, PlantError: as :func:`listed_in`.
    """

    async def work(connection: Any) -> bytes | None:
        data: bytes | None = await connection.fetchval("SELECT data FROM plant_documents WHERE name = $1", name)
        return data

    return _of_plant(address, folder, work)


def looked_at(address: DatabaseAddress, store: StoreAddress) -> str:
    """How the plant's database and store do, one sentence; changes nothing.

    Raises:
        PlantAway: one of them does not answer; one sentence says why.
    """

    async def work(connection: Any) -> int:
        is_made = await _is_made(connection)
        return int(await connection.fetchval("SELECT count(*) FROM plant_documents")) if is_made else 0

    documents = _asked(address, work)
    objects = ObjectStore(store).below("models")
    return f"{address} answers, with {counted(documents, 'document')}; {store} with {counted(len(objects), 'object')}"


def _of_plant(address: DatabaseAddress, folder: Path, work: Callable[[Any], Awaitable[T]]) -> T | None:
    """What a question comes to; None where nobody made a plant yet."""
    joined = joined_in(folder)

    async def asked(connection: Any) -> tuple[str | None, T | None]:
        if not await _is_made(connection):
            return None, None
        id = await connection.fetchval("SELECT id FROM plant")
        return id, await work(connection)

    id, found = _asked(address, asked)
    if joined is not None and id is not None and id != joined:
        raise PlantError(f"{folder} belongs to another plant than the one in {address}: see to DATABASE_URL")
    return found


async def _is_made(connection: Any) -> bool:
    is_made: bool = await connection.fetchval("SELECT to_regclass('plant_documents') IS NOT NULL")
    return is_made


def _asked(address: DatabaseAddress, work: Callable[[Any], Awaitable[T]]) -> T:
    link = Link(address)
    try:
        return link.ask(work)
    finally:
        link.close()
