"""REST of a server that is not there: recipes, teaching and settings as a page may find them, by ``page.route``.

For states that are hard to provoke with a real server: conflicts, outliers, failures. Bodies as in docs/protocol.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from playwright.sync_api import Page, Route

from server.simulated_line import good_frames

Body = dict[str, Any]
AT = "2026-11-26T09:14:03.120Z"


HEALTH: Body = {
    "status": "ok",
    "reason": None,
    "progress": None,
    "model_category": "flange",
    "runtime": "openvino",
    "image_size": 320,
    "input_size": [320, 320],
    "backbone": "efficientnet-lite0",
    "model_hash": "ab" * 32,
    "threshold": 3.2,
    "threshold_source": "model",
    "calibration": None,
    "simulated": False,
    "simulated_stream": None,
    "ice_servers": [],
    "warnings": [],
    "streams": 0,
}


def stream(name: str, **more: Any) -> Body:
    """A running stream, as GET /api/streams lists it."""
    return {
        "name": name,
        "transport": "camera",
        "simulated": False,
        "since": AT,
        "received": 10,
        "inspected": 10,
        "dropped": 0,
        "failed": 0,
        "anomalies": 0,
        "received_per_s": 25.0,
        "inspected_per_s": 12.0,
        "latency_ms": 20.0,
        "viewers": 0,
        "state": "live",
        "last_verdict": None,
        "last_verdict_at": None,
        "warnings": [],
        "threshold": 3.2,
        "threshold_source": "model",
        "calibration": None,
        "since_calibration": None,
        "recipe": "r1",
        "recipe_name": "flange",
        "recipe_version": 4,
        "is_taught": False,
        "parts": 0,
        "parts_rejected": 0,
        "yield": None,
        "parts_since": AT,
        **more,
    }


def jpegs(count: int = 4) -> list[bytes]:
    """Small pictures of rendered parts."""
    frames = [cv2.resize(frame, (320, 240)) for frame in good_frames(count)]
    return [cv2.imencode(".jpg", np.asarray(frame, np.uint8))[1].tobytes() for frame in frames]


def recipe(id: str = "r1", name: str = "flange", **more: Any) -> Body:
    """One version of a recipe, as GET /api/recipes/ID answers it."""
    return {
        "id": id,
        "name": name,
        "version": 4,
        "model": {
            "category": name,
            "hash": "ab" * 32,
            "taught": "ab" * 32,
            "pictures": 42,
            "forgiven": 2,
            "remembered": 1,
            "region": [0.12, 0.08, 0.88, 0.94],
            "registration": None,
            "can_be_corrected": True,
            "can_be_taught_more": True,
        },
        "regions": {"include": [], "ignore": [[[0.6, 0.55], [0.8, 0.55], [0.8, 0.8], [0.6, 0.8]]]},
        "rule": {"one_in": 30, "k": None, "raw": None},
        "decision": {"kind": "n_of_m", "n": 2, "m": 3, "release": 0.9},
        "options": {"max_fps": None},
        "threshold": 3.217,
        "threshold_source": "calibration",
        "streams": [],
        "is_default": False,
        "is_given": False,
        "problem": None,
        "changed": AT,
        "who": "10.0.0.3",
        "why": "regions",
        **more,
    }


def change(action: str, to: int | None, was: str = "", became: str = "", **more: Any) -> Body:
    """One step of a history."""
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
        **more,
    }


def teaching(**more: Any) -> Body:
    """A teaching to which nothing was shown yet."""
    return {
        "id": "t1",
        "name": "bracket 12",
        "stream": "simulated-line",
        "more_of": None,
        "state": "showing",
        "auto": True,
        "region": [0.1, 0.06, 0.9, 0.95],
        "pictures": [],
        "coverage": {"parts": 0, "of_last": 0, "new_of_last": 0, "enough": False, "sentence": "nothing was shown yet"},
        "last": None,
        "can_finish": False,
        "progress": None,
        "error": None,
        "recipe": None,
        "seconds": None,
        "threshold": None,
        "notes": [],
        **more,
    }


def picture(number: int, **more: Any) -> Body:
    """One picture that was taken."""
    return {
        "number": number,
        "at": AT,
        "new": True,
        "copy": False,
        "outlier": False,
        "used": True,
        "why": None,
        "picture": f"api/teaching/t1/pictures/{number}",
        **more,
    }


@dataclass
class FakedRest:
    """What the page finds; ``asked`` is what it asked for, but for GET: method, path and body."""

    recipes: list[Body] = field(default_factory=list)
    history: list[Body] = field(default_factory=list)
    corrections: list[Body] = field(default_factory=list)
    alarms: list[Body] = field(default_factory=list)
    teachings: list[Body] = field(default_factory=list)
    cameras: list[Body] = field(default_factory=list)
    settings: Body = field(default_factory=dict)
    tried: Body = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Answers by ``METHOD path``, instead of the usual ones."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=jpegs)
    on_ask: Callable[[str, str, Any], None] = lambda *_: None

    def install(self, page: Page) -> FakedRest:
        """Answer what ``page`` asks of these; all else goes to its server."""
        page.route(re.compile(r"/api/(recipes|teaching|settings|cameras|frames|streams/[^/]+/)"), self._answer)
        return self

    def install_all(self, page: Page, *streams: Body) -> FakedRest:
        """The same for a page without a server: it is ready, and has these streams."""
        page.route(re.compile(r"/health$"), lambda route: self._json(route, HEALTH))
        page.route(re.compile(r"/api/streams$"), lambda route: self._json(route, {"streams": [*streams]}))
        return self.install(page)

    def _answer(self, route: Route) -> None:
        request = route.request
        url = urlsplit(request.url)
        path, method = url.path.partition("/api/")[2], request.method
        try:
            body = request.post_data_json if method != "GET" else None
        except (ValueError, UnicodeDecodeError):
            body = "multipart"
        if method != "GET":
            self.asked.append((method, path, body))
        if refusal := self.refuse.get(f"{method} {path}"):
            self._json(route, {"error": refusal[1]}, refusal[0])
            return
        if re.search(r"(picture|live|heatmap|pictures/\d+)$", path) and method == "GET":
            number = int("".join(re.findall(r"\d+", path)) or 0)
            route.fulfill(body=self.pictures[number % len(self.pictures)], content_type="image/jpeg")
            return
        if method != "GET":
            self.on_ask(method, path, body)
        self._json(route, self._body(method, path, body, parse_qs(url.query)))

    def _body(self, method: str, path: str, body: Any, query: dict[str, list[str]]) -> Any:
        first, *rest = path.split("/")
        if first == "recipes":
            return self._recipe(method, rest, body)
        if first == "teaching":
            if method == "DELETE":
                self.teachings.clear()
                return {}
            if method == "GET" and not rest:
                return {"teachings": self.teachings}
            return self.teachings[0] if self.teachings else {}
        if first == "settings":
            return self.settings
        if first == "cameras":
            return (
                self.tried if rest == ["test"] else body if method == "POST" else {"cameras": self.cameras, "room": 8}
            )
        if first == "streams" and rest[1:] == ["frames"]:
            return {"frames": self.alarms if query["kind"] == ["alarm"] else [], "forgotten": 0}
        return {
            "stream": rest[0],
            "recipe": "r1",
            "version": 4,
            "name": "flange",
            "threshold": 3.2,
            "switched_ms": 12.0,
        }

    def _recipe(self, method: str, rest: list[str], body: Any) -> Any:
        if not rest:
            return self.recipes[0] if method == "POST" else {"recipes": self.recipes, "default": self.recipes[0]["id"]}
        found = next((one for one in self.recipes if one["id"] == rest[0]), self.recipes[0])
        if rest[1:] == ["history"]:
            return self.history
        if rest[1:] == ["corrections"]:
            return {"corrections": self.corrections, "entries": 36, "most_entries": 400}
        if method == "PATCH":
            found |= {name: value for name, value in body.items() if name not in ("why", "version")}
            found["version"] += 1
        if rest[1:2] == ["corrections"] and method == "DELETE":
            self.corrections = [one for one in self.corrections if one["id"] != rest[2]]
            found["version"] += 1
        if method == "POST" and rest[1:] == ["restore"]:
            found["version"] += 1
        return found

    @staticmethod
    def _json(route: Route, body: Any, status: int = 200) -> None:
        route.fulfill(status=status, body=json.dumps(body), content_type="application/json")
