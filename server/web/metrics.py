"""``GET /metrics``: numbers for Prometheus, read when they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector import VERSION
from server.metrics import Totals, taken, written
from server.words import BYTES, Content, HasFigures, Operation, Reply, Role, documented

MAX_SCRAPES = 2
"""Written down at once; more wait."""
LONGEST_ACCEPT = 1000


@dataclass(frozen=True)
class Metrics:
    """Attributes:
    sources: whoever has numbers, besides ``totals``.
    """

    totals: Totals
    sources: Sequence[HasFigures]
    scrapes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_SCRAPES))
    failed: set[HasFigures] = field(default_factory=set)

    @property
    def routes(self) -> list[Route]:
        return [Route("/metrics", self.metrics)]

    @documented(
        Operation(
            "Numbers for Prometheus",
            {200: Reply("in the text format, or as OpenMetrics where that is asked for", Content(BYTES, "text/plain"))},
            description="Behind the access code like everything: give it to Prometheus as a bearer token.",
            role=Role.VIEWER,
        )
    )
    async def metrics(self, request: Request) -> Response:
        async with self.scrapes:
            read = taken([self.totals, *self.sources], self.totals.latencies, VERSION, self.failed)
            accept = request.headers.get("accept", "")[:LONGEST_ACCEPT]
            text, media_type = await run_in_threadpool(written, read, accept)
        return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
