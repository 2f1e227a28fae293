"""``/api/tokens``: what machines show, made and revoked."""

from __future__ import annotations

import time
from dataclasses import dataclass

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.access import Access, add_detail, standing_of
from server.web.access_bodies import Ended, TokenMade, TokensBody, TokenWanted, code_body, token_body
from server.web.answers import NO_STORE, answer
from server.web.json_body import read_json
from server.web.paired_phones import BAD_PHONES, PHONES, PHONES_STAY, and_phones, wants_phones
from server.web.refusing_access import NOT_STORED, refusing
from server.words import Content, Operation, Reply, Role, check_name, documented

MAX_BODY = 16 * 1024
DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class Tokens:
    access: Access

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/tokens", self.list_tokens),
            Route("/api/tokens", self.add, methods=["POST"]),
            Route("/api/tokens/{token}", self.revoke, methods=["DELETE"]),
        ]

    @documented(
        Operation(
            "All tokens, the access code among them",
            {200: Reply("they, without their secrets", Content(TokensBody))},
            role=Role.ADMIN,
        )
    )
    async def list_tokens(self, request: Request) -> Response:
        access, now = self.access, time.time()
        tokens = [code_body(access)] if access.has_code else []
        tokens += [token_body(token, now) for token in access.tokens]
        return answer(TokensBody(tokens, access.room_for_tokens), headers=NO_STORE)

    @documented(
        Operation(
            "Make a token",
            {
                201: Reply("it is taken, its secret is told once", Content(TokenMade)),
                409: "its name is taken, or there are too many",
                413: "larger than 16 kB",
                422: "no such name, role or stream can be",
                507: NOT_STORED,
            },
            description="With `streams` it may use these only, and nothing that is about all of them.",
            body=Content(TokenWanted),
            role=Role.ADMIN,
        )
    )
    async def add(self, request: Request) -> Response:
        wanted = await read_json(request, TokenWanted, MAX_BODY, '{"name": "press-plc", "role": "viewer"}')
        by = standing_of(request.scope).identity.name
        with refusing():
            streams = None if wanted.streams is None else tuple(sorted({check_name(one) for one in wanted.streams}))
            lasts_s = None if wanted.days is None else wanted.days * DAY_S
            token, secret = await self.access.add_token(wanted.name, wanted.role, streams, lasts_s, by)
        only = f" for {', '.join(streams)}" if streams else ""
        add_detail(request.scope, f"{token.name} as {token.role}{only}")
        return answer(TokenMade(token_body(token, time.time()), secret), 201, NO_STORE)

    @documented(
        Operation(
            "Revoke a token, or the access code",
            {
                200: Reply("it is taken no more, and what it had open is closed", Content(Ended)),
                404: "there is no such token",
                409: "it is the access code, and a setting, or nobody could get in without it",
                422: BAD_PHONES,
                507: NOT_STORED,
            },
            description=PHONES_STAY,
            parameters=(PHONES,),
            role=Role.ADMIN,
        )
    )
    async def revoke(self, request: Request) -> Response:
        with_phones = wants_phones(request)
        with refusing():
            name = await self.access.revoke_token(request.path_params["token"])
            phones = await self.access.end_phones_of(name) if with_phones else UNSET
        add_detail(request.scope, f"{name}{and_phones(phones)}")
        return answer(Ended(request.path_params["token"], phones), headers=NO_STORE)
