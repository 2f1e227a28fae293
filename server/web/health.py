"""``GET /health``: whether parts are being inspected, and with what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector import VERSION, TaughtModel
from server.access import standing_of
from server.inspection import Calibrations, Inspection
from server.streams import InferencePool
from server.web.answers import answer
from server.web.bodies import HealthBody, HealthToStrangers, IceServer
from server.web.judgements import stored_body
from server.words import Content, Operation, Reply, Role, documented


class Warns(Protocol):
    """What may have something to say to the operator."""

    @property
    def warning(self) -> str | None:
        """One sentence, or nothing."""
        ...


@dataclass(frozen=True)
class Health:
    """Attributes:
    failed: set when there will be no model until the operator does something.
    others: whose warnings are told, too.
    """

    inspection: Inspection
    pool: InferencePool
    calibrations: Calibrations
    teaching_progress: Callable[[], float] | None
    simulated_stream: str | None
    ice_servers: list[dict[str, str]] = field(default_factory=list)
    others: Sequence[Warns] = ()
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def routes(self) -> list[Route]:
        return [Route("/health", self.health)]

    @documented(
        Operation(
            "Whether parts are being inspected, and with what",
            {
                200: Reply("frames are inspected", Content((HealthBody, HealthToStrangers))),
                503: Reply("they are not, `reason` says why", Content((HealthBody, HealthToStrangers))),
            },
            description="Strangers learn the `status` only, and viewers, who send nothing, no `ice_servers`. "
            "Who is limited to streams hears no `warnings`, which are of the whole server, and of a simulated line "
            "among them only.",
            role=Role.NOBODY,
        )
    )
    async def health(self, request: Request) -> Response:
        body = self.now()
        status = 200 if body.status == "ok" else 503
        if not getattr(request.state, "access", True):
            return answer(HealthToStrangers(body.status), status, {"Cache-Control": "no-store"})
        identity = standing_of(request.scope).identity
        told = body if identity.role >= Role.OPERATOR else replace(body, ice_servers=[])
        if identity.streams is not None:
            simulated_stream = self.simulated_stream if identity.may_use(self.simulated_stream) else None
            told = replace(told, warnings=[], simulated_stream=simulated_stream)
        return answer(told, status, {"Cache-Control": "no-store"})

    def now(self) -> HealthBody:
        """How it is at this moment, as whoever has access is told."""
        inspection, ready = self.inspection, self.inspection.ready
        model = inspection.model if ready else None
        calibration = inspection.calibration if ready else None
        given = (
            self.calibrations.warning,
            inspection.warning,
            inspection.regions_warning,
            self.pool.warning,
            *(one.warning for one in self.others),
        )
        warnings = [warning for warning in given if warning]
        hung = self.pool.trouble if ready else None
        # Loading counts as teaching without a measure: the page waits calmly either way.
        preparing = not ready and not self.failed.is_set()
        return HealthBody(
            status="hung" if hung else "ok" if ready else "teaching" if preparing else "error",
            reason=hung if ready else inspection.why_no_model,
            progress=self.teaching_progress() if preparing and self.teaching_progress else None,
            model_category=inspection.category if ready else None,
            runtime=model.runtime if model else None,
            image_size=model.image_size if model else None,
            input_size=model.input_size if model else None,
            backbone=model.manifest.backbone if isinstance(model, TaughtModel) else None,
            model_hash=model.hash if model else None,
            threshold=inspection.threshold.value if ready else None,
            threshold_source=inspection.threshold.source if ready else None,
            calibration=stored_body(calibration) if calibration else None,
            simulated=self.simulated_stream is not None,
            simulated_stream=self.simulated_stream,
            warnings=warnings,
            ice_servers=[IceServer(**server) for server in self.ice_servers],
            version=VERSION,
        )
