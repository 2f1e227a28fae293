"""``/api/audit``: who did what, a page at a time and as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.access import Access, files_of
from server.web.access_bodies import AuditBody
from server.web.answers import MadeForGet, Refused, answer, whole_number
from server.words import Content, Operation, Parameter, Reply, Role, documented

PAGE, MOST = 100, 500
UNREADABLE = "the audit log cannot be read; the server's log says why"


@dataclass(frozen=True)
class AuditLog:
    access: Access

    @property
    def routes(self) -> list[Route]:
        return [Route("/api/audit", self.list_entries), MadeForGet("/api/audit.jsonl", self.as_file)]

    @documented(
        Operation(
            "Who did what, the newest first",
            {200: Reply("a page of it", Content(AuditBody)), 422: "no such page", 503: UNREADABLE},
            description="Logins, failed ones (collapsed), and every change but what comes with each part.",
            parameters=(
                Parameter("before", "query", "entries of smaller numbers only", {"type": "integer", "minimum": 1}),
                Parameter(
                    "limit", "query", "so many", {"type": "integer", "minimum": 1, "maximum": MOST, "default": PAGE}
                ),
            ),
            role=Role.ADMIN,
        )
    )
    async def list_entries(self, request: Request) -> Response:
        asked = request.query_params
        before = whole_number(asked["before"], "before", 1, 999_999_999) if "before" in asked else None
        limit = whole_number(asked.get("limit", str(PAGE)), "limit", 1, MOST)
        try:
            found = await self.access.audit.read(before, limit + 1)
        except OSError as error:
            raise Refused(503, f"the audit log cannot be read ({error.strerror})") from error
        entries, more = found[:limit], len(found) > limit
        body = AuditBody(entries, entries[-1].seq if more else None, self.access.audit.warning)
        return answer(body, headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "The audit log as a file, the oldest first",
            {
                200: Reply(
                    "an entry a line, each with the hash of the one before",
                    Content({"type": "string"}, "application/jsonl"),
                    {"Content-Disposition": "its name"},
                ),
                503: UNREADABLE,
            },
            description="`defectvision audit verify FILE` says whether a line was changed or is missing.",
            role=Role.ADMIN,
        )
    )
    async def as_file(self, request: Request) -> Response:
        await self.access.audit.written()
        try:
            files = await run_in_threadpool(files_of, self.access.audit.folder)
        except OSError as error:
            raise Refused(503, f"the audit log cannot be read ({error.strerror})") from error
        headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"', "Cache-Control": "no-store"}
        return StreamingResponse(_pieces(files), headers=headers, media_type="application/jsonl")


async def _pieces(files: list[Path]) -> AsyncIterator[bytes]:
    """Whole files one after the other, each a few megabytes; one that went meanwhile is left out."""
    for path in files:
        try:
            yield await run_in_threadpool(path.read_bytes)
        except FileNotFoundError:
            continue
