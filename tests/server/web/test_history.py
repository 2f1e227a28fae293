"""The history over HTTP: lists, what people say, files, and a history that is away."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from detector.extras import to_install
from server.app import create_app
from server.ground import DatabaseAddress
from server.records import Entry, RecordsAway
from server.records.entry import of_part
from server.settings import Settings
from server.web import ERRORS, History, answer_error, history_files, openapi
from server.web.history_query import FILTERS, PAGING
from tests.running import running
from tests.server.fakes import WAIT_S, FakeModel, asked_by_anybody, healthy, http
from tests.server.records.histories import frame, part
from tests.server.web.test_openapi import Checked

ALL = range(40)


@dataclass(frozen=True)
class Served:
    app: Starlette
    client: httpx.AsyncClient
    checked: Checked

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.checked.ask(method, path, **options)


@contextlib.asynccontextmanager
async def served(model: FakeModel, folder: Path, **chosen: Any) -> AsyncIterator[Served]:
    choice = replace(Settings(data_dir=folder), **chosen)
    app = create_app(choice, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, choice) as server, http(server) as client:
        await healthy(server)
        yield Served(app, client, Checked(client, openapi.describe(app.routes)))


@pytest.fixture
async def filled(model: FakeModel, tmp_path: Path) -> AsyncIterator[Served]:
    """A server that has seen forty parts, and a stream that runs freely."""
    async with served(model, tmp_path) as server:
        for number in ALL:
            server.app.state.hub.publish(part(number))
        for seq in (0, 700):
            server.app.state.hub.publish(frame(seq).message)
        async with asyncio.timeout(WAIT_S):
            while (await server.client.get("/api/history/state")).json()["stored"] < len(ALL) + 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield server


async def test_every_answer_is_as_described(filled: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (await filled.ask("GET", "/api/history", params={"limit": 10, "kind": "part"})).json()
    assert [entry["number"] for entry in page["entries"]] == [*range(39, 29, -1)]
    following = await filled.ask("GET", "/api/history", params={"before": page["next"], "kind": "part", "limit": 500})
    assert [entry["number"] for entry in following.json()["entries"]] == [*range(29, -1, -1)]
    assert following.json()["next"] is None
    moment = {"since": "2025-11-26T07:00:05+01:00", "until": "2025-11-26T06:00:08Z", "stream": "press"}
    found = (await filled.ask("GET", "/api/history", params=moment)).json()["entries"]
    assert [entry["at"] for entry in found] == [f"2025-11-26T06:00:0{second}.000+00:00" for second in (7, 6, 5)]
    assert (await filled.ask("GET", "/api/history/count", params={"verdict": "ANOMALY"})).json()["count"] == 4

    said = await filled.ask("POST", "/api/history/part-10/disposition", json={"disposition": "confirmed", "note": "=1"})
    assert said.json()["disposition"] == "confirmed" and said.json()["disposed_by"] == "127.0.0.1"
    one = (await filled.ask("GET", "/api/history/part-10")).json()
    assert one["entry"] == said.json() and [each["note"] for each in one["said"]] == ["=1"]
    refused = await filled.ask("POST", "/api/history/part-10/disposition", json={"disposition": "escape"})
    assert refused.status_code == 409 and "it was rejected" in refused.json()["error"]
    unseen = {"disposition": None, "seen": None}
    refused = await filled.ask("POST", "/api/history/part-10/disposition", json=unseen)
    assert refused.status_code == 409 and "127.0.0.1 called it a confirmed reject" in refused.json()["error"]
    await filled.ask("POST", "/api/history/nobody/disposition", json={"disposition": None})
    await filled.ask("POST", "/api/history/part-10/disposition", json={"disposition": "good"})
    await filled.ask("POST", "/api/history/part-10/disposition", json={"disposition": None, "note": "x" * 2000})
    await filled.ask("POST", "/api/history/part-10/disposition", content=b"x" * 70_000)
    await filled.ask("GET", "/api/history/nobody")
    (minute,) = (await filled.ask("GET", "/api/history/minutes", params={"stream": "free"})).json()["minutes"]
    assert (minute["frames"], minute["start"]) == (1, "2025-11-26T06:00:00.000+00:00")

    assert (await filled.ask("GET", "/api/history/state")).json()["state"] == "ok"
    pytest.importorskip("pyarrow")
    for ending in ("csv", "parquet"):
        assert (await filled.ask("GET", f"/api/history.{ending}")).status_code == 200
    for path in ("", "/count", "/minutes", ".csv", ".parquet"):
        wrong = await filled.ask("GET", f"/api/history{path}", params={"steam": "press"})
        assert wrong.status_code == 422 and "'steam' means nothing here" in wrong.json()["error"]
    monkeypatch.setattr("server.web.history.has_parquet", lambda: False)
    missing = await filled.ask("GET", "/api/history.parquet")
    assert missing.status_code == 501 and to_install("parquet") in missing.json()["error"]
    _all_but(filled.checked, 503)


async def test_a_history_that_is_away_is_told_and_inspection_goes_on(model: FakeModel, tmp_path: Path) -> None:
    pytest.importorskip("asyncpg")
    gone = DatabaseAddress("127.0.0.1", 1, "line", "operator", "s3cret")
    async with served(model, tmp_path, database_url=gone) as server:
        async with asyncio.timeout(WAIT_S):
            while (await server.ask("GET", "/api/history/state")).json()["state"] != "away":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for path in ("", "/count", "/minutes", "/part-1", ".csv", ".parquet"):
            refused = await server.ask("GET", f"/api/history{path}")
            assert refused.status_code == 503 and "PostgreSQL line on 127.0.0.1:1" in refused.json()["error"]
            assert refused.headers["Retry-After"]
        said = await server.ask("POST", "/api/history/part-1/disposition", json={"disposition": "escape"})
        assert said.status_code == 503
        server.app.state.hub.publish(part(1))
        async with asyncio.timeout(WAIT_S):
            while (await server.ask("GET", "/api/history/state")).json()["backlog"] != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        health = (await server.ask("GET", "/health")).json()
        assert health["status"] == "ok" and "the history is away since" in health["warnings"][0]
        assert "s3cret" not in str(health) and "operator" not in str(health)


async def test_two_files_at_a_time(filled: Served) -> None:
    async with (
        filled.client.stream("GET", "/api/history.csv") as first,
        filled.client.stream("GET", "/api/history.csv") as second,
    ):
        statuses = [first.status_code, second.status_code]
        bodies = [await first.aread(), await second.aread()]
    assert statuses == [200, 200] and bodies[0] == bodies[1]


async def test_a_third_file_is_refused_at_once_however_many_are_asked_for_in_the_same_moment() -> None:
    gate, away = asyncio.Event(), True

    class Slow:
        async def export(self, wanted: Any, most: int) -> AsyncIterator[list[Entry]]:
            if away:
                raise RecordsAway("the history is away")
            await gate.wait()
            yield []

    routes = History(cast(Any, Slow())).routes
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys(ERRORS, answer_error))
    transport = httpx.ASGITransport(asked_by_anybody(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        def ask() -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.get("/api/history.csv"))

        assert [(await ask()).status_code for _ in range(3)] == [503] * 3
        away = False
        asked = [ask() for _ in range(5)]
        async with asyncio.timeout(WAIT_S):
            refusals = await asyncio.gather(*asked[2:])
        for refused in refusals:
            assert refused.status_code == 503 and "two files are being made already" in refused.json()["error"]
        gate.set()
        assert [one.status_code for one in await asyncio.gather(*asked[:2])] == [200, 200]
        assert [(await ask()).status_code for _ in range(3)] == [200] * 3


async def test_files_say_what_the_list_says(filled: Served) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    entries = (await filled.client.get("/api/history", params={"kind": "part", "limit": 500})).json()["entries"]
    data = (await filled.client.get("/api/history.csv", params={"kind": "part"})).content
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert [(row["id"], row["at"], row["verdict"], float(row["score"])) for row in rows] == [
        (entry["id"], entry["at"], entry["verdict"], entry["score"]) for entry in entries
    ]
    data = (await filled.client.get("/api/history.parquet", params={"kind": "part"})).content
    table = parquet.read_table(io.BytesIO(data)).to_pylist()
    assert [(row["id"], row["cycle_ms"], row["simulated"]) for row in table] == [
        (entry["id"], entry["cycle_ms"], entry["simulated"]) for entry in entries
    ]
    assert table[0]["at"].isoformat(timespec="milliseconds") == entries[0]["at"]


NAMES = [parameter.name for parameter in (*FILTERS, *PAGING)]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(asked=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), st.text(max_size=40), max_size=4))
async def test_whatever_is_asked_is_answered_or_refused(filled: Served, asked: dict[str, str]) -> None:
    answer = await filled.client.get("/api/history", params=asked)
    assert answer.status_code in (200, 422), (asked, answer.text)


def test_no_cell_is_a_formula_and_all_come_back() -> None:
    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
    def holds(text: str) -> None:
        entry: Entry = replace_entry(note=text)

        async def one() -> AsyncIterator[list[Entry]]:
            yield [entry]

        async def read() -> bytes:
            return b"".join([data async for data in history_files.as_csv(one())])

        data = asyncio.run(read()).decode("utf-8-sig")
        _, row = csv.reader(io.StringIO(data, newline=""))
        cell = row[history_files.COLUMNS.index("note")]
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.removeprefix("'") == text or cell == text

    holds()


def replace_entry(**fields: Any) -> Entry:
    return msgspec.structs.replace(of_part(part(1)), **fields)


def _all_but(checked: Checked, *statuses: int) -> None:
    """Every answer that is described has been seen."""
    described = {
        (path, method, int(status))
        for path, operations in checked.document["paths"].items()
        if path.startswith("/api/history")
        for method, operation in operations.items()
        for status in operation["responses"]
        if int(status) not in openapi.EVERYWHERE and not path.startswith(("/api/history/{id}/", "/api/history/teach"))
    }  # of pictures: test_archived.py, test_openapi.py
    assert {one for one in described - checked.seen if one[2] not in statuses} == set()
