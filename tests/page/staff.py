"""A scene in which people log in, machines have tokens, and phones are paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page, expect

from server.ground.network_address import qr_svg
from tests.page.scene import AT, whoever
from tests.page.workshop import Body, Workshop

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAIRING = "https://10.0.0.12:8000/?code=dvp_4QmZr8sT1uVw2xYz"


def user(name: str, role: str, **more: Any) -> Body:
    """A login."""
    about = {"disabled": False, "created": AT, "password_changed": AT, "sessions": 1, "seen": AT}
    return {"name": name, "role": role} | about | more


def token(name: str, role: str = "operator", **more: Any) -> Body:
    """What a machine shows."""
    about = {"streams": None, "by": "ana", "created": AT, "expires": None, "expired": False, "used": AT}
    return {"id": f"id-{name}", "name": name, "role": role, "origin": "page"} | about | more


def session(id: str, name: str, role: str = "operator", **more: Any) -> Body:
    """A browser that is in, or a paired phone."""
    about = {"kind": "account", "streams": None, "address": "10.0.0.31", "browser": FIREFOX, "by": None, "own": False}
    return {"id": id, "name": name, "role": role, "created": AT, "seen": AT, "expires": AT} | about | more


def entry(seq: int, who: str, what: str, **more: Any) -> Body:
    """One line of the audit log."""
    about = {"at": AT, "how": "session", "role": "admin", "address": "10.0.0.31", "detail": "", "prev": "", "hash": ""}
    return {"seq": seq, "who": who, "what": what, "method": "POST", "path": "/api/users", "status": 201} | about | more


@dataclass
class Staff(Workshop):
    """``waits`` is whether the pairing still waits, ``url`` where others reach the server."""

    me: Body = field(default_factory=lambda: whoever("admin", "session"))
    users: list[Body] = field(
        default_factory=lambda: [user("ana-admin", "admin"), user("ben", "viewer", disabled=True, sessions=0)]
    )
    tokens: list[Body] = field(
        default_factory=lambda: [
            token("access code", "admin", id="access-code", origin="ACCESS_CODE", by=None, created=None),
            token("robot-4", streams=["press"], expires=AT, expired=True),
        ]
    )
    sessions: list[Body] = field(
        default_factory=lambda: [
            session("s1", "ana-admin", "admin", own=True),
            session("s2", "phone-1", kind="device", streams=["phone-1"], by="ana-admin"),
        ]
    )
    entries: list[Body] = field(
        default_factory=lambda: [
            entry(n, "ana-admin" if n % 2 else "ben", "log in" if n % 2 else "add a sink") for n in range(9, 4, -1)
        ]
    )
    warning: str | None = None
    url: str | None = PAIRING
    waits: bool = True

    def _said(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        first, *rest = path.removeprefix("/api/").split("/")
        if f"{method} {path}" in self.answers or (first == "me" and not rest):
            return super()._said(method, path, query, body)
        if first == "audit":
            older = [entry(n, "ana-admin", "an older one") for n in range(4, 0, -1)]
            page = older if "before" in query else self.entries
            return 200, {"entries": page, "next": None if "before" in query else 5, "warning": self.warning}
        if first == "pairings":
            if rest:
                return 200, {"id": rest[0], "waits": self.waits}
            made = {"id": "p1", "device": body["stream"], "path": "?code=dvp_", "good_for_s": 600, **body}
            return 201, made | {"url": self.url, "qr": self.url and qr_svg(self.url)}
        known: dict[str, Callable[[], list[Body]]] = {
            "users": lambda: self.users,
            "tokens": lambda: self.tokens,
            "sessions": lambda: self.sessions,
            "me": lambda: [one for one in self.sessions if one["kind"] == "account"],
        }
        if first in known and method == "GET":
            return 200, {"sessions" if first == "me" else first: known[first](), "room": 9}
        if first in known or first == "logout":
            return self._change(method, first, rest, body)
        return super()._said(method, path, query, body)

    def _change(self, method: str, first: str, rest: list[str], body: Any) -> tuple[int, Any]:
        if (first, method, rest) == ("users", "POST", []):
            self.users.append(user(body["name"], body["role"], sessions=0, seen=None))
            return 201, {"user": self.users[-1], "password": "wolf-tin-apple-94"}
        if (first, method) == ("tokens", "POST"):
            self.tokens.append(token(body["name"], body["role"], used=None))
            return 201, {"token": self.tokens[-1], "secret": "dvt_secret"}
        if method == "DELETE":
            self.sessions = [one for one in self.sessions if one["id"] != rest[-1]]
            return 200, {"ended": rest[-1]}
        return 200, {"name": rest[0] if rest else "", "password": "new-tin-apple-94", "done": True}


def people(page: Page) -> None:
    """Wait until Settings, People and machines, is filled."""
    expect(page.get_by_test_id("user")).to_have_count(2)
    expect(page.get_by_test_id("audit-entry")).to_have_count(5)


def own_login(page: Page) -> None:
    """Open the sheet of one's own login, at its form for the password."""
    page.get_by_test_id("you-open").click()
    expect(page.get_by_test_id("you-session")).to_have_count(1)
    page.get_by_test_id("you-password-open").click()


def pairing(page: Page) -> None:
    """Have the QR code shown."""
    expect(page.get_by_test_id("connection")).not_to_have_text("Connecting")
    page.get_by_test_id("you-open").click()
    page.get_by_role("button", name="Pair a phone").click()
    page.get_by_test_id("pairing-show").click()
    expect(page.get_by_test_id("pairing-qr").locator("svg")).to_be_visible()


LONGEST = "W" * 64

ACCESS: dict[str, tuple[str, Staff, Callable[[Page], None]]] = {
    "people": ("/settings?show=people", Staff(warning="the disk is full"), people),
    "longest names": (
        "/settings?show=people",
        Staff(
            users=[user(LONGEST, "admin"), user("ben", "viewer", disabled=True, sessions=0)],
            tokens=[token(LONGEST, streams=[LONGEST, LONGEST])],
            sessions=[session("s2", LONGEST, kind="device", streams=[LONGEST], by=LONGEST, browser=2 * LONGEST)],
        ),
        people,
    ),
    "own login": ("/", Staff(), own_login),
    "pairing": ("/", Staff(), pairing),
    "barred": (
        "/teach",
        Staff(me=whoever("viewer", "session")),
        lambda page: expect(page.get_by_test_id("barred")).to_be_visible(),
    ),
}
"""States that have to do with access: where, with what, and how one gets there."""
