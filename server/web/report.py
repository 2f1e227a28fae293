"""``GET /report``: one shift on paper. A page of its own that prints cleanly, drawn whole by the server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from detector import VERSION
from server.archive import Archive
from server.inspection import Inspection
from server.records import Entry, Records, RecordsAway, Span, Wanted
from server.shifts import Shifts, Stretch, hours
from server.web import history_query
from server.web.answers import MadeForGet, Refused
from server.web.numbers import Asked, LineNumbers
from server.web.numbers_bodies import NumbersRow, Of
from server.words import HTML, Operation, Parameter, Reply, Role, documented

MOST_REJECTS, MOST_ESCAPES, MOST_SLOWEST = 24, 12, 5
_CHART = (700, 120)


@dataclass(frozen=True)
class Bar:
    """One hour in the chart: places in the drawing, and what it stands for."""

    x: float
    width: float
    y: float
    height: float
    rejected_y: float
    rejected_height: float
    label: str
    middle: float


@dataclass(frozen=True)
class Picture:
    """One part in the report. ``at``: by the clock on the wall; ``said``: what a person found out, in words."""

    id: str
    at: str
    stream: str
    part: str | None
    score: str
    verdict: str
    said: str
    kept: bool
    cycle: str


@dataclass(frozen=True)
class ShiftReport:
    """The report of a shift."""

    templates: Jinja2Templates
    records: Records
    archive: Archive
    inspection: Inspection
    shifts: Shifts
    numbers: LineNumbers
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def routes(self) -> list[Route]:
        return [MadeForGet("/report", self.report)]

    @documented(
        Operation(
            "The report of a shift, to be printed",
            {200: Reply("a page that prints to A4 and Letter", HTML), 422: "no time, or no name of a stream"},
            parameters=(
                Parameter(
                    "at",
                    "query",
                    "a moment in the shift, ISO 8601, without a zone by the server's local time; left out: the shift "
                    "that runs now",
                ),
                Parameter("stream", "query", "of this stream alone"),
            ),
            role=Role.VIEWER,
        )
    )
    async def report(self, request: Request) -> Response:
        query = request.query_params
        history_query.check_names(query, ("at", "stream"))
        now, stream = self.now(), history_query.stream(query)
        shift = self.shifts.at(_moment(query["at"]) if "at" in query else now)
        context = {
            "version": VERSION,
            "machine": socket.gethostname(),
            "shift": shift,
            "title": _title(shift),
            "stream": stream,
            "earlier": None,
            "later": None if shift.until > now else _key(self.shifts.at(shift.until)),
            "runs": shift.since <= now < shift.until,
            "printed": _wall(now, "%d %b %Y, %H:%M"),
            "problems": [words for words in (self.records.warning, self.archive.warning) if words],
        }
        try:
            context |= await self._found(shift, stream)
            first = await self.records.first_start()
            if first is not None and first < shift.since_ms:
                context["earlier"] = _key(self.shifts.before(shift))
        except RecordsAway as error:
            context["away"] = str(error)
        headers = {"Cache-Control": "no-store"}
        return self.templates.TemplateResponse(request, "report.html", context, headers=headers)

    async def _found(self, shift: Stretch, stream: str | None) -> dict[str, object]:
        span = Span(shift.since_ms, shift.until_ms)
        parts, frames = self._asked(shift, stream, "part"), self._asked(shift, stream, "frame")
        hours = await self.numbers.rows(parts, parts.stretches, ())
        all_ = await self.numbers.rows(parts, [shift], ())
        wanted = Wanted(since=span.since, until=span.until, stream=stream)
        rejects = await self.records.find(replace(wanted, verdict="ANOMALY"), limit=MOST_REJECTS)
        escapes = await self.records.find(replace(wanted, disposition="escape"), limit=MOST_ESCAPES)
        slowest = await self.records.slowest(span, stream=stream, limit=MOST_SLOWEST)
        return {
            "all": all_[0] if all_ else None,
            "hours": hours,
            "bars": _bars(parts.stretches, hours),
            "chart": _CHART,
            "most": max((row.total for row in hours), default=0),
            "streams": await self.numbers.rows(parts, [shift], ("stream",)),
            "recipes": [(self._name(row), row) for row in await self.numbers.rows(parts, [shift], ("recipe",))],
            "frames": await self.numbers.rows(frames, [shift], ("stream",)),
            "rejects": [_picture(entry) for entry in rejects.entries],
            "more_rejects": rejects.next is not None,
            "escapes": [_picture(entry) for entry in escapes.entries],
            "slowest": [_picture(entry) for entry in slowest],
            "simulated": any(entry.simulated for entry in (*rejects.entries, *escapes.entries, *slowest)),
        }

    def _asked(self, shift: Stretch, stream: str | None, of: Of) -> Asked:
        return Asked(shift.since, shift.until, hours(shift.since, shift.until), "hour", of, (), stream, None)

    def _name(self, row: NumbersRow) -> str:
        if row.recipe is None:
            return "without a recipe"
        recipe = self.inspection.recipe(row.recipe)
        return f"{recipe.name if recipe else row.recipe}, version {row.recipe_version}"


def _bars(stretches: Sequence[Stretch], rows: Sequence[NumbersRow]) -> list[Bar]:
    """Columns of a chart: parts of each hour, the rejected ones at their foot."""
    width, height = _CHART
    by_time = {row.since: row for row in rows}
    most = max((row.total for row in rows), default=0) or 1
    each = width / max(len(stretches), 1)
    bars = []
    for number, stretch in enumerate(stretches):
        row = by_time.get(stretch.since.astimezone().isoformat(timespec="seconds"))
        total = height * row.total / most if row else 0.0
        bad = row.rejected + row.failed if row else 0
        rejected = max(height * bad / most, 2.0) if bad else 0.0  # one of a thousand is seen, too
        bars.append(
            Bar(
                round(number * each + each * 0.12, 1),
                round(each * 0.76, 1),
                round(height - total, 1),
                round(total, 1),
                round(height - rejected, 1),
                round(rejected, 1),
                _wall(stretch.since, "%H:%M"),
                round(number * each + each / 2, 1),
            )
        )
    return bars


SAID = {"confirmed": "confirmed", "false_reject": "false reject", "escape": "escape"}


def _picture(entry: Entry) -> Picture:
    return Picture(
        id=entry.id,
        at=_wall(datetime.fromtimestamp(entry.at / 1000, UTC), "%H:%M:%S"),
        stream=entry.stream,
        part=entry.part,
        score="–" if entry.score is None else f"{entry.score:.2f}",
        verdict=entry.verdict,
        said=SAID.get(entry.disposition or "", "not judged"),
        kept=entry.picture_kept,
        cycle="–" if entry.cycle_ms is None else _cycle(entry.cycle_ms),
    )


def _cycle(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def _title(shift: Stretch) -> str:
    return f"Shift {_wall(shift.since, '%H:%M')}–{_wall(shift.until, '%H:%M')}, {_wall(shift.since, '%A %d %B %Y')}"


def _key(shift: Stretch) -> str:
    return _wall(shift.since, "%Y-%m-%dT%H:%M")


def _wall(moment: datetime, form: str) -> str:
    return moment.astimezone().strftime(form)


def _moment(text: str) -> datetime:
    """A moment in an address; without a zone by local time, as a shift is named."""
    try:
        moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text).astimezone()
        if 1971 <= moment.year <= 9000:
            return moment
    except (ValueError, OverflowError, OSError):
        pass
    raise Refused(422, f"at is {text[:40]!r}: it must be a time such as 2026-11-26T06:00")
