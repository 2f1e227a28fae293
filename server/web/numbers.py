"""The numbers a line is run by, over HTTP: by hour, shift or day, for each stream and recipe; JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.records import MOST_NUMBERS, MOST_SPANS, Numbers, Records, Span
from server.shifts import Shifts, Stretch, days, hours
from server.web import history_query
from server.web.answers import NO_STORE, Refused, answer
from server.web.numbers_bodies import By, NumbersBody, NumbersRow, Of
from server.web.spreadsheet import cell
from server.words import BYTES, Content, Operation, Parameter, Reply, Role, documented

AWAY = "the history is off, or its database is away: `error` says why"
BAD = "a time, a stream or a recipe that cannot be, or more hours or rows than are told at once"
QUARTER_S = 900
_EACH = ("stream", "recipe")
PARAMETERS = (
    Parameter(
        "since",
        "query",
        "from the stretch that this moment is in, ISO 8601, without a zone UTC; left out: the shift that runs now",
        {"type": "string", "format": "date-time"},
    ),
    Parameter("until", "query", "before this moment; left out: now", {"type": "string", "format": "date-time"}),
    Parameter(
        "by", "query", "a row for each", {"type": "string", "enum": ["hour", "shift", "day", "all"], "default": "hour"}
    ),
    Parameter(
        "of",
        "query",
        "parts, or the inspected frames of streams that run freely",
        {"type": "string", "enum": ["part", "frame"], "default": "part"},
    ),
    Parameter(
        "each",
        "query",
        "also a row for each: stream, recipe, or both with a comma between them",
        {"type": "string", "enum": ["stream", "recipe", "stream,recipe"]},
    ),
    Parameter("stream", "query", "of this stream alone"),
    Parameter("recipe", "query", "of this recipe alone: its id"),
)


@dataclass(frozen=True)
class Asked:
    """What numbers are wanted of."""

    since: datetime
    until: datetime
    stretches: Sequence[Stretch]
    by: By
    of: Of
    each: tuple[str, ...]
    stream: str | None
    recipe: str | None

    @classmethod
    def read(cls, query: Mapping[str, str], shifts: Shifts, now: datetime) -> Asked:
        """From an address.

        Raises:
            Refused: it says what cannot be.
        """
        history_query.check_names(query, [parameter.name for parameter in PARAMETERS])
        shift = shifts.at(now)
        since = _moment(query, "since") or shift.since
        until = _moment(query, "until") or max(now, since)
        if until < since:
            raise Refused(422, "until lies before since: turn them round")
        by: By = _one_of(query, "by", ("hour", "shift", "day", "all"), "hour")
        of: Of = _one_of(query, "of", ("part", "frame"), "part")
        each = tuple(part for part in query.get("each", "").split(",") if part)
        if any(part not in _EACH for part in each):
            raise Refused(422, f"each is {query['each'][:40]!r}: it must be stream, recipe, or stream,recipe")
        each_s = {"hour": 3600.0, "shift": 86400 / len(shifts.names), "day": 86400.0}.get(by, math.inf)
        if (until - since).total_seconds() > MOST_SPANS * each_s:
            raise Refused(422, f"more than {MOST_SPANS} rows: ask for less time, or by day, shift or all")
        stretches = stretches_of(by, since, until, shifts)
        if len(stretches) > MOST_SPANS:
            raise Refused(422, f"more than {MOST_SPANS} rows: ask for less time, or by day or all")
        recipe = query.get("recipe")
        if recipe is not None and not (0 < len(recipe) <= 64 and recipe.isprintable()):
            raise Refused(422, "recipe must be the id of one")
        return cls(since, until, stretches, by, of, each, history_query.stream(query), recipe)


@dataclass(frozen=True)
class LineNumbers:
    records: Records
    shifts: Shifts
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def routes(self) -> list[Route]:
        return [Route("/api/numbers", self.as_json), Route("/api/numbers.csv", self.as_csv)]

    @documented(
        Operation(
            "Numbers the line is run by",
            {200: Reply("rows in the order of time", Content(NumbersBody)), 422: BAD, 503: AWAY},
            description="Parts, rejects, first-pass yield, what people said of rejects, percentiles of the scores, "
            "cycle times. Kept by quarters of an hour, so they are of whole ones.",
            parameters=PARAMETERS,
            role=Role.VIEWER,
        )
    )
    async def as_json(self, request: Request) -> Response:
        body = await self.body(Asked.read(request.query_params, self.shifts, self.now()))
        return await run_in_threadpool(lambda: answer(body, headers=NO_STORE))

    @documented(
        Operation(
            "Numbers the line is run by, as CSV",
            {200: Reply("a row for each, with a head", Content(BYTES, "text/csv")), 422: BAD, 503: AWAY},
            parameters=PARAMETERS,
            role=Role.VIEWER,
        )
    )
    async def as_csv(self, request: Request) -> Response:
        body = await self.body(Asked.read(request.query_params, self.shifts, self.now()))
        text = await run_in_threadpool(_csv, body.rows)
        headers = {"Content-Disposition": 'attachment; filename="numbers.csv"', **NO_STORE}
        return Response(text, headers=headers, media_type="text/csv; charset=utf-8")

    async def body(self, asked: Asked) -> NumbersBody:
        """The numbers.

        Raises:
            RecordsAway: the history cannot be asked now.
            Refused: they are more rows than are told at once.
        """
        rows = await self.rows(asked, asked.stretches, asked.each)
        whole = [_over(asked.stretches)]
        all_ = (await self.rows(asked, whole, ()) or [_row(whole[0], None, asked.of)])[0]
        return NumbersBody(
            since=_local(asked.since),
            until=_local(asked.until),
            of=asked.of,
            by=asked.by,
            rows=rows,
            all=all_,
            shifts=[*self.shifts.names],
        )

    async def rows(self, asked: Asked, stretches: Sequence[Stretch], each: Sequence[str]) -> list[NumbersRow]:
        """Numbers of some stretches; those without any are left out. Raises as :meth:`body`."""
        found = await self.records.numbers(
            [Span(one.since_ms, one.until_ms) for one in stretches],
            kind=asked.of,
            stream=asked.stream,
            recipe=asked.recipe,
            by_stream="stream" in each,
            by_recipe="recipe" in each,
            limit=MOST_NUMBERS + 1,
        )
        if len(found) > MOST_NUMBERS:
            raise Refused(
                422,
                f"more than {MOST_NUMBERS} rows: ask for less time, by day, shift or all, or for one stream or recipe",
            )
        return await run_in_threadpool(lambda: [_row(stretches[one.span], one, asked.of) for one in found])


def stretches_of(by: By, since: datetime, until: datetime, shifts: Shifts) -> list[Stretch]:
    """The stretches of time that rows are made of."""
    until = max(until, since.replace(microsecond=since.microsecond // 1000 * 1000))
    if by == "hour":
        return hours(since, until) or hours(since, _after(since))
    if by == "shift":
        return shifts.between(since, until)
    if by == "day":
        return days(since, until) or days(since, _after(since))
    return [_quarters(since, until)]


def _quarters(since: datetime, until: datetime) -> Stretch:
    """The whole quarters of an hour that touch a stretch: what numbers are kept by."""
    first = int(since.timestamp()) // QUARTER_S * QUARTER_S
    last = max(math.ceil(until.timestamp() / QUARTER_S) * QUARTER_S, first + QUARTER_S)
    return Stretch(datetime.fromtimestamp(first, UTC).astimezone(), datetime.fromtimestamp(last, UTC).astimezone())


def _after(moment: datetime) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() + 0.001, UTC)


def _over(stretches: Sequence[Stretch]) -> Stretch:
    return Stretch(stretches[0].since, stretches[-1].until)


def _csv(rows: Sequence[NumbersRow]) -> str:
    text = io.StringIO()
    written = csv.writer(text)
    written.writerow(NumbersRow.__struct_fields__)
    for row in rows:
        written.writerow([_cell(value) for value in msgspec.structs.astuple(row)])
    return text.getvalue()


def _row(stretch: Stretch, numbers: Numbers | None, of: Of) -> NumbersRow:
    percentile = (lambda percent: None) if numbers is None else numbers.percentile
    return NumbersRow(
        since=_local(stretch.since),
        until=_local(stretch.until),
        shift=stretch.shift,
        stream=numbers.stream if numbers else None,
        recipe=numbers.recipe if numbers else None,
        recipe_version=numbers.recipe_version if numbers else None,
        total=numbers.total if numbers else 0,
        rejected=numbers.rejected if numbers else 0,
        failed=numbers.failed if numbers else 0,
        overruns=numbers.overruns if numbers else 0,
        first_pass_yield=_rounded(numbers.first_pass_yield, 5) if numbers and of == "part" else None,
        confirmed=numbers.confirmed if numbers else 0,
        false_rejects=numbers.false_rejects if numbers else 0,
        escapes=numbers.escapes if numbers else 0,
        false_reject_rate=_rounded(numbers.false_reject_rate, 5) if numbers else None,
        score_p05=_rounded(percentile(5), 3),
        score_median=_rounded(percentile(50), 3),
        score_p95=_rounded(percentile(95), 3),
        score_p99=_rounded(percentile(99), 3),
        cycle_mean_ms=_rounded(numbers.cycle_mean, 1) if numbers else None,
        cycle_worst_ms=_rounded(numbers.cycle_max, 1) if numbers else None,
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _local(moment: datetime) -> str:
    return moment.astimezone().isoformat(timespec="seconds")


def _cell(value: object) -> object:
    if value is None:
        return ""
    return cell(value) if isinstance(value, str) else value


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    found = history_query.moment(query, name)
    if found is None:
        return None
    try:
        moment = datetime.fromtimestamp(found / 1000, UTC)
        moment.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise Refused(422, f"{name} is no time that can be") from error
    if not 1971 <= moment.year <= 9000:
        raise Refused(422, f"{name} is no time that can be")
    return moment


def _one_of(query: Mapping[str, str], name: str, values: Sequence[str], default: str) -> Any:
    value = query.get(name, default)
    if value not in values:
        raise Refused(422, f"{name} is {value[:40]!r}: it must be one of {', '.join(values)}")
    return value
