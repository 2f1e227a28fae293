"""Every entrance × everybody, from the application's own routes: HTTP, WebSocket, WHIP, files, /ws/api's inside."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.access import COOKIE, Access, Guard, UndeclaredRoute, guard, need_of
from server.app import create_app
from server.settings import Settings
from server.words import Need, Role, RoleWord
from tests.running import ROOT, Running, running
from tests.server.fakes import WAIT_S, FakeModel

PRESS = "press"
ROLES: tuple[RoleWord, ...] = ("viewer", "operator", "engineer", "admin")


@dataclass(frozen=True)
class Entrance:
    """A way in: a method of a route, or a WebSocket."""

    method: str
    path: str
    need: Need

    @property
    def address(self) -> str:
        """With every stream being the press's."""
        path = re.sub(r"{\w+}", "x", self.path.replace("{name}", PRESS))
        return path + (f"?name={PRESS}" if self.need.streams == "query" else "")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Caller:
    """Somebody, and what he shows."""

    name: str
    role: Role
    streams: frozenset[str] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def expected(self, entrance: Entrance) -> int:
        """The status, 200 for whatever comes of being let in."""
        need = entrance.need
        if need.role is Role.NOBODY:
            return 401 if "Authorization" in self.headers and self.role is Role.NOBODY else 200
        if self.role is Role.NOBODY:
            return 401
        if self.role < need.role:
            return 403
        if self.streams is None or need.streams == "itself":
            return 200
        return 200 if need.streams in ("path", "query") and PRESS in self.streams else 403


async def _stub(scope: Scope, receive: Receive, send: Send) -> None:
    """In place of what a route does: that it was reached."""
    if scope["type"] == "http":
        await JSONResponse({"reached": True})(scope, receive, send)
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 1000})


def entrances(app: Starlette) -> list[Entrance]:
    found: list[Entrance] = []
    for route in app.routes:
        need = need_of(route)
        match route:
            case Route(path=path):
                found += [Entrance(method, path, need) for method in sorted(route.methods or ())]
            case WebSocketRoute(path=path):
                found.append(Entrance("WS", path, need))
            case Mount(path=path):
                found.append(Entrance("GET", f"{path}/x", need))
            case _:
                raise AssertionError(f"what is {route}?")
    return found


@pytest.fixture
async def app(tmp_path: Path) -> Starlette:
    return create_app(Settings(data_dir=tmp_path, host="0.0.0.0"), make_model=FakeModel)  # type: ignore[arg-type]


@pytest.fixture
async def server(app: Starlette, tmp_path: Path) -> AsyncIterator[Running]:
    """With all that its routes do taken out, but for /ws/api, whose inside is made of the same routes."""
    for route in app.routes:
        assert isinstance(route, Route | WebSocketRoute | Mount)
        assert isinstance(route.app, Guard)
        if not (isinstance(route, WebSocketRoute) and route.path == "/ws/api"):
            route.app._app = _stub
    async with running(app, Settings(data_dir=tmp_path)) as server:
        yield server


async def callers(access: Access, host: str) -> list[Caller]:
    """Everybody: strangers, who is out, and of each role a machine, a browser and a phone."""

    def bearer(secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    def cookie(secret: str) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={secret}", "Origin": f"http://{host}"}

    open_session = partial(access.open_session, "account", address="10.0.0.1", browser="a test")
    found = [
        Caller("nobody", Role.NOBODY),
        Caller("a wrong token", Role.NOBODY, headers=bearer("dvt_wrong")),
        Caller("a wrong cookie", Role.NOBODY, headers=cookie("wrong")),
    ]
    token, secret = await access.add_token("revoked", "admin", None, None, "a test")
    await access.revoke_token(token.id)
    found.append(Caller("a revoked token", Role.NOBODY, headers=bearer(secret)))
    _, secret = await access.add_token("over", "admin", None, -1.0, "a test")
    found.append(Caller("a token that is over", Role.NOBODY, headers=bearer(secret)))
    for role in ROLES:
        _, secret = await access.add_token(f"machine-{role}", role, None, None, "a test")
        found.append(Caller(f"a machine, {role}", Role[role.upper()], headers=bearer(secret)))
        account, _ = await access.add_account(f"user-{role}", role, None)
        secret = await open_session(account.name, stamp=account.stamp)
        found.append(Caller(f"a browser, {role}", Role[role.upper()], headers=cookie(secret)))
        for stream in (PRESS, "other"):
            _, secret = await access.add_token(f"{role}-of-{stream}", role, (stream,), None, "a test")
            only = frozenset({stream})
            found.append(Caller(f"a machine, {role} of {stream}", Role[role.upper()], only, bearer(secret)))
    _, secret = access.make_pairing(PRESS, "phone")
    paired = await access.pair(secret, instead_of=None, address="10.0.0.1", browser="a test")
    assert paired is not None
    found.append(Caller("a phone", Role.OPERATOR, frozenset({PRESS}), cookie(paired[0])))
    account, _ = await access.add_account("disabled", "admin", None)
    secret = await open_session(account.name, stamp=account.stamp)
    await access.change_account(account.name, disabled=True)
    found.append(Caller("a disabled login's browser", Role.NOBODY, headers=cookie(secret)))
    return found


async def test_every_entrance_takes_who_may_and_nobody_else(app: Starlette, server: Running) -> None:
    ways, host = entrances(app), server.http.removeprefix("http://")
    assert len(ways) > 130 and {one.method for one in ways} >= {"GET", "POST", "PATCH", "DELETE", "OPTIONS", "WS"}
    everybody = await callers(app.state.access, host)
    wrong: list[str] = []
    direct = httpx.ASGITransport(app=app, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=direct, base_url=server.http) as client:
        for who in everybody:
            for way in ways:
                if way.method == "WS":
                    status = await _handshake(server, way, who)
                else:
                    answer = await client.request(way.method, way.address, headers=who.headers)
                    status = answer.status_code
                    if status in (401, 403) and way.method != "HEAD":
                        assert answer.json()["error"]
                if status != who.expected(way):
                    wrong.append(f"{way} for {who.name}: {status}, not {who.expected(way)}")
    assert not wrong, "\n".join(wrong[:20])


async def test_inside_of_ws_api_the_same_holds(app: Starlette, server: Running) -> None:
    ways = [
        one
        for one in entrances(app)
        if one.path.startswith("/api/") and one.method in ("GET", "POST", "PATCH", "DELETE")
    ]
    everybody = await callers(app.state.access, server.http.removeprefix("http://"))
    for who in (one for one in everybody if one.role is not Role.NOBODY):
        headers, origin = dict(who.headers), who.headers.get("Origin")
        headers.pop("Origin", None)
        async with (
            connect(f"{server.ws}/ws/api", additional_headers=headers, origin=origin) as socket,  # type: ignore[arg-type]
            asyncio.timeout(WAIT_S),
        ):
            for number, way in enumerate(
                ways[:45] if "machine" in who.name else ways[45:90]
            ):  # 50 a second, then slower
                await socket.send(json.dumps({"id": number, "method": way.method, "path": way.address}))
                answer = json.loads(await socket.recv())
                assert (answer["id"], answer["status"]) == (number, who.expected(way)), f"{way} for {who.name}"


MADE_FOR_GET = {
    "/api/audit.jsonl",
    "/api/backup",
    "/api/cameras/found",
    "/api/history.csv",
    "/api/history.parquet",
    "/api/recipes/{recipe}/file",
    "/phone",
    "/report",
}
"""Whose answer is a file or a page that is made anew, a search of the network, or a pairing."""


async def test_head_has_nothing_made(app: Starlette, server: Running) -> None:
    ways = entrances(app)
    with_head = {one.path for one in ways if one.method == "HEAD"}
    assert {one.path for one in ways if one.method == "GET"} - with_head == {*MADE_FOR_GET, "/static/x"}
    admin = next(one for one in await callers(app.state.access, "x") if one.name == "a machine, admin")
    async with httpx.AsyncClient(base_url=server.http, headers=admin.headers) as client:
        for way in (one for one in ways if one.path in MADE_FOR_GET):
            answer = await client.head(way.address)
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET"), way


async def test_head_of_a_link_lets_nobody_in(app: Starlette, server: Running) -> None:
    access: Access = app.state.access
    _, secret = await access.add_token("linked", "viewer", None, None, "a test")
    async with httpx.AsyncClient(base_url=server.http, headers={"Accept": "text/html"}) as client:
        for path in ("/", "/enter"):
            answer = await client.head(path, params={"code": secret})
            assert "set-cookie" not in answer.headers
        assert access.sessions == []
        assert "set-cookie" in (await client.get("/", params={"code": secret})).headers


async def _handshake(server: Running, way: Entrance, who: Caller) -> int:
    headers, origin = dict(who.headers), who.headers.get("Origin")
    headers.pop("Origin", None)
    try:
        async with connect(f"{server.ws}{way.address}", additional_headers=headers, origin=origin):  # type: ignore[arg-type]
            return 200
    except InvalidStatus as refusal:
        return refusal.response.status_code


# --- a new route


def test_an_application_with_a_route_that_declares_nothing_is_not_made() -> None:
    async def endpoint(request: object) -> None: ...

    undeclared: list[BaseRoute] = [
        Route("/new", endpoint),
        WebSocketRoute("/ws/new", endpoint),
        Mount("/files", Starlette()),
    ]
    for route in undeclared:
        with pytest.raises(UndeclaredRoute, match="does not say who may use it"):
            guard([route])


def table(app: Starlette) -> str:
    """The table of docs/security.md."""
    by_role: dict[Role, dict[str, list[str]]] = {role: {} for role in Role}
    for way in entrances(app):
        if way.method not in ("HEAD", "OPTIONS"):
            mark = "" if way.need.streams is None else "°"
            path = way.path.replace("/static/x", "/static/…")
            by_role[way.need.role].setdefault(f"`{path}`{mark}", []).append(way.method)
    rows = ["| role | entrances |", "|---|---|"]
    for role, ways in by_role.items():
        name = "anybody" if role is Role.NOBODY else role.word
        texts = sorted(f"{', '.join(sorted(set(methods)))} {path}" for path, methods in ways.items())
        rows.append(f"| {name} | {' · '.join(sorted(texts, key=lambda text: text.partition('`')[2]))} |")
    return "\n".join(rows)


def test_the_documentation_has_the_same_table(app: Starlette) -> None:
    made = table(app)
    assert made in (ROOT / "docs" / "security.md").read_text(), f"docs/security.md should have this:\n{made}"


def told(app: Starlette) -> dict[str, Any]:
    return {str(one): one.need.role.word for one in entrances(app)}


def test_what_matters_most_is_as_it_was_decided(app: Starlette) -> None:
    """Said once more, by hand: a slip in a declaration is not repeated here."""
    assert (
        told(app).items()
        >= {
            "GET /health": "nobody",
            "GET /api/streams": "viewer",
            "WS /ws/live/{name}": "viewer",
            "WS /ws/stream": "operator",
            "POST /webrtc/offer": "operator",
            "POST /whip/{name}": "operator",
            "POST /api/streams/{name}/trigger": "operator",
            "POST /api/history/{entry}/disposition": "operator",
            "POST /api/pairings": "operator",
            "POST /api/teaching": "engineer",
            "POST /api/frames/{frame}/good": "engineer",
            "POST /api/streams/{name}/calibrate": "engineer",
            "DELETE /calibration": "engineer",
            "PATCH /api/recipes/{recipe}": "engineer",
            "POST /api/cameras": "admin",
            "POST /api/cameras/test": "admin",
            "POST /api/sinks": "admin",
            "POST /api/users": "admin",
            "POST /api/tokens": "admin",
            "DELETE /api/sessions/{session_id}": "admin",
            "GET /api/audit": "admin",
        }.items()
    )
