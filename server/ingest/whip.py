"""Frames in by WHIP (RFC 9725): ``POST /whip/NAME``, as OBS, GStreamer and ffmpeg send.

The same WebRTC ingest as ``/webrtc/offer``; results are heard on ``/ws/live/NAME``, for an encoder has no use for them.
Candidates cannot be added later (no trickle ICE): a sender's own checks tell its address, so it need not wait for them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.access import standing_of
from server.ingest.webrtc import OFFER_REFUSALS, OFFERS, OfferRefused, WebRTCIngest, address_of, read_offer
from server.words import Content, Operation, Parameter, Reply, Role, check_max_fps, check_name, documented

SDP = "application/sdp"
SDP_TEXT = Content({"type": "string"}, SDP)
NO_STORE = {"Cache-Control": "no-store"}


class Whip:
    """The endpoint and its sessions.

    Args:
        webrtc: answers the offers.
    """

    def __init__(self, webrtc: WebRTCIngest) -> None:
        self._webrtc = webrtc
        self._sessions: dict[tuple[str, str], Callable[[], None]] = {}
        """What ends each."""

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/whip/{name}", self.begin, methods=["POST"]),
            Route("/whip/{name}", self.options, methods=["OPTIONS"]),
            Route("/whip/{name}/{session}", self.end, methods=["DELETE"]),
            Route("/whip/{name}/{session}", self.session_options, methods=["OPTIONS"]),
        ]

    @documented(
        Operation(
            "Send video by WHIP (RFC 9725), as OBS, GStreamer and ffmpeg do",
            {
                201: Reply("the answer", SDP_TEXT, {"Location": "the session, relative to this address"}),
                415: "the offer is not sent as application/sdp",
                **OFFER_REFUSALS,
            },
            description="Audio is answered with a no. Candidates cannot be added later (no trickle ICE). Link headers "
            "name the STUN and TURN servers, if any are set.",
            parameters=(Parameter("max_fps", "query", "inspect at most so many frames a second"),),
            body=SDP_TEXT,
            role=Role.OPERATOR,
            streams="path",
            audited=False,
        )
    )
    async def begin(self, request: Request) -> Response:
        """201 with the answer and the session's address, or ``{"error": ...}``."""
        try:
            await self._webrtc.admit(request)
            name, body = self._checked(request), await read_offer(request)
            max_fps = check_max_fps(request.query_params.get("max_fps"))
            lost = partial(standing_of(request.scope).until_lost, OFFERS, name)
            address, gone = address_of(request), request.is_disconnected
            answered = await self._webrtc.answer(_text(body), name, max_fps, address, lost, gone)
        except OfferRefused as refusal:
            return refusal.response()
        except ValueError as error:  # of the name, the rate, or bytes that are no text
            return JSONResponse({"error": str(error)}, 422)
        session = secrets.token_urlsafe(24)
        self._sessions[name, session] = answered.end
        answered.task.add_done_callback(lambda _: self._sessions.pop((name, session), None))
        # Relative to the address that was asked, so that it holds behind a proxy that adds a prefix.
        headers = {"Location": f"{name}/{session}", **NO_STORE}
        return self._with_links(Response(answered.sdp, 201, headers, SDP))

    @documented(
        Operation(
            "What WHIP takes here",
            {204: Reply("nothing but headers", headers={"Accept-Post": SDP})},
            role=Role.OPERATOR,
            streams="path",
        )
    )
    async def options(self, request: Request) -> Response:
        return self._with_links(Response(None, 204, {"Accept-Post": SDP, "Allow": "POST, OPTIONS", **NO_STORE}))

    @documented(
        Operation(
            "End a WHIP session",
            {200: Reply("it has ended"), 404: "there is no such session: it has ended"},
            role=Role.OPERATOR,
            streams="path",
            audited=False,
        )
    )
    async def end(self, request: Request) -> Response:
        """200, or 404 where there is no such session. Trickle ICE and restarts (``PATCH``) get 405."""
        end = self._sessions.pop((request.path_params["name"], request.path_params["session"]), None)
        if end is None:
            return JSONResponse({"error": "there is no such session: it has ended"}, 404)
        end()
        return Response(None, 200, NO_STORE)

    @documented(
        Operation("What a WHIP session takes", {204: Reply("nothing but headers")}, role=Role.OPERATOR, streams="path")
    )
    async def session_options(self, request: Request) -> Response:
        return Response(None, 204, {"Allow": "DELETE, OPTIONS", **NO_STORE})

    def _with_links(self, response: Response) -> Response:
        for link in self._webrtc.ice_server_links:
            response.headers.append("Link", link)
        return response

    def _checked(self, request: Request) -> str:
        """The stream's name.

        Raises:
            OfferRefused: the body is no session description.
            ValueError: the name cannot be one.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != SDP:
            raise OfferRefused(415, f"send the offer as {SDP}")
        return check_name(request.path_params["name"])


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ValueError("the offer is no text (UTF-8)") from error
