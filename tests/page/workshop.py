"""A scene in which recipes are changed, parts are taught, and cameras are set up: for the views beside Live."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from server.sinks.kinds import KINDS
from server.web.sink_bodies import kind_body
from tests.page.scene import AT, Scene, recipe

Body = dict[str, Any]


def change(action: str, to: int | None, was: str = "", became: str = "", **more: Any) -> Body:
    """One step of a recipe's history."""
    return {
        "when": AT,
        "who": "10.0.0.3",
        "action": action,
        "why": "",
        "on": "",
        "from_version": to - 1 if to and to > 1 else None,
        "to_version": to,
        "was": was,
        "became": became,
        "can_restore": bool(to and to > 1),
    } | more


def correction(id: str, kind: str = "good", **more: Any) -> Body:
    """One part that a model was told is good, or bad."""
    return {
        "id": id,
        "kind": kind,
        "learned": True,
        "at": AT,
        "who": "10.0.0.3",
        "why": "",
        "stream": "press",
        "place": None,
        "raw_score": 4.0,
        "patches": 3,
        "picture": f"api/recipes/bottle/corrections/{id}/picture",
    } | more


def teaching(**more: Any) -> Body:
    """A teaching to which nothing was shown yet."""
    return {
        "id": "t1",
        "name": "bracket 12",
        "stream": "press",
        "more_of": None,
        "state": "showing",
        "auto": True,
        "region": [0.1, 0.06, 0.9, 0.95],
        "pictures": [],
        "coverage": {"parts": 0, "of_last": 0, "new_of_last": 0, "enough": False, "sentence": "nothing was shown yet"},
        "last": None,
        "upload": None,
        "can_finish": False,
        "progress": None,
        "learning_s": None,
        "error": None,
        "recipe": None,
        "seconds": None,
        "threshold": None,
        "notes": [],
    } | more


def taken(number: int, **more: Any) -> Body:
    """One picture that was taken."""
    return {
        "number": number,
        "at": AT,
        "new": True,
        "copy": False,
        "outlier": False,
        "used": True,
        "why": None,
        "place": [0.58, 0.22, 0.72, 0.42],
        "picture": f"api/teaching/t1/pictures/{number}",
    } | more


def shown(parts: int, **more: Any) -> Body:
    """A teaching to which some parts were shown."""
    coverage = {
        "parts": parts,
        "of_last": min(parts, 20),
        "new_of_last": 2,
        "enough": False,
        "sentence": "of the last 20 parts, 2 brought something new: show more"
        if parts > 20
        else f"2 of {parts} parts brought something new: show more, 30 or so are good to begin with",
    }
    pictures = [taken(number, new=number < 2) for number in range(parts)]
    return teaching(**{"pictures": pictures, "coverage": coverage, "can_finish": parts >= 5} | more)


def camera(name: str, state: str = "live", origin: str = "page", problem: str | None = None) -> Body:
    """A camera that the server fetches itself."""
    return {
        "name": name,
        "source": f"rtsp://10.0.0.7/{name}",
        "from": origin,
        "width": None,
        "height": None,
        "fps": None,
        "crop": None,
        "patience": None,
        "state": state,
        "since": AT,
        "retry_in_s": 7.2 if state == "retrying" else None,
        "connects": 3,
        "failures": 1,
        "dropped": 0,
        "last_error": problem,
    }


def kinds() -> list[Body]:
    """The kinds of sinks as the server tells them."""
    return [msgspec.to_builtins(kind_body(kind)) for kind in KINDS.values()]


def sink(name: str, state: str = "up", kind: str = "webhook", words: str = "", **more: Any) -> Body:
    """A machine around that is told."""
    return {
        "id": f"id-{name}",
        "kind": kind,
        "name": name,
        "enabled": state != "off",
        "told": {"streams": [], "parts": "all", "verdicts": True, "results_per_s": 0.0, "state": True},
        "settings": {"url": "https://mes.plant/webhooks"} if kind == "webhook" else {},
        "secrets": ["secret"] if kind == "webhook" else [],
        "state": state,
        "since": AT,
        "words": words,
        "retry_in_s": 7.2 if state == "retrying" else None,
        "delivered": 1204,
        "refused": 0,
        "dropped": 0,
        "waiting": 0,
        "failures": 0,
        "last_error": None,
        "last_error_at": None,
    } | more


def settings() -> Body:
    """How a server for a whole network is set."""
    set_ = [
        ("HOST", "0.0.0.0", "environment", "The address it listens on.", False),
        ("ACCESS_CODE", "***", ".env", "Asked for wherever it is set.", True),
        ("MODEL_PATH", None, "default", "The folder of the model; without one the simulated line runs.", False),
    ]
    return {
        "settings": [dict(zip(("name", "value", "from", "about", "secret"), one, strict=True)) for one in set_],
        "addresses": ["https://10.0.0.12:8000/"],
        "https": {"on": True, "by": "server", "made_here": True, "fingerprint": "AB:" * 31 + "CD"},
        "machine": "inspection-pc",
        "data_dir": "/srv/defectvision/data",
        "env_file": "/srv/defectvision/.env",
        "version": "0.1.0",
    }


@dataclass
class Workshop(Scene):
    """``told`` is called with method, path and body before something that is no GET is answered."""

    history: list[Body] = field(
        default_factory=lambda: [change("regions", 3, "none", "1 ignored"), change("taught", 1)]
    )
    corrections: list[Body] = field(default_factory=list)
    teachings: list[Body] = field(default_factory=list)
    cameras: list[Body] = field(default_factory=list)
    sinks: list[Body] = field(default_factory=list)
    kinds: list[Body] = field(default_factory=kinds)
    tried: Body = field(default_factory=dict)
    told: Callable[[str, str, Any], None] = lambda *_: None

    @property
    def changed(self) -> list[tuple[str, str, Any]]:
        """What was asked for that is no GET, under ``/api``."""
        return [(how, where.removeprefix("/api/"), body) for how, where, body in self.asked if how != "GET"]

    def _said(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if f"{method} {path}" in self.answers:
            return super()._said(method, path, query, body)
        if method != "GET":
            self.told(method, path, body)
        first, *rest = path.removeprefix("/api/").split("/")
        if first == "recipes" and rest:
            return 200, self._recipe(method, rest, body)
        if first == "teaching":
            return 200, self._teaching(method, rest)
        if first == "settings":
            return 200, settings()
        if first == "cameras":
            found = (
                self.tried if rest == ["test"] else body if method == "POST" else {"cameras": self.cameras, "room": 8}
            )
            return 200, found
        if first == "sinks":
            told = {"sinks": self.sinks, "kinds": self.kinds, "room": 16 - len(self.sinks)}
            return 200, self.tried if rest[-1:] == ["test"] else told if method == "GET" else body or {}
        if re.fullmatch(r"/api/streams/[^/]+/recipe", path):
            return 200, {"stream": rest[0], "name": self.recipes[0]["name"], "switched_ms": 12.0}
        return super()._said(method, path, query, body)

    def _recipe(self, method: str, rest: list[str], body: Any) -> Any:
        found = next((one for one in self.recipes if one["id"] == rest[0]), self.recipes[0])
        steps = rest[1:]
        if method == "GET" and steps:
            kept = {"corrections": self.corrections, "entries": 36, "most_entries": 400}
            return self.history if steps == ["history"] else kept
        if method != "GET":
            found["version"] += 1
        if method == "PATCH":
            found |= {name: value for name, value in body.items() if name not in ("why", "version")}
        if method == "DELETE" and steps:
            self.corrections = [one for one in self.corrections if one["id"] != steps[1]]
        return found

    def _teaching(self, method: str, rest: list[str]) -> Any:
        if method == "DELETE" and len(rest) == 1:
            return self.teachings.pop()
        return self.teachings[0] if rest or method == "POST" else {"teachings": self.teachings}


def beside_live() -> dict[str, tuple[str, Workshop, str]]:
    """States of the views beside Live: where, with what, and the test id of what is seen then."""
    struck_out = shown(24, last={"taken": False, "why": "this is the same part, lying still: show another"})
    struck_out["pictures"][20] |= {"outlier": True, "used": False, "why": "it differs from the others"}
    done = {"state": "done", "recipe": "bottle", "seconds": 3.4, "threshold": "about 1 in 30 good parts is rejected"}
    problem = "its model folder cannot be read: manifest.json is missing"
    recipes = [
        recipe("bottle", "Bottle, brown"),
        recipe("lid", "A lid with a name that is far longer than what fits", model=None, problem=problem, streams=[]),
    ]
    cameras = [
        camera("press", origin="CAMERAS"),
        camera("lid-station", "retrying", problem="the camera refused the connection"),
    ]
    sinks = [
        sink("mes", words="delivering to mes.plant"),
        sink(
            "quality-archive-of-line-4",
            "retrying",
            last_error="nothing listens at mes.plant on that port: is the receiver started?",
            waiting=312,
            dropped=1200,
        ),
        sink("rejects", "off", "folder", delivered=0),
    ]
    corrections = [
        correction("c1", why="scratches are allowed"),
        correction("c2", "bad", place=[[0, 0], [1, 0], [1, 1]]),
    ]
    return {
        "begin": ("/teach", Workshop(), "teach-source"),
        "showing": ("/teach#t1", Workshop(teachings=[struck_out]), "outlier"),
        "failed": ("/teach#t1", Workshop(teachings=[shown(6, state="failed", error="no room")]), "teach-banner"),
        "uploading": ("/teach#t1", Workshop(teachings=[teaching(stream=None)]), "teach-drop"),
        "learning": (
            "/teach#t1",
            Workshop(teachings=[shown(30, state="learning", progress=0.4, learning_s=12.3)]),
            "teach-learning",
        ),
        "taught": ("/teach#t1", Workshop(teachings=[shown(30) | done]), "teach-result"),
        "recipe": ("/recipes#bottle", Workshop(recipes=recipes, corrections=corrections), "recipe-correction"),
        "history": ("/history?show=changes", Workshop(), "change"),
        "settings": ("/settings", Workshop(cameras=cameras, sinks=sinks), "sink"),
    }
