"""``/api/me``: who asks and what that one may; one's own password and sessions, and logging out."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.access import COOKIE, Access, Identity, standing_of
from server.web.access_bodies import Done, Ended, MeBody, PasswordWanted, SessionsBody, me_body, session_body
from server.web.answers import NO_STORE, Refused, answer
from server.web.json_body import read_json
from server.web.refusing_access import NOT_STORED, refusing
from server.words import Content, Operation, Reply, Role, documented

MAX_BODY = 4096
NO_LOGIN = "whoever asks has no name and password here"


@dataclass(frozen=True)
class Me:
    access: Access

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/me", self.tell),
            Route("/api/me/password", self.change_password, methods=["POST"]),
            Route("/api/me/sessions", self.list_sessions),
            Route("/api/me/sessions/{session_id}", self.end, methods=["DELETE"]),
            Route("/api/logout", self.log_out, methods=["POST"]),
        ]

    @documented(
        Operation(
            "Who asks, and what that one may",
            {200: Reply("that", Content(MeBody))},
            description="Pages offer what `may` has. A stranger is told that he is nobody.",
            role=Role.NOBODY,
        )
    )
    async def tell(self, request: Request) -> Response:
        return answer(me_body(_who(request), closed=self.access.closed), headers=NO_STORE)

    @documented(
        Operation(
            "Change one's own password",
            {
                200: Reply("it is changed, and the login's other browsers are out", Content(Done)),
                409: f"{NO_LOGIN}, or the current password is wrong",
                413: "larger than 4 kB",
                422: "no such password can be",
                503: "too many passwords are being looked at: try again in a moment",
                507: NOT_STORED,
            },
            body=Content(PasswordWanted),
            role=Role.VIEWER,
            streams="itself",
        )
    )
    async def change_password(self, request: Request) -> Response:
        who = _who(request)
        wanted = await read_json(request, PasswordWanted, MAX_BODY, '{"current": …, "new": …}')
        if who.account is None:
            raise Refused(409, f"{NO_LOGIN}: log in with a name and a password")
        with refusing():
            account = await self.access.is_own_password(who, wanted.current)
            if account is None:
                raise Refused(409, "the current password is another one; nothing was changed")
            await self.access.set_password(who.account, wanted.new, keep=who.session, since=account)
        return answer(Done(), headers=NO_STORE)

    @documented(
        Operation(
            "Browsers that are in with one's own login",
            {200: Reply("they", Content(SessionsBody)), 409: NO_LOGIN},
            role=Role.VIEWER,
            streams="itself",
        )
    )
    async def list_sessions(self, request: Request) -> Response:
        who = self._with_login(request)
        own = [one for one in self.access.sessions if (one.kind, one.of) == ("account", who.account)]
        body = SessionsBody([session_body(one, self.access.identity_of(one), who) for one in own])
        return answer(body, headers=NO_STORE)

    @documented(
        Operation(
            "Have a browser with one's own login logged out",
            {
                200: Reply("it is out", Content(Ended)),
                404: "there is no such session of one's own: it has ended",
                409: NO_LOGIN,
                507: "it is out, but may be in again after a restart: the data directory cannot be written",
            },
            role=Role.VIEWER,
            streams="itself",
        )
    )
    async def end(self, request: Request) -> Response:
        who = self._with_login(request)
        with refusing():
            session = await self.access.end_session(request.path_params["session_id"], who.account)
        return answer(Ended(session.id), headers=NO_STORE)

    @documented(
        Operation(
            "Log out: this browser's session, or phone's pairing, ends",
            {200: Reply("it is out, without its cookie", Content(Done))},
            role=Role.VIEWER,
            streams="itself",
        )
    )
    async def log_out(self, request: Request) -> Response:
        who = _who(request)
        if who.session is not None:
            with refusing():
                await self.access.end_session(who.session)
        response = answer(Done(), headers=NO_STORE)
        # At the paths under which a browser may have it; what is left of it somewhere opens nothing any more.
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return response

    def _with_login(self, request: Request) -> Identity:
        who = _who(request)
        if who.account is None:
            raise Refused(409, f"{NO_LOGIN}: log in with a name and a password")
        return who


def _who(request: Request) -> Identity:
    return standing_of(request.scope).identity
