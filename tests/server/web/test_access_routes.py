"""Every answer that is described of logins, tokens, sessions, pairings and the audit log, provoked and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from server.access import COOKIE, Access, passwords
from server.app import create_app
from server.settings import Settings
from server.web import openapi
from tests.server.fakes import FakeModel
from tests.server.web.test_openapi import OF_ACCESS, Checked

HERE = "http://10.0.0.1:8000"
PASSWORD = "seven green boats"
FULL = OSError(28, "No space left on device")


def _full(*_: Any, **__: Any) -> None:
    raise FULL


async def test_what_is_answered_is_what_the_document_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))
    app = create_app(Settings(data_dir=tmp_path, host="0.0.0.0"), make_model=FakeModel)  # type: ignore[arg-type]
    access = app.state.access
    access.store_account("boss", "admin", PASSWORD)
    document = openapi.describe(app.routes)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=HERE, headers={"Origin": HERE}) as client:
        checked = Checked(client, document)
        ask = checked.ask
        await ask("GET", "/api/me")
        await ask("POST", "/enter", data={"name": "boss", "password": PASSWORD})
        big = b'"' + b"x" * 20_000

        # logins
        await ask("GET", "/api/users")
        anna = {"name": "anna", "role": "viewer"}
        for body in (anna, anna, {"name": "a b", "role": "viewer"}):
            await ask("POST", "/api/users", json=body)
        for path, method in (
            ("/api/users", "POST"),
            ("/api/users/anna", "PATCH"),
            ("/api/users/anna/password", "POST"),
        ):
            await ask(method, path, content=big)
            await ask(method, path, json={"role": "god", "password": "x"})
        for name in ("anna", "nobody"):
            await ask("PATCH", f"/api/users/{name}", json={"role": "operator"})
            await ask("POST", f"/api/users/{name}/password", json={})
        await ask("PATCH", "/api/users/boss", json={"disabled": True})

        # one's own
        own = {"current": PASSWORD, "new": "eight red boats"}
        for change in ({**own, "current": "wrong"}, {**own, "new": "x"}, own):
            await ask("POST", "/api/me/password", json=change)
        await ask("POST", "/api/me/password", content=big)
        mine = (await ask("GET", "/api/me/sessions")).json()["sessions"]
        assert [one["own"] for one in mine] == [True]
        await ask("DELETE", "/api/me/sessions/none")
        account = access.accounts[0]
        cookies = [
            await access.open_session("account", "boss", stamp=account.stamp, address="10.0.0.2", browser="a test")
            for _ in range(4)
        ]
        others = [access.by_session(cookie, "").identity.session for cookie in cookies]
        await ask("GET", "/api/sessions")
        await ask("DELETE", f"/api/me/sessions/{others[0]}")
        await ask("DELETE", f"/api/sessions/{others[1]}")
        await ask("DELETE", "/api/sessions/none")

        # tokens
        plc = {"name": "plc", "role": "viewer", "streams": ["press"]}
        for body in (plc, plc, {**plc, "name": "p l c"}):
            await ask("POST", "/api/tokens", json=body)
        await ask("POST", "/api/tokens", content=big)
        (token,) = (await ask("GET", "/api/tokens")).json()["tokens"]
        await ask("DELETE", "/api/tokens/none")
        for path in ("/api/tokens/none", "/api/users/anna"):
            await ask("DELETE", path, params={"phones": "all"})

        # phones
        pairing = (await ask("POST", "/api/pairings", json={"stream": "phone-1"})).json()
        await ask("POST", "/api/pairings", json={"stream": "no name"})
        await ask("POST", "/api/pairings", content=big)
        assert (await ask("GET", f"/api/pairings/{pairing['id']}")).json()["waits"] is True
        assert (await ask("GET", "/api/pairings/none")).json()["waits"] is False

        # the log
        page = (await ask("GET", "/api/audit", params={"limit": 3})).json()
        assert len(page["entries"]) == 3 and page["next"] == page["entries"][-1]["seq"]
        rest = (await ask("GET", "/api/audit", params={"before": page["next"]})).json()
        assert rest["next"] is None and rest["entries"][-1]["what"] == "logged in"
        await ask("GET", "/api/audit", params={"limit": "all"})
        lines = (await ask("GET", "/api/audit.jsonl")).text.splitlines()
        assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))

        # who has no login here
        machine = {"Authorization": f"Bearer {(await access.add_token('m', 'admin', None, None, 'boss'))[1]}"}
        client.cookies.clear()
        for method, path in (
            ("GET", "/api/me/sessions"),
            ("DELETE", "/api/me/sessions/x"),
            ("POST", "/api/me/password"),
        ):
            await ask(method, path, json=own, headers=machine)
        client.headers["Cookie"] = f"{COOKIE}={cookies[2]}"

        with monkeypatch.context() as disk:
            disk.setattr("server.ground.kept_file.write_atomically", _full)
            await ask("POST", "/api/users", json={"name": "bo", "role": "viewer"})
            await ask("PATCH", "/api/users/anna", json={"role": "viewer"})
            await ask("POST", "/api/users/anna/password", json={})
            await ask("DELETE", "/api/users/anna")
            await ask("POST", "/api/me/password", json={"current": "eight red boats", "new": "nine blue boats"})
            await ask("POST", "/api/tokens", json={**plc, "name": "other"})
            await ask("DELETE", f"/api/tokens/{token['id']}")
            await ask("DELETE", f"/api/me/sessions/{others[3]}")
            await ask("DELETE", f"/api/sessions/{mine[0]['id']}")
        with monkeypatch.context() as busy:
            busy.setattr(passwords, "MOST_WAITING", -passwords.AT_ONCE)
            await ask("POST", "/api/users", json={"name": "bo", "role": "viewer"})
            await ask("POST", "/api/users/anna/password", json={})
            await ask("POST", "/api/me/password", json=own)
        with monkeypatch.context() as disk:
            disk.setattr("server.access.audit.newest", _full)
            disk.setattr("server.web.audit.files_of", _full)
            await ask("GET", "/api/audit")
            await ask("GET", "/api/audit.jsonl")
        await ask("DELETE", f"/api/tokens/{token['id']}")
        for name in ("anna", "anna", "boss"):
            await ask("DELETE", f"/api/users/{name}")
        await ask("POST", "/api/logout")
    described = {
        (path, method, int(status))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
        if path.startswith(OF_ACCESS) and int(status) not in openapi.EVERYWHERE
    }
    left = described - checked.seen
    assert left == {("/api/tokens/{token}", "delete", 409)}, "that takes an access code: test_logging_in.py"


async def test_phones_go_with_who_paired_them_where_that_is_asked_for(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), make_model=FakeModel)  # type: ignore[arg-type]
    access = app.state.access
    robot, _ = await access.add_token("robot", "operator", None, None, "boss")
    for name in ("anna", "bert", "cleo"):
        await access.add_account(name, "operator", None)

    async def paired(by: str) -> str:
        """The cookie of a phone."""
        cookie: str = await access.open_session(
            "device", "phone", address="", browser="", role="operator", streams=("press",), by=by
        )
        return cookie

    phones = {(by, number): await paired(by) for by in ("robot", "Anna", "bert", "cleo") for number in range(2)}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        ended = [
            (await client.delete(f"/api/tokens/{robot.id}?phones=1")).json()["phones"],
            (await client.delete("/api/users/anna", params={"phones": 1})).json()["phones"],
            (await client.delete("/api/users/bert")).json().get("phones", 0),
        ]
        assert (await client.patch("/api/users/cleo?phones=1", json={"disabled": True})).json()["disabled"]
    assert ended == [2, 2, 0]
    left = {by for (by, _), cookie in phones.items() if access.by_session(cookie, "") is not None}
    assert left == {"bert"}
    assert len(Access(tmp_path, closed=True).sessions) == 2, "nor after a restart"
