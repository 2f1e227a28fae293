"""``/api/sinks``: the machines around that are told, seen, tried, added, changed and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.ground import why_not_kept
from server.sinks import MOST, CannotAdd, Draft, NoSink, SinkError, Sinks, StoredSink, TooManyTests
from server.web.answers import Refused, answer
from server.web.calibration_query import who_asks
from server.web.json_body import read_json
from server.web.sink_bodies import (
    SinkBody,
    SinkChange,
    SinkRemoved,
    SinksBody,
    SinkTried,
    SinkTry,
    SinkWanted,
    kind_body,
    sink_body,
)
from server.words import Content, Operation, Reply, Role, documented

MAX_BODY = 256 * 1024
EXAMPLE = '{"kind": "webhook", "name": "mes", "settings": {"url": "https://mes.plant/webhooks", "secret": "whsec_…"}}'
NOT_SUCH = "no such sink can be: the kind, the name, or one of the settings"
NO_SUCH = "there is no sink of that id"
TAKEN = "its name is taken"
NOT_STORED = "the data directory cannot be written; nothing was changed"
TOO_LARGE = "larger than 256 kB"


@dataclass(frozen=True)
class SinkList:
    sinks: Sinks

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/sinks", self.list_sinks),
            Route("/api/sinks", self.add, methods=["POST"]),
            Route("/api/sinks/test", self.try_out, methods=["POST"]),
            Route("/api/sinks/{id}", self.change, methods=["PATCH"]),
            Route("/api/sinks/{id}", self.remove, methods=["DELETE"]),
            Route("/api/sinks/{id}/test", self.test, methods=["POST"]),
        ]

    @documented(
        Operation(
            "The machines around that are told of parts, and how they are doing",
            {200: Reply("all sinks, and the kinds there are, with their forms", Content(SinksBody))},
            description="Secrets are not told.",
            role=Role.ENGINEER,
        )
    )
    async def list_sinks(self, request: Request) -> Response:
        sinks = self.sinks
        body = SinksBody(
            [self._body(one) for one in sinks.all], [kind_body(kind) for kind in sinks.kinds.values()], sinks.room
        )
        return answer(body, headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Add a sink",
            {
                201: Reply("it is kept, and runs if it is on", Content(SinkBody)),
                409: f"{TAKEN}, or there are {MOST}",
                413: TOO_LARGE,
                422: NOT_SUCH,
                507: NOT_STORED,
            },
            description="Whoever may use the page may have this server connect to any address that it can reach, and "
            "send there what it inspects.",
            body=Content(SinkWanted),
            role=Role.ADMIN,
        )
    )
    async def add(self, request: Request) -> Response:
        wanted = await read_json(request, SinkWanted, MAX_BODY, EXAMPLE)
        draft = Draft(wanted.kind, wanted.name, wanted.enabled, wanted.told, wanted.settings)
        with _refusing():
            stored = await self.sinks.add(draft, who_asks(request))
        return answer(self._body(stored), 201)

    @documented(
        Operation(
            "Change a sink, or switch it on or off",
            {
                200: Reply("as it is now", Content(SinkBody)),
                404: NO_SUCH,
                409: TAKEN,
                413: TOO_LARGE,
                422: f"{NOT_SUCH}; or its peer is another one, and a secret was not given again",
                507: NOT_STORED,
            },
            description="What waits still goes out, unless it is switched off.",
            body=Content(SinkChange),
            role=Role.ADMIN,
        )
    )
    async def change(self, request: Request) -> Response:
        wanted = await read_json(request, SinkChange, MAX_BODY, '{"enabled": true}')
        with _refusing():
            stored = await self.sinks.change(
                request.path_params["id"],
                who_asks(request),
                name=None if wanted.name is UNSET else wanted.name,
                enabled=None if wanted.enabled is UNSET else wanted.enabled,
                told=None if wanted.told is UNSET else wanted.told,
                settings=None if wanted.settings is UNSET else wanted.settings,
            )
        return answer(self._body(stored))

    @documented(
        Operation(
            "Remove a sink",
            {
                200: Reply("it is forgotten, and has ended", Content(SinkRemoved)),
                404: NO_SUCH,
                507: NOT_STORED,
            },
            description="What waited to go out is lost.",
            role=Role.ADMIN,
        )
    )
    async def remove(self, request: Request) -> Response:
        with _refusing():
            stored = await self.sinks.remove(request.path_params["id"], who_asks(request))
        return answer(SinkRemoved(stored.id))

    @documented(
        Operation(
            "Try a sink",
            {
                200: Reply("what came of it, within half a minute", Content(SinkTried)),
                404: NO_SUCH,
                503: "two are being tried already, or too many tests hang",
            },
            description="It connects, or sends something that is marked as a test, beside what it does.",
            role=Role.ADMIN,
            audited=False,
        )
    )
    async def test(self, request: Request) -> Response:
        with _refusing():
            try:
                return answer(SinkTried(True, await self.sinks.test(request.path_params["id"])))
            except SinkError as error:
                return answer(SinkTried(False, str(error)))

    @documented(
        Operation(
            "Try a sink before it is added or changed",
            {
                200: Reply("what came of it, within half a minute; nothing is kept", Content(SinkTried)),
                404: NO_SUCH,
                413: TOO_LARGE,
                422: NOT_SUCH,
                503: "two are being tried already, or too many tests hang",
            },
            body=Content(SinkTry),
            role=Role.ADMIN,
            audited=False,
        )
    )
    async def try_out(self, request: Request) -> Response:
        wanted = await read_json(request, SinkTry, MAX_BODY, EXAMPLE)
        draft = Draft(wanted.kind, wanted.name, True, SinkWanted("", "", {}).told, wanted.settings)
        with _refusing(then=""):
            try:
                return answer(SinkTried(True, await self.sinks.try_out(draft, wanted.id)))
            except SinkError as error:
                return answer(SinkTried(False, str(error)))

    def _body(self, stored: StoredSink) -> SinkBody:
        kind = self.sinks.kinds.get(stored.kind)
        secrets = kind.secrets if kind is not None else frozenset(stored.settings)  # nobody knows which are
        return sink_body(stored, self.sinks.state(stored.id), secrets)


@contextlib.contextmanager
def _refusing(then: str = "; nothing was changed") -> Iterator[None]:
    try:
        yield
    except NoSink as error:
        raise Refused(404, f"{NO_SUCH}: GET /api/sinks lists them") from error
    except ValueError as error:
        raise Refused(422, f"{error}{then}") from error
    except CannotAdd as error:
        raise Refused(409, f"{error}; nothing was changed") from error
    except TooManyTests as error:
        raise Refused(503, str(error)) from error
    except OSError as error:
        raise Refused(507, why_not_kept(error)) from error
