"""What goes on while its user loses the right to it, request by request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Scope

from server.access import Access, guard
from server.access.audit_chain import newest
from server.words import Operation, Reply, Role, documented


class Asked:
    """A request to an endpoint, by a token that can be revoked."""

    def __init__(self, folder: Path, endpoint: Any, method: str = "GET") -> None:
        self.access = Access(folder, closed=True)
        self.route = Route("/it", endpoint, methods=[method])
        guard([self.route])
        self.method, self.sent = method, list[Message]()
        self.came = asyncio.Event()

    async def ask(self) -> None:
        token, secret = await self.access.add_token("plc", "operator", None, None, "a test")
        self.token, standing = token.id, self.access.by_secret(secret, "10.0.0.1")
        scope: Scope = {
            "type": "http",
            "method": self.method,
            "path": "/it",
            "query_string": b"",
            "headers": [],
            "path_params": {},
            "client": ("10.0.0.1", 1),
            "state": {"standing": standing},
        }

        async def receive() -> Message:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: Message) -> None:
            self.sent.append(message)
            if message.get("body"):
                self.came.set()

        await self.route.app(scope, receive, send)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status


def taking(role: Role) -> Operation:
    return Operation("Do something", {200: Reply("done")}, role=role)


async def test_a_download_is_cut_off_where_it_stands(tmp_path: Path) -> None:
    @documented(taking(Role.VIEWER))
    async def endless(request: Request) -> Response:
        async def pieces() -> Any:
            while True:
                yield b"x" * 100
                await asyncio.sleep(0.001)

        return StreamingResponse(pieces())

    asked = Asked(tmp_path, endless)
    task = asyncio.create_task(asked.ask())
    async with asyncio.timeout(20):
        await asked.came.wait()
        await asked.access.revoke_token(asked.token)
        await task
    assert asked.status == 200 and asked.sent[-1]["more_body"], "the server sees that it is not whole, and hangs up"
    assert not asked.access._watches and task.cancelling() == 0


async def test_who_waits_for_an_answer_is_refused(tmp_path: Path) -> None:
    began = asyncio.Event()

    @documented(taking(Role.VIEWER))
    async def waits(request: Request) -> Response:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    asked = Asked(tmp_path, waits)
    task = asyncio.create_task(asked.ask())
    async with asyncio.timeout(20):
        await began.wait()
        await asked.access.revoke_token(asked.token)
        await task
    assert asked.status == 401


async def test_an_upload_is_read_no_further_and_a_change_is_not_broken_off(tmp_path: Path) -> None:
    read = asyncio.Event()
    outcome: list[str] = []

    @documented(taking(Role.OPERATOR))
    async def uploads(request: Request) -> Response:
        try:
            async for _ in request.stream():
                read.set()
        except Exception as error:
            outcome.append(type(error).__name__)
        await asyncio.sleep(0)
        outcome.append("to its end")
        return JSONResponse({})

    asked = Asked(tmp_path, uploads, "POST")
    task = asyncio.create_task(asked.ask())
    async with asyncio.timeout(20):
        await read.wait()
        await asked.access.revoke_token(asked.token)
        await task
    assert outcome == ["ClientDisconnect", "to its end"]


async def test_a_change_that_succeeded_is_audited_and_another_is_not(tmp_path: Path) -> None:
    status = 200

    @documented(taking(Role.OPERATOR))
    async def changes(request: Request) -> Response:
        return JSONResponse({}, status)

    asked = Asked(tmp_path, changes, "POST")
    await asked.ask()
    status = 409
    await asked.access.revoke_token(asked.token)
    await asked.ask()
    await asked.access.audit.close()
    (entry,) = newest(tmp_path / "audit", None, 10)
    assert (entry.who, entry.what, entry.method, entry.status) == ("plc", "Do something", "POST", 200)


async def test_without_the_access_check_before_it_nothing_is_answered(tmp_path: Path) -> None:
    @documented(taking(Role.VIEWER))
    async def reached(request: Request) -> Response:
        raise AssertionError

    route = Route("/it", reached)
    guard([route])
    try:
        await route.app({"type": "http", "method": "GET", "state": {}}, None, None)  # type: ignore[arg-type]
    except KeyError:
        return
    raise AssertionError("it failed open")
