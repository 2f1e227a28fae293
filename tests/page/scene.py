"""A page whose server is played, to show any state at once: streams, recipes, kept frames and results.

The documents, scripts and headers are the real server's; what is asked under ``/api`` and ``/health`` is answered here,
and WebSockets are played inside of the browser (scene.js), so that results go on coming whatever the test does.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from playwright.sync_api import Page, Route

THRESHOLD = 9.43
AT = "2026-11-26T09:30:05.250+00:00"

PICTURE = re.compile(r"/(picture|thumbnail|live|pictures/\d+(/large)?)$")
SOCKETS = (Path(__file__).parent / "scene.js").read_text()


def _jpeg(brightness: int = 120) -> bytes:
    picture = np.full((240, 320, 3), 46, np.uint8)
    cv2.circle(picture, (160, 120), 84, (brightness, brightness, brightness), -1)
    cv2.circle(picture, (160, 120), 30, (40, 40, 40), -1)
    cv2.line(picture, (190, 60), (222, 96), (210, 215, 220), 3)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def _heat() -> tuple[dict[str, Any], bytes]:
    y, x = np.mgrid[0:24, 0:32]
    hot = np.clip(230 * np.exp(-((x - 20.5) ** 2 + (y - 7.5) ** 2) / 9), 20, 255).astype(np.uint8)
    overlay = np.zeros((240, 320, 4), np.uint8)
    overlay[..., 2], overlay[..., 1] = 214, 60
    overlay[..., 3] = cv2.resize(np.where(hot > 100, hot // 2, 0).astype(np.uint8), (320, 240))
    data = base64.b64encode(hot.tobytes()).decode()
    return {"width": 32, "height": 24, "data": data}, cv2.imencode(".png", overlay)[1].tobytes()


def stream(name: str, **changes: Any) -> dict[str, Any]:
    """One entry of the list of streams."""
    return {
        "name": name,
        "transport": "websocket",
        "simulated": False,
        "since": AT,
        "received": 900,
        "inspected": 300,
        "dropped": 600,
        "failed": 0,
        "anomalies": 4,
        "received_per_s": 30.0,
        "inspected_per_s": 10.0,
        "latency_ms": 14.2,
        "viewers": 1,
        "state": "live",
        "last_verdict": "NORMAL",
        "last_verdict_at": AT,
        "warnings": [],
        "threshold": THRESHOLD,
        "threshold_source": "calibration",
        "calibration": None,
        "since_calibration": None,
        "recipe": "bottle",
        "recipe_name": "Bottle, brown",
        "recipe_version": 3,
        "is_taught": False,
        "parts": 1204,
        "parts_rejected": 11,
        "yield": 1193 / 1204,
        "parts_failed": 0,
        "parts_by": "line",
        "triggers": 0,
        "triggers_refused": 0,
        "parts_since": AT,
    } | changes


def recipe(id: str, name: str, **changes: Any) -> dict[str, Any]:
    """One recipe as ``/api/recipes`` lists it."""
    return {
        "id": id,
        "name": name,
        "version": 3,
        "model": {
            "category": name,
            "hash": "a" * 64,
            "taught": "b" * 64,
            "pictures": 40,
            "forgiven": 1,
            "remembered": 0,
            "region": [0.15, 0.05, 0.85, 0.95],
            "registration": None,
            "can_be_corrected": True,
            "can_be_taught_more": True,
        },
        "regions": {"include": [], "ignore": [[[0.2, 0.7], [0.4, 0.7], [0.4, 0.9], [0.2, 0.9]]]},
        "rule": {"one_in": 30, "k": None, "raw": None},
        "decision": {"kind": "frame", "n": 1, "m": 1, "release": 0.9},
        "options": {"max_fps": None},
        "parts": {
            "by": "line",
            "n": 1,
            "frames": 0,
            "delay_ms": 0.0,
            "within_ms": 1000.0,
            "gate": [],
            "empty": [],
            "rests": True,
        },
        "threshold": THRESHOLD,
        "threshold_source": "calibration",
        "threshold_warning": None,
        "by_hand": None,
        "streams": ["press", "gate"],
        "is_default": True,
        "is_given": False,
        "is_loaded": True,
        "problem": None,
        "changed": AT,
        "who": "computer-1f2e",
        "why": "",
    } | changes


def kept(number: int, kind: str = "alarm", **changes: Any) -> dict[str, Any]:
    """One kept frame."""
    return {
        "id": f"{kind}-{number}",
        "kind": kind,
        "stream": "press",
        "at": f"2026-11-26T09:{10 + number:02}:05.250+00:00",
        "part": None,
        "score": 0.71,
        "raw_score": 12.5,
        "threshold": THRESHOLD,
        "verdict": "ANOMALY" if kind == "alarm" else "NORMAL",
        "recipe": "bottle",
        "recipe_version": 3,
        "picture": f"api/frames/{kind}-{number}/picture",
        "heatmap": f"api/frames/{kind}-{number}/heatmap",
        "disposition": None,
        "correction": None,
        "can_correct": True,
    } | changes


ROLES = ("viewer", "operator", "engineer", "admin")


def whoever(role: str = "admin", how: str = "open", **changes: Any) -> dict[str, Any]:
    """Who is at the page, as ``/api/me`` says it: everybody, on an open server."""
    closed = how != "open"
    return {
        "name": f"ana-{role}" if closed else "",
        "role": role,
        "may": list(ROLES[: ROLES.index(role) + 1]),
        "how": how,
        "streams": None,
        "login": how == "session",
        "session": "s1" if closed else None,
        "expires": AT if closed else None,
        "closed": closed,
    } | changes


COST = {
    "goods": 40,
    "goods_rejected": 1,
    "goods_rejected_then": 0,
    "goods_changed": 2,
    "defects": 3,
    "defects_passing": 0,
    "defects_passing_then": 0,
    "would_pass": [],
    "raw_score": 12.5,
    "raw_score_then": 6.1,
    "threshold": THRESHOLD,
    "sentence": "none of 3 remembered defects would pass; 2 of 40 good parts change their score, none is rejected",
}


@dataclass
class Scene:
    """What the played server says; ``asked`` is what was asked of it, ``(method, path, body)``; ``garbled`` are
    the paths that something in between answers with a page of its own."""

    streams: list[dict[str, Any]] = field(default_factory=lambda: [stream("press"), stream("gate")])
    recipes: list[dict[str, Any]] = field(
        default_factory=lambda: [recipe("bottle", "Bottle, brown"), recipe("cap", "Cap", version=1, streams=[])]
    )
    alarms: list[dict[str, Any]] = field(default_factory=lambda: [kept(n) for n in range(14, 0, -1)])
    recent: list[dict[str, Any]] = field(default_factory=lambda: [kept(n, "recent") for n in range(8, 0, -1)])
    health: dict[str, Any] = field(default_factory=dict)
    me: dict[str, Any] = field(default_factory=lambda: whoever())
    raws: list[float] = field(default_factory=lambda: [6.2, 6.6, 6.1, 7.0, 6.4])
    state: str = "live"
    runs: bool = True
    repeated: str | None = None
    cost: dict[str, Any] = field(default_factory=lambda: dict(COST))
    answers: dict[str, Callable[[Any], tuple[int, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    garbled: set[str] = field(default_factory=set)

    def play(self, page: Page) -> None:
        """From the next document on, the page sees this scene."""
        heat, self._overlay = _heat()
        cold = base64.b64encode(bytes([30]) * (heat["width"] * heat["height"])).decode()
        plays = {
            one["name"]: {
                "state": self.state,
                "runs": self.runs,
                "repeated": self.repeated,
                "raws": self.raws,
                "threshold": THRESHOLD,
                "recipe": one.get("recipe"),
            }
            for one in self.streams
        }
        picture = base64.b64encode(_jpeg()).decode()
        scene = json.dumps({"plays": plays, "heatmap": heat, "cold": cold, "picture": picture})
        page.add_init_script(SOCKETS.replace("document_scene", json.dumps(scene)))
        page.route(re.compile(r"/(api/|health)"), self._answer)

    def said(self, method: str, path: str) -> list[Any]:
        """The bodies that were sent to this path."""
        return [body for how, where, body in self.asked if (how, where) == (method, path)]

    def _answer(self, route: Route) -> None:
        request = route.request
        address = urlsplit(request.url)
        path = re.sub(r"^.*?/(api/|health)", r"/\1", address.path)
        try:
            body = json.loads(request.post_data) if request.post_data else None
        except ValueError:
            body = None  # an upload
        self.asked.append((request.method, path, body))
        if path in self.garbled:
            route.fulfill(body="<!doctype html><title>Welcome to the network</title>", content_type="text/html")
        elif PICTURE.search(path) and request.method == "GET":
            route.fulfill(body=_jpeg(), content_type="image/jpeg")
        elif path.endswith(("/heatmap", "/overlay")):
            route.fulfill(body=self._overlay, content_type="image/png")
        else:
            status, answer = self._said(request.method, path, parse_qs(address.query), body)
            route.fulfill(status=status, json=answer)

    def _said(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if known := self.answers.get(f"{method} {path}"):
            return known(body)
        if path == "/api/me":
            return 200, self.me
        if path == "/health":
            return 200, self._health()
        if path == "/api/streams":
            return 200, {"streams": self.streams}
        if path == "/api/recipes":
            return 200, {"recipes": self.recipes, "default": self.recipes[0]["id"]}
        if path.endswith("/frames"):
            kind = query["kind"][0]
            return 200, {"frames": self.alarms if kind == "alarm" else self.recent, "forgotten": 0}
        if found := re.fullmatch(r"/api/frames/([^/]+)/(good|bad|nothing)", path):
            return 200, self._dispose(found[1], found[2], body)
        if path.startswith("/api/connection"):
            return 200, {"host": "localhost", "access": True, "problem": None}
        return 404, {"error": "there is no such thing here"}

    def _dispose(self, frame: str, was: str, body: Any) -> dict[str, Any]:
        (known,) = [one for one in (*self.alarms, *self.recent) if one["id"] == frame]
        if was == "nothing":
            known |= {"disposition": None, "correction": None}
            return known
        applied = not body["dry_run"] if "dry_run" in body else True
        correction = "c1" if applied and body.get("learn", True) else None
        if applied:
            known |= {"disposition": was, "correction": correction}
        return {"applied": applied, "correction": correction, "cost": self.cost, "recipe": "bottle", "version": 3}

    def _health(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "reason": None,
            "progress": None,
            "model_category": "bottle",
            "runtime": "openvino",
            "image_size": 320,
            "input_size": [320, 320],
            "backbone": None,
            "model_hash": "a" * 64,
            "threshold": THRESHOLD,
            "threshold_source": "calibration",
            "calibration": None,
            "simulated": False,
            "simulated_stream": None,
            "warnings": [],
            "ice_servers": [],
            "version": "0.1.0",
        } | self.health
