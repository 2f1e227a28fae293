"""Histories for tests: where they are kept, and what they hear."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from server.ground import DatabaseAddress
from server.records import Entry, Records, Wanted
from server.streams import Told
from server.words import PartResult
from tests.server.fakes import RESULT, WAIT_S

BEGINNING = datetime(2025, 11, 26, 6, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """A data directory, and a PostgreSQL where there is one."""

    folder: Path
    address: DatabaseAddress | None = None

    @contextlib.asynccontextmanager
    async def opened(self, **options: Any) -> AsyncIterator[Records]:
        """A history that is started, open and up to date."""
        history = Records(self.folder, self.address, **options)
        history.start()
        try:
            await until(lambda: history.state.state == "ok" and not history.state.backlog, history)
            yield history
        finally:
            await history.close()


def part(number: int, *, after_s: float | None = None, **fields: Any) -> PartResult:
    """A part; a tenth of them are rejected, one a second."""
    at = BEGINNING + timedelta(seconds=number if after_s is None else after_s)
    rejected = number % 10 == 0
    made: dict[str, Any] = {
        "stream": "press",
        "id": f"part-{number}",
        "number": number,
        "part": f"serial {number % 7}",
        "source": "trigger",
        "trigger": number,
        "trigger_id": None,
        "triggered_by": "rest",
        "verdict": "ANOMALY" if rejected else "NORMAL",
        "why": None,
        "score": 0.8 if rejected else 0.2 + number % 10 / 100,
        "raw_score": 1.5,
        "threshold": 1.0,
        "threshold_source": "model",
        "frames": 3,
        "anomalous": int(rejected),
        "began_at": (at - timedelta(milliseconds=80)).isoformat(timespec="milliseconds"),
        "at": at.isoformat(timespec="milliseconds"),
        "cycle_ms": 80.0 + number % 50,
        "inspection_ms": 12.0,
        "overruns": 0,
        "recipe": "flange",
        "recipe_version": 1,
        "model": "a" * 64,
        "simulated": False,
        "picture": None,
    }
    return PartResult(**made | fields)


def frame(seq: int, verdict: str = "NORMAL", **fields: Any) -> Told:
    """A frame of a stream that runs freely, ten a second."""
    at = BEGINNING + timedelta(seconds=seq / 10)
    made = {
        "stream": "free",
        "seq": seq,
        "verdict": verdict,
        "is_anomaly": verdict == "ANOMALY",
        "at": at.isoformat(timespec="milliseconds"),
        "received": seq + 1,
        "inspected": seq + 1,
    }
    return Told(msgspec.structs.replace(RESULT, **made | fields))


def hear(history: Records, *numbers: int) -> None:
    for number in numbers:
        history.hear(Told(part(number)))


async def until(condition: Callable[[], bool], history: Records | None = None) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 - of what has no event
                await asyncio.sleep(0.005)
    except TimeoutError as error:
        raise AssertionError(f"it did not come: {history.state if history else ''}") from error


async def everything(history: Records, wanted: Wanted = Wanted()) -> list[Entry]:  # noqa: B008
    """All entries, oldest first."""
    found: list[Entry] = []
    async for piece in history.export(wanted, 100_000):
        found += piece
    return found[::-1]


async def numbers_of(history: Records) -> list[int]:
    """The numbers of all parts in the order of insertion."""
    return [entry.number for entry in await everything(history, Wanted(kind="part"))]
