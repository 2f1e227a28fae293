"""``/api/users``: logins, seen, made, changed and removed."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.access import Access, add_detail
from server.web.access_bodies import (
    Ended,
    PasswordMade,
    PasswordReset,
    UserBody,
    UserChange,
    UserMade,
    UsersBody,
    UserWanted,
    user_body,
)
from server.web.answers import NO_STORE, answer
from server.web.json_body import read_json
from server.web.paired_phones import BAD_PHONES, PHONES, PHONES_STAY, and_phones, wants_phones
from server.web.refusing_access import NOT_STORED, refusing
from server.words import Content, Operation, Reply, Role, documented

MAX_BODY = 4096
NO_SUCH = "there is no login of that name"
LAST = "it is the last admin who can log in"
BUSY = "too many passwords are being looked at: try again in a moment"


@dataclass(frozen=True)
class Users:
    access: Access

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/users", self.list_users),
            Route("/api/users", self.add, methods=["POST"]),
            Route("/api/users/{user}", self.change, methods=["PATCH"]),
            Route("/api/users/{user}", self.remove, methods=["DELETE"]),
            Route("/api/users/{user}/password", self.set_password, methods=["POST"]),
        ]

    @documented(Operation("All logins", {200: Reply("they", Content(UsersBody))}, role=Role.ADMIN))
    async def list_users(self, request: Request) -> Response:
        access, sessions = self.access, self.access.sessions
        body = UsersBody([user_body(one, sessions) for one in access.accounts], access.room_for_accounts)
        return answer(body, headers=NO_STORE)

    @documented(
        Operation(
            "Make a login",
            {
                201: Reply("it can log in", Content(UserMade)),
                409: "its name is taken, or there are too many",
                413: "larger than 4 kB",
                422: "no such name, role or password can be",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(UserWanted),
            role=Role.ADMIN,
        )
    )
    async def add(self, request: Request) -> Response:
        wanted = await read_json(request, UserWanted, MAX_BODY, '{"name": "anna", "role": "engineer"}')
        with refusing():
            account, made = await self.access.add_account(wanted.name, wanted.role, wanted.password)
        add_detail(request.scope, f"{account.name} as {account.role}")
        return answer(UserMade(user_body(account, []), made), 201, NO_STORE)

    @documented(
        Operation(
            "Give a login another role, or keep it out, or not any more",
            {
                200: Reply("as it is now", Content(UserBody)),
                404: NO_SUCH,
                409: LAST,
                413: "larger than 4 kB",
                422: "no such role can be",
                507: NOT_STORED,
            },
            description=f"What it may no more ends at once: its pages, streams and connections too. {PHONES_STAY}",
            parameters=(PHONES,),
            body=Content(UserChange),
            role=Role.ADMIN,
        )
    )
    async def change(self, request: Request) -> Response:
        wanted = await read_json(request, UserChange, MAX_BODY, '{"role": "operator"}')
        with_phones = wants_phones(request)
        with refusing():
            account = await self.access.change_account(
                request.path_params["user"],
                role=None if wanted.role is UNSET else wanted.role,
                disabled=None if wanted.disabled is UNSET else wanted.disabled,
            )
            phones = await self.access.end_phones_of(account.name) if with_phones else UNSET
        state = f"{account.name} is {account.role}{', disabled' if account.disabled else ''}"
        add_detail(request.scope, f"{state}{and_phones(phones)}")
        return answer(user_body(account, self.access.sessions), headers=NO_STORE)

    @documented(
        Operation(
            "Give a login another password",
            {
                200: Reply("its browsers are out", Content(PasswordMade)),
                404: NO_SUCH,
                413: "larger than 4 kB",
                422: "no such password can be",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(PasswordReset),
            role=Role.ADMIN,
        )
    )
    async def set_password(self, request: Request) -> Response:
        name = request.path_params["user"]
        wanted = await read_json(request, PasswordReset, MAX_BODY, '{} to have one made, or {"password": …}')
        with refusing():
            made = await self.access.set_password(name, wanted.password)
        return answer(PasswordMade(name, made), headers=NO_STORE)

    @documented(
        Operation(
            "Remove a login",
            {
                200: Reply("it is gone, and its browsers are out", Content(Ended)),
                404: NO_SUCH,
                409: LAST,
                422: BAD_PHONES,
                507: NOT_STORED,
            },
            description=PHONES_STAY,
            parameters=(PHONES,),
            role=Role.ADMIN,
        )
    )
    async def remove(self, request: Request) -> Response:
        name, with_phones = request.path_params["user"], wants_phones(request)
        with refusing():
            await self.access.remove_account(name)
            phones = await self.access.end_phones_of(name) if with_phones else UNSET
        add_detail(request.scope, f"{name}{and_phones(phones)}")
        return answer(Ended(name, phones), headers=NO_STORE)
