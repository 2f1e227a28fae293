"""``/api/sessions``: browsers and phones that are in, which can be revoked; ``/api/pairings``: phones to come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.access import GOOD_FOR_S, Access, add_detail, standing_of
from server.ground import qr_svg
from server.web.access_bodies import (
    Ended,
    PairingBody,
    PairingState,
    PairingWanted,
    SessionsBody,
    pairing_body,
    session_body,
)
from server.web.answers import NO_STORE, Refused, answer
from server.web.json_body import read_json
from server.web.refusing_access import refusing
from server.words import Content, Operation, Reply, Role, check_name, documented

MAX_BODY = 4096


@dataclass(frozen=True)
class Sessions:
    """Attributes:
    reached_at: the address of the page as a phone reaches it, of the port that is asked; None where none can.
    """

    access: Access
    reached_at: Callable[[int], str | None]

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/sessions", self.list_sessions),
            Route("/api/sessions/{session_id}", self.revoke, methods=["DELETE"]),
            Route("/api/pairings", self.pair, methods=["POST"]),
            Route("/api/pairings/{pairing}", self.look),
        ]

    @documented(
        Operation(
            "Browsers that are in, and phones that were paired",
            {200: Reply("they", Content(SessionsBody))},
            role=Role.ADMIN,
        )
    )
    async def list_sessions(self, request: Request) -> Response:
        access, who = self.access, standing_of(request.scope).identity
        body = SessionsBody([session_body(one, access.identity_of(one), who) for one in access.sessions])
        return answer(body, headers=NO_STORE)

    @documented(
        Operation(
            "Revoke a session, or a phone that was paired",
            {
                200: Reply("it is out, and what it had open is closed", Content(Ended)),
                404: "there is no such session: it has ended",
                507: "it is out, but may be in again after a restart: the data directory cannot be written",
            },
            role=Role.ADMIN,
        )
    )
    async def revoke(self, request: Request) -> Response:
        with refusing():
            session = await self.access.end_session(request.path_params["session_id"])
        add_detail(request.scope, f"{session.kind} {session.of}")
        return answer(Ended(session.id), headers=NO_STORE)

    @documented(
        Operation(
            "Pair a phone: what its QR code says, good once, for ten minutes",
            {
                201: Reply("the phone has to open it and press the button there", Content(PairingBody)),
                403: "whoever asks may not use that stream itself, or is a phone that was paired",
                413: "larger than 4 kB",
                422: "no stream can be called that",
            },
            description="The phone may then send and watch this stream only, as an operator, for 90 days, until it is "
            "revoked or logs out.",
            body=Content(PairingWanted),
            role=Role.OPERATOR,
            streams="itself",
        )
    )
    async def pair(self, request: Request) -> Response:
        standing = standing_of(request.scope)
        wanted = await read_json(request, PairingWanted, MAX_BODY, '{"stream": "phone-1"}')
        with refusing():
            stream = check_name(wanted.stream)
            device = check_name(wanted.device) if wanted.device else stream
        if (refusal := standing.identity.pairing_refusal(stream)) is not None:
            raise Refused(403, refusal)
        pairing, secret = self.access.make_pairing(stream, device, standing)
        root = self.reached_at(request.scope["server"][1])
        path = f"?code={secret}"
        url = None if root is None else root + path
        add_detail(request.scope, f"for {stream}")
        return answer(pairing_body(pairing, path, url, url and qr_svg(url), GOOD_FOR_S), 201, NO_STORE)

    @documented(
        Operation(
            "Whether a phone was paired",
            {200: Reply("whether its QR code still waits", Content(PairingState))},
            role=Role.OPERATOR,
            streams="itself",
        )
    )
    async def look(self, request: Request) -> Response:
        id = request.path_params["pairing"]
        return answer(PairingState(id[:64], self.access.pairings.waits(id)), headers=NO_STORE)
