"""The history at a million entries: how long lists and numbers take, how fast it is written, and whom that delays.

    python -m benchmarks.history [--rows 1000000] [--only sqlite|postgresql]

On a SQLite file, and on a PostgreSQL that is started for it (Debian's, default configuration). The rows are put there
past the server; everything else goes through ``server.records`` as the server does. What writing costs a verdict is
measured with streams, pool and hub of the server and a detector that takes 10 ms: seconds with the history's ear and
parts to write, and seconds without, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import numpy as np

from server.ground import DatabaseAddress
from server.inspection import Calibrations, Inspection
from server.records import Entry, Records, Span, Wanted
from server.records.database import Database
from server.records.schema import counts, entries
from server.records.writing import counted
from server.streams import Hub, InferencePool, Streams, Told
from server.words import Result
from tests.server.fakes import FakeModel
from tests.server.records.histories import part
from tests.server.records.postgres import running_postgresql

DAYS = 100
PIECE = 20_000
ROUNDS = 15
STREAMS = ("press", "lid", "label")
HOUR, DAY = 3_600_000, 86_400_000
COLUMNS = [column.name for column in entries.c]


def made(rows: int, beginning: int) -> Iterator[list[Entry]]:
    """So many parts over the days: 1.5 % rejects, of a fifth of them somebody said what they were."""
    chance = random.Random(0)
    step = DAYS * DAY / rows
    for first in range(0, rows, PIECE):
        piece = []
        for number in range(first, min(first + PIECE, rows)):
            rejected = chance.random() < 0.015
            at = round(beginning + number * step)
            said: Any = chance.choice(("confirmed", "confirmed", "false_reject")) if rejected else None
            if chance.random() > 0.2:
                said = None
            piece.append(
                Entry(
                    seq=number + 1,
                    id=f"{chance.getrandbits(96):024x}",
                    kind="part",
                    stream=STREAMS[number % 3],
                    at=at,
                    began_at=at - 90,
                    number=number,
                    part=f"SN{number:09}",
                    source="trigger",
                    trigger=number,
                    triggered_by="modbus",
                    verdict="ANOMALY" if rejected else "NORMAL",
                    score=0.5 + chance.random() / 2 if rejected else min(chance.gauss(0.25, 0.06), 0.5),
                    raw_score=chance.random() * 4,
                    threshold=2.5,
                    threshold_source="calibration",
                    frames=3,
                    anomalous=3 * rejected,
                    cycle_ms=chance.gauss(90, 10),
                    inspection_ms=chance.gauss(20, 3),
                    recipe=f"recipe-{number % 3}",
                    recipe_version=1 + number // 200_000,
                    model="a" * 64,
                    disposition=said,
                    disposed_at=at if said else None,
                )
            )
        yield piece


@dataclass(frozen=True)
class Prepared:
    """Rows of both tables, for both databases."""

    entries: list[list[tuple[Any, ...]]]
    names: list[str]
    counts: list[tuple[Any, ...]]

    @classmethod
    def make(cls, rows: int, beginning: int) -> Prepared:
        pieces: list[list[tuple[Any, ...]]] = []

        def stored() -> Iterator[tuple[int, Entry]]:
            for piece in made(rows, beginning):
                pieces.append([tuple(getattr(entry, name) for name in COLUMNS) for entry in piece])
                for entry in piece:
                    yield entry.seq, entry

        names = [column.name for column in counts.c]
        found = counted(stored()).values()
        return cls(pieces, names, [tuple(row[name] for name in names) for row in found])


def fill_sqlite(path: Path, prepared: Prepared) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        places = ", ".join("?" * len(COLUMNS))
        for piece in prepared.entries:
            connection.executemany(f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES ({places})", piece)
            connection.commit()
        places = ", ".join("?" * len(prepared.names))
        connection.executemany(f"INSERT INTO counts ({', '.join(prepared.names)}) VALUES ({places})", prepared.counts)
        connection.commit()


async def fill_postgresql(address: DatabaseAddress, prepared: Prepared) -> None:
    connection = await asyncpg.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.database,
    )
    for piece in prepared.entries:
        await connection.copy_records_to_table("entries", columns=COLUMNS, records=piece)
    await connection.copy_records_to_table("counts", columns=prepared.names, records=prepared.counts)
    await connection.execute("SELECT setval(pg_get_serial_sequence('entries', 'seq'), (SELECT max(seq) FROM entries))")
    await connection.execute("VACUUM ANALYZE")  # which PostgreSQL does by itself some time after
    await connection.close()


Question = Callable[[Records], Awaitable[Any]]


def questions(rows: int, beginning: int) -> dict[str, Question]:
    """Which a page asks."""
    middle, end = beginning + DAYS // 2 * DAY, beginning + DAYS * DAY
    shifts = [Span(beginning + shift * 8 * HOUR, beginning + (shift + 1) * 8 * HOUR) for shift in range(90)]
    hours = [Span(middle + hour * HOUR, middle + (hour + 1) * HOUR) for hour in range(24)]
    everything = [Span(beginning, end + DAY)]
    return {
        "list: newest 50": lambda h: h.find(Wanted()),
        "list: 500 in the middle": lambda h: h.find(Wanted(), before=rows // 2, limit=500),
        "list: rejects of a stream, newest": lambda h: h.find(Wanted(stream="lid", verdict="ANOMALY")),
        "list: rejects of a week long ago": lambda h: h.find(
            Wanted(since=beginning + 7 * DAY, until=beginning + 14 * DAY, verdict="ANOMALY")
        ),
        "list: a stream's good parts of an hour": lambda h: h.find(
            Wanted(since=middle, until=middle + HOUR, stream="press", verdict="NORMAL")
        ),
        "list: a score that few have, of all time": lambda h: h.find(Wanted(least_score=0.4995, most_score=0.5)),
        "list: what fits nothing, of all time": lambda h: h.find(Wanted(verdict="NORMAL", least_score=0.9)),
        "list: rejects nobody disposed of": lambda h: h.find(Wanted(verdict="ANOMALY", disposition="none")),
        "list: false rejects of a recipe": lambda h: h.find(Wanted(disposition="false_reject", recipe="recipe-2")),
        "list: a part by its id": lambda h: h.find(Wanted(part=f"SN{rows // 3:09}")),
        "count: rejects of all time": lambda h: h.count(Wanted(verdict="ANOMALY")),
        "count: a stream's parts of all time": lambda h: h.count(Wanted(stream="label")),
        "numbers: a day by hours, by stream": lambda h: h.numbers(hours, by_stream=True),
        "numbers: 30 days by shifts": lambda h: h.numbers(shifts),
        "numbers: 100 days by recipe and version": lambda h: h.numbers(everything, by_recipe=True),
        "slowest parts of 100 days": lambda h: h.slowest(everything[0]),
    }


async def time_questions(history: Records, asked: dict[str, Question]) -> dict[str, tuple[float, float]]:
    """Median and slowest, milliseconds."""
    found: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS):
        for name, question in asked.items():
            begun = time.perf_counter()
            await question(history)
            found[name].append((time.perf_counter() - begun) * 1000)
    return {name: (statistics.median(times), max(times)) for name, times in found.items()}


async def throughput(history: Records, parts: int = 10_000) -> float:
    """Parts a second that are stored while more are waiting."""
    stored, begun = history.state.stored, time.perf_counter()
    sent = 0
    while history.state.stored < stored + parts:
        while sent < parts and history.state.waiting < 2000:
            history.hear(Told(part(sent, id=f"throughput-{begun}-{sent}")))
            sent += 1
        await asyncio.sleep(0.002)
    return parts / (time.perf_counter() - begun)


async def verdicts(history: Records, folder: Path, *, seconds: float, rounds: int, a_second: int) -> dict[str, Any]:
    """Latencies of verdicts, milliseconds, in turns without and with the history hearing, and so many parts a second
    beside."""
    model, hub, pool = FakeModel(), Hub(), InferencePool(1)
    model.seconds = 0.01
    inspection = Inspection(Calibrations(folder))
    inspection.use(model)  # type: ignore[arg-type]
    streams = Streams(pool, hub, inspection)
    pool.start()
    opened = [streams.open(f"bench-{number}", "websocket") for number in range(2)]
    image = np.full((480, 640, 3), 50, np.uint8)
    found: dict[str, list[float]] = {"off": [], "on": []}
    heard: list[float] = []

    def measure(told: Told) -> None:
        if isinstance(told.message, Result):
            heard.append(told.message.latency_ms)

    hub.listen(measure)
    number = 0
    for turn in range(2 * rounds):
        name = "off" if turn % 2 == 0 else "on"
        stop = hub.listen(history.hear) if name == "on" else lambda: None
        heard.clear()
        begun = time.perf_counter()
        for tick in range(int(seconds * 30)):
            await asyncio.sleep(max(0.0, begun + tick / 30 - time.perf_counter()))
            for one in opened:
                one.offer(lambda: image)
            for _ in range(a_second // 30):
                number += 1
                hub.publish(part(number, id=f"beside-{begun}-{number}"))
        stop()
        found[name] += heard
        while history.state.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for one in opened:
        one.close()
    pool.close()
    return {name: np.percentile(times, (50, 95, 99)).tolist() for name, times in found.items()}


async def measure(
    name: str, folder: Path, address: DatabaseAddress | None, rows: int, beginning: int, prepared: Prepared
) -> dict[str, Any]:
    """Everything of one database."""
    database = Database(folder, address)
    await database.open()
    await database.close()
    begun = time.perf_counter()
    if address is None:
        await asyncio.to_thread(fill_sqlite, database.path, prepared)
    else:
        await fill_postgresql(address, prepared)
    print(f"{name}: {rows} rows in {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    history = Records(folder, address)
    history.start()
    while history.state.state != "ok":  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    found: dict[str, Any] = {"questions": await time_questions(history, questions(rows, beginning))}
    found["throughput"] = await throughput(history)
    for a_second in (30, 300):
        found[f"verdicts beside {a_second}"] = await verdicts(history, folder, seconds=4, rounds=4, a_second=a_second)
    found["state"] = msgspec.to_builtins(history.state)
    found["size"] = database.path.stat().st_size / 1e6 if address is None else None
    await history.close()
    return found


def report(found: dict[str, dict[str, Any]]) -> str:
    """As Markdown."""
    names = list(found)
    lines = ["| median (slowest), ms | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for question in next(iter(found.values()))["questions"]:
        cells = ["{:.1f} ({:.0f})".format(*found[name]["questions"][question]) for name in names]
        lines.append(f"| {question} | " + " | ".join(cells) + " |")
    lines += ["", "| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    cells = [f"{found[name]['throughput']:.0f}" for name in names]
    lines.append("| parts stored a second, at most | " + " | ".join(cells) + " |")
    for a_second in (30, 300):
        for which, words in (("off", "without the history"), ("on", f"with it, and {a_second} parts a second")):
            cells = [
                "{:.1f} / {:.1f} / {:.1f}".format(*found[name][f"verdicts beside {a_second}"][which]) for name in names
            ]
            lines.append(f"| verdict after its frame, p50 / p95 / p99 ms, {words} | " + " | ".join(cells) + " |")
    lost = sum(one["state"]["dropped"] + one["state"]["refused"] for one in found.values())
    sizes = [f"{one['size']:.0f} MB" for one in found.values() if one["size"]]
    lines += ["", f"Entries lost meanwhile: {lost}. The file of SQLite takes {', '.join(sizes) or '–'}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    asked = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    beginning = round((datetime.now(UTC) - timedelta(days=DAYS)).timestamp() * 1000)
    beginning -= beginning % DAY
    prepared = Prepared.make(asked.rows, beginning)
    with tempfile.TemporaryDirectory() as folder:
        if asked.only != "postgresql":
            found["SQLite"] = asyncio.run(
                measure("SQLite", Path(folder) / "sqlite", None, asked.rows, beginning, prepared)
            )
        if asked.only != "sqlite":
            with running_postgresql(durable=True) as running:
                if running is None:
                    print("PostgreSQL is not installed: python -m tests.equipment")
                else:
                    address = running.database()
                    place = Path(folder) / "postgresql"
                    place.mkdir()
                    found["PostgreSQL"] = asyncio.run(
                        measure("PostgreSQL", place, address, asked.rows, beginning, prepared)
                    )
    print(report(found))


if __name__ == "__main__":
    main()
