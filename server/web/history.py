"""The history over HTTP: lists, single entries, what people say of them, files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.records import MOST_MINUTES, MOST_ON_A_PAGE, Entry, Records
from server.web import history_query
from server.web.answers import NO_STORE, MadeForGet, Refused, answer
from server.web.calibration_query import who_asks
from server.web.history_bodies import (
    CountBody,
    DisposeBody,
    EntriesBody,
    EntryBody,
    EntryWithHistoryBody,
    HistoryStateBody,
    MinutesBody,
    disposed_body,
    entry_body,
    minute_body,
    state_body,
)
from server.web.history_files import NO_PARQUET, as_csv, as_parquet, has_parquet
from server.web.history_query import FILTERS, PAGING, SINCE, STREAM, UNTIL
from server.web.json_body import read_json
from server.web.temporary_file import MadeOnTheWay
from server.words import BYTES, Content, Operation, Parameter, Reply, Role, documented

AWAY = "the history is off, or its database is away: `error` says why"
NOT_FOUND = "the history has no such entry: it is too old, or was never written"
MOST_IN_A_FILE, FILE_S = 1_000_000, 900.0
MAX_FILES = 2
_MINUTES = {"type": "integer", "minimum": 1, "maximum": MOST_MINUTES, "default": 60}
_BAD = "a filter that cannot be"

Pieces = AsyncIterator[list[Entry]]


@dataclass(frozen=True)
class History:
    records: Records
    files: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_FILES))

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/history", self.list_entries),
            MadeForGet("/api/history.csv", self.as_csv),
            MadeForGet("/api/history.parquet", self.as_parquet),
            Route("/api/history/state", self.state),
            Route("/api/history/count", self.count),
            Route("/api/history/minutes", self.minutes),
            Route("/api/history/{entry}", self.entry),
            Route("/api/history/{entry}/disposition", self.dispose, methods=["POST"]),
        ]

    @documented(
        Operation(
            "Parts, and changes of verdicts, newest first",
            {200: Reply("a page", Content(EntriesBody)), 422: _BAD, 503: AWAY},
            description="The order is that in which they were stored, whatever the clock did. `next` leads to the page "
            "that follows.",
            parameters=(*FILTERS, *PAGING),
            role=Role.VIEWER,
        )
    )
    async def list_entries(self, request: Request) -> Response:
        asked = request.query_params
        wanted = history_query.wanted(asked, beside=[parameter.name for parameter in PAGING])
        limit = history_query.limit(asked, MOST_ON_A_PAGE, 50)
        page = await self.records.find(wanted, before=history_query.before(asked), limit=limit)
        return await run_in_threadpool(
            lambda: answer(EntriesBody([*map(entry_body, page.entries)], page.next), headers=NO_STORE)
        )

    @documented(
        Operation(
            "How many entries there are",
            {200: Reply("so many", Content(CountBody)), 422: _BAD, 503: AWAY},
            parameters=FILTERS,
            role=Role.VIEWER,
        )
    )
    async def count(self, request: Request) -> Response:
        counted = await self.records.count(history_query.wanted(request.query_params))
        return answer(CountBody(counted.count, counted.exact), headers=NO_STORE)

    @documented(
        Operation(
            "One entry, and all that was said of it",
            {200: Reply("the entry", Content(EntryWithHistoryBody)), 404: NOT_FOUND, 503: AWAY},
            role=Role.VIEWER,
        )
    )
    async def entry(self, request: Request) -> Response:
        entry = self._found(await self.records.get(_id(request)))
        said = await self.records.said_of(entry.id)
        return answer(EntryWithHistoryBody(entry_body(entry), [disposed_body(one) for one in said]), headers=NO_STORE)

    @documented(
        Operation(
            "Say what an entry was: confirmed, a false reject, an escape",
            {
                200: Reply("the entry", Content(EntryBody)),
                404: NOT_FOUND,
                409: "it cannot be said of an entry with this verdict; or something else than `seen` was said of it",
                413: "larger than 64 kB",
                422: "no such body",
                503: AWAY,
            },
            body=Content(DisposeBody),
            description="What was said before is kept, with who and when. null takes it back. It teaches nothing.",
            role=Role.OPERATOR,
        )
    )
    async def dispose(self, request: Request) -> Response:
        said = await read_json(request, DisposeBody, example='{"disposition": "confirmed"}')
        note = said.note.replace("\0", "") if said.note else None
        entry = await self.records.dispose(
            _id(request), said.disposition, note=note, who=who_asks(request), seen=said.seen
        )
        return answer(entry_body(self._found(entry)))

    @documented(
        Operation(
            "Minutes of streams that run freely, in numbers",
            {200: Reply("newest first", Content(MinutesBody)), 422: _BAD, 503: AWAY},
            parameters=(
                STREAM,
                SINCE,
                UNTIL,
                Parameter(
                    "limit",
                    "query",
                    "minutes",
                    _MINUTES,
                ),
            ),
            role=Role.VIEWER,
        )
    )
    async def minutes(self, request: Request) -> Response:
        asked = request.query_params
        history_query.check_names(asked, ["stream", "since", "until", "limit"])
        found = await self.records.minutes(
            history_query.stream(asked),
            history_query.moment(asked, "since"),
            history_query.moment(asked, "until"),
            history_query.limit(asked, MOST_MINUTES, 60),
        )
        return await run_in_threadpool(lambda: answer(MinutesBody([*map(minute_body, found)]), headers=NO_STORE))

    @documented(
        Operation(
            "How the history itself is doing",
            {200: Reply("its database, what waits, what was lost", Content(HistoryStateBody))},
            role=Role.VIEWER,
        )
    )
    async def state(self, request: Request) -> Response:
        return answer(state_body(self.records.state, self.records.warning, parquet=has_parquet()), headers=NO_STORE)

    @documented(
        Operation(
            "The history as CSV",
            {
                200: Reply("newest first, up to a million entries", Content(BYTES, "text/csv")),
                422: _BAD,
                503: "two files are being made already; or the history is away",
            },
            description="A text that a spreadsheet would take for a formula has an apostrophe before it.",
            parameters=FILTERS,
            role=Role.VIEWER,
        )
    )
    async def as_csv(self, request: Request) -> Response:
        return await self._file(request, as_csv, "text/csv; charset=utf-8", "csv")

    @documented(
        Operation(
            "The history as Parquet",
            {
                200: Reply("newest first, up to a million entries", Content(BYTES, "application/vnd.apache.parquet")),
                422: _BAD,
                501: "the package that writes Parquet is not installed",
                503: "two files are being made already; or the history is away",
            },
            parameters=FILTERS,
            role=Role.VIEWER,
        )
    )
    async def as_parquet(self, request: Request) -> Response:
        if not has_parquet():
            raise Refused(501, NO_PARQUET)
        return await self._file(request, as_parquet, "application/vnd.apache.parquet", "parquet")

    async def _file(
        self, request: Request, written: Callable[[Pieces], AsyncIterator[bytes]], media_type: str, ending: str
    ) -> Response:
        wanted = history_query.wanted(request.query_params)
        if self.files.locked():
            raise Refused(503, "two files are being made already: try again in a moment")
        await self.files.acquire()  # at once, before anybody else can ask
        try:
            pieces = self.records.export(wanted, MOST_IN_A_FILE)
            first: list[Entry] = await anext(pieces, [])  # a database that is away is said before the file begins
        except BaseException:
            self.files.release()
            raise

        async def all_of_it() -> AsyncIterator[list[Entry]]:
            if first:
                yield first
            async for piece in pieces:
                yield piece

        async def body() -> AsyncIterator[bytes]:
            # Whoever reads slowly holds no connection to the database meanwhile, but one of two places.
            until = time.monotonic() + FILE_S
            async for data in written(all_of_it()):
                if time.monotonic() > until:
                    raise TimeoutError(f"a file of the history took more than {FILE_S:g} s: it is cut off")
                yield data

        named = {"Content-Disposition": f'attachment; filename="history.{ending}"', **NO_STORE}
        return MadeOnTheWay(body(), self.files.release, named, media_type)

    @staticmethod
    def _found(entry: Entry | None) -> Entry:
        if entry is None:
            raise Refused(404, NOT_FOUND)
        return entry


def _id(request: Request) -> str:
    """An id in an address; none of ours is longer, or has other characters."""
    text: str = request.path_params["entry"]
    return text.replace("\0", "")[:128]
