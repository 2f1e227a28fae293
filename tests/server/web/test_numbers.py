"""The numbers a line is run by, and the report of a shift, over a history whose parts are known."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.templating import Jinja2Templates

from server.archive import Archive, Limits
from server.ground import page_folder
from server.records import Records, RecordsAway
from server.shifts import Shifts
from server.streams import Told
from server.web import ERRORS, LineNumbers, ShiftReport, answer_error, numbers
from server.web.answers import Refused
from server.web.numbers import Asked
from server.words import PartVerdict
from tests.server.archive.test_archive import part
from tests.server.fakes import WAIT_S
from tests.server.records import histories

SHIFTS = Shifts.parse("06:00,14:00,22:00")


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Nothing:
    def recipe(self, id: str) -> None:
        return None


class Line:
    """Parts of a line, and a client that asks for its numbers at half past three in the afternoon."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(folder)
        self.now = datetime(2026, 11, 26, 15, 30).astimezone()
        asked = LineNumbers(self.records, SHIFTS, lambda: self.now)
        templates = Jinja2Templates(page_folder("templates"))
        self.archive = Archive(folder, Limits(1 << 40, 90, 0))
        inspection = cast(Any, Nothing())
        report = ShiftReport(templates, self.records, self.archive, inspection, SHIFTS, asked, lambda: self.now)
        app = Starlette(routes=[*asked.routes, *report.routes], exception_handlers=dict.fromkeys(ERRORS, answer_error))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
        self.made = 0

    def inspect(self, at: str, verdict: PartVerdict = "NORMAL", **changes: Any) -> str:
        """A part at a time of the wall's clock."""
        self.made += 1
        id = f"p{self.made}"
        when = datetime.fromisoformat(at).astimezone().isoformat()
        about = {"began_at": when, "at": when, "score": {"NORMAL": 0.1, "ANOMALY": 0.9}.get(verdict)}
        self.records.hear(Told(msgspec.structs.replace(part(id, verdict), **(about | changes))))
        return id

    async def stored(self) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.records.state.stored < self.made:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def ask(self, path: str = "/api/numbers", **asked: str) -> Any:
        answer = await self.client.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = Line(tmp_path)
    made.records.start()
    for minute in range(8):
        made.inspect(f"2026-11-26T14:{minute:02}")
    made.inspect("2026-11-26T14:30", "ANOMALY", cycle_ms=80.0, part="P-80", overruns=3)
    made.inspect("2026-11-26T15:10", "ANOMALY", stream="gate", recipe_version=4)
    made.inspect("2026-11-26T15:20", "FAILED", score=None, raw_score=None, why="nothing came in time")
    made.inspect("2026-11-26T13:59", "ANOMALY")  # of the shift before
    made.inspect("2026-11-25T12:00")
    await made.stored()
    for id, said in (("p9", "confirmed"), ("p10", "false_reject"), ("p1", "escape")):
        assert await made.records.dispose(id, cast(Any, said))
    yield made
    await made.records.close()


async def test_of_the_shift_that_runs(line: Line) -> None:
    body = await line.ask()
    whole = body["all"]
    assert (whole["total"], whole["rejected"], whole["failed"]) == (11, 2, 1)
    assert whole["first_pass_yield"] == pytest.approx(8 / 11, abs=1e-4)
    assert (whole["confirmed"], whole["false_rejects"], whole["escapes"]) == (1, 1, 1)
    assert whole["false_reject_rate"] == 0.5 and whole["cycle_worst_ms"] == 80.0 and whole["overruns"] == 3
    assert whole["score_median"] == pytest.approx(0.1, abs=0.02) and whole["score_p95"] == pytest.approx(0.9, abs=0.02)
    assert [(row["since"][11:16], row["total"]) for row in body["rows"]] == [("14:00", 9), ("15:00", 2)]
    assert body["shifts"] == ["06:00", "14:00", "22:00"]


async def test_by_shift_day_stream_and_recipe(line: Line) -> None:
    since = "2026-11-25T00:00:00+01:00"
    shifts = (await line.ask(by="shift", since=since))["rows"]
    assert [(row["since"][:10], row["shift"], row["total"]) for row in shifts] == [
        ("2026-11-25", "06:00", 1),
        ("2026-11-26", "06:00", 1),
        ("2026-11-26", "14:00", 11),
    ]
    days = (await line.ask(by="day", since=since))["rows"]
    assert [(row["since"], row["total"]) for row in days] == [
        ("2026-11-25T00:00:00+01:00", 1),
        ("2026-11-26T00:00:00+01:00", 12),
    ]
    streams = (await line.ask(by="all", each="stream"))["rows"]
    assert [(row["stream"], row["total"]) for row in streams] == [("gate", 1), ("press", 10)]
    recipes = (await line.ask(by="all", each="recipe", stream="gate"))["rows"]
    assert [(row["recipe"], row["recipe_version"], row["total"]) for row in recipes] == [("bottle-1", 4, 1)]
    assert (await line.ask(recipe="another"))["rows"] == []
    assert (await line.ask(of="frame"))["all"]["total"] == 0


async def test_frames_have_no_yield(line: Line) -> None:
    """Those that failed are in no total: as of parts it would be below 0."""
    for told in (histories.frame(0, received=5, failed=4), histories.frame(700, received=6, failed=4)):
        line.records.hear(told)
    line.made += 2  # a change, and a minute
    await line.stored()
    asked = {"of": "frame", "by": "all", "since": "2025-11-01"}
    body = await line.ask(**asked)
    (row,) = body["rows"]
    assert (row["total"], row["failed"], row["first_pass_yield"], body["all"]["first_pass_yield"]) == (1, 4, None, None)
    rows = csv.DictReader(io.StringIO((await line.client.get("/api/numbers.csv", params=asked)).text))
    assert [one["first_pass_yield"] for one in rows] == [""]


async def test_more_rows_than_are_told_are_refused_and_rows_made_beside_the_loop(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = set()

    def row(*about: Any) -> Any:
        made.add(threading.get_ident())
        return of(*about)

    of = numbers._row
    monkeypatch.setattr(numbers, "_row", row)
    monkeypatch.setattr(numbers, "MOST_NUMBERS", 2)
    assert len((await line.ask(by="all", each="stream"))["rows"]) == 2
    assert made and threading.get_ident() not in made
    monkeypatch.setattr(numbers, "MOST_NUMBERS", 1)
    for path in ("/api/numbers", "/api/numbers.csv"):
        answer = await line.client.get(path, params={"by": "all", "each": "stream"})
        assert answer.status_code == 422 and "more than 1 rows: ask for less" in answer.json()["error"]


async def test_as_csv(line: Line) -> None:
    answer = await line.client.get("/api/numbers.csv", params={"by": "all", "each": "stream"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["stream"], row["total"], row["false_reject_rate"]) for row in rows] == [
        ("gate", "1", "1.0"),
        ("press", "10", "0.0"),
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"by": "minute"},
        {"of": "parts"},
        {"each": "model"},
        {"stream": "no name"},
        {"since": "yesterday"},
        {"since": "0001-01-01"},
        {"since": "2026-11-26T15:00", "until": "2026-11-26T14:00"},
        {"since": "2000-01-01"},
        {"until": "2900-01-01", "by": "shift"},
        {"recipe": "x" * 65},
        {"streem": "press"},
    ],
)
def test_what_cannot_be_asked(asked: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        Asked.read(asked, SHIFTS, datetime(2026, 11, 26, 15, 30).astimezone())
    assert refused.value.status == 422


async def test_the_report_of_a_shift(line: Line) -> None:
    page = (await line.client.get("/report")).text
    assert "Shift 14:00–22:00, Thursday 26 November 2026" in page and "The shift is running" in page
    for figure in (
        "Parts</dt><dd>11<",
        "Rejected</dt><dd>2<",
        "72.7 %",
        "50.0 % of 2 judged",
        "3<small> triggers refused",
        "P-80",
        "false reject",
    ):
        assert figure in page, figure
    assert "Later shift" not in page and "report?at=2026-11-26T06" in page
    earlier = (await line.client.get("/report", params={"at": "2026-11-26T06:00"})).text
    assert "Parts</dt><dd>1<" in earlier and "Later shift" in earlier
    gate = (await line.client.get("/report", params={"stream": "gate"})).text
    assert "stream gate" in gate and "Parts</dt><dd>1<" in gate
    empty = (await line.client.get("/report", params={"at": "2026-11-20T06:00"})).text
    assert "No part was inspected in this shift." in empty
    # Back goes as far as anything was inspected, and no further.
    assert "Earlier shift" in page and "Earlier shift" not in empty
    for wrong in ({"at": "x"}, {"at": "9999-12-31T23:59"}, {"stream": "no name"}, {"on": "x"}):
        assert (await line.client.get("/report", params=wrong)).status_code == 422


async def test_a_part_s_id_is_text_in_the_report(line: Line) -> None:
    line.inspect("2026-11-26T15:29", "ANOMALY", part='<img src=x onerror="alert(1)">')
    await line.stored()
    page = (await line.client.get("/report")).text
    assert "<img src=x" not in page and "&lt;img src=x" in page


async def test_while_the_history_is_away(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise RecordsAway("the database does not answer")

    monkeypatch.setattr(line.records, "numbers", away)
    for path in ("/api/numbers", "/api/numbers.csv"):
        answer = await line.client.get(path)
        assert answer.status_code == 503 and "does not answer" in answer.json()["error"]
    page = await line.client.get("/report")
    assert page.status_code == 200 and "the database does not answer" in page.text


async def test_the_night_in_which_the_clock_is_put_back(line: Line) -> None:
    """Hours by the wall's clock are told apart by where they lie, and none is counted twice."""
    for at in ("2026-10-25T00:30+00:00", "2026-10-25T01:30+00:00"):  # both half past two
        line.inspect(at)
    await line.stored()
    rows = (await line.ask(since="2026-10-24T22:00:00Z", until="2026-10-25T23:00:00Z"))["rows"]
    assert [(row["since"], row["total"]) for row in rows] == [
        ("2026-10-25T02:00:00+02:00", 1),
        ("2026-10-25T02:00:00+01:00", 1),
    ]
    line.now = line.now - timedelta(days=32)
    report = (await line.client.get("/report", params={"at": "2026-10-25T03:00"})).text
    assert "Parts</dt><dd>2<" in report and "Shift 22:00–06:00" in report


def test_all_of_a_time_is_that_time_however_long_it_is() -> None:
    now = datetime(2026, 11, 26, 15, 30).astimezone()
    asked = {"by": "all", "since": "2026-11-26T06:00:00Z", "until": "2026-11-26T14:00:00Z"}
    (stretch,) = Asked.read(asked, SHIFTS, now).stretches
    assert stretch.until_ms - stretch.since_ms == 8 * 3_600_000
    long = {"by": "all", "since": "1971-01-02T00:00:00Z", "until": "8999-01-02T00:00:00Z"}
    (ages,) = Asked.read(long, SHIFTS, now).stretches
    assert (ages.since.year, ages.until.year) == (1971, 8999)
