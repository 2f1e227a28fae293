"""A scene with a history: parts as the server lists them, what is said of them, numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.page.scene import AT, THRESHOLD, kept
from tests.page.workshop import Body, Workshop


def part(number: int, verdict: str = "ANOMALY", **changes: Any) -> Body:
    """One entry of the history."""
    failed = verdict == "FAILED"
    return {
        "seq": number,
        "id": f"id-{number}",
        "kind": "part",
        "stream": "press",
        "at": f"2026-11-26T09:{number % 60:02}:05.250+00:00",
        "began_at": AT,
        "number": number,
        "part": f"P-{number}",
        "source": "trigger",
        "trigger": number,
        "trigger_id": None,
        "triggered_by": "rest",
        "verdict": verdict,
        "was": None,
        "why": "no frame came in time" if failed else None,
        "score": None if failed else 0.71 if verdict == "ANOMALY" else 0.12,
        "raw_score": None if failed else 12.5,
        "threshold": None if failed else THRESHOLD,
        "threshold_source": None if failed else "calibration",
        "frames": 3,
        "anomalous": 2,
        "cycle_ms": 61.5,
        "inspection_ms": 14.1,
        "overruns": 0,
        "recipe": "bottle",
        "recipe_version": 3,
        "model": "a" * 64,
        "simulated": False,
        "picture": None if failed else f"id-{number}",
        "picture_kept": not failed,
        "disposition": None,
        "disposed_at": None,
        "disposed_by": None,
        "note": None,
    } | changes


def row(hour: int, total: int, rejected: int, **changes: Any) -> Body:
    """Numbers of one hour."""
    return {
        "since": f"2026-11-26T{hour:02}:00:00+00:00",
        "until": f"2026-11-26T{hour + 1:02}:00:00+00:00",
        "shift": None,
        "stream": None,
        "recipe": None,
        "recipe_version": None,
        "total": total,
        "rejected": rejected,
        "failed": 1,
        "overruns": 0,
        "first_pass_yield": (total - rejected - 1) / total,
        "confirmed": 4,
        "false_rejects": 1,
        "escapes": 0,
        "false_reject_rate": 0.2,
        "score_p05": 0.05,
        "score_median": 0.12,
        "score_p95": 0.4,
        "score_p99": 0.8,
        "cycle_mean_ms": 61.5,
        "cycle_worst_ms": 1240.0,
    } | changes


SHIFT = ("2026-11-26T22:00:00", "2026-11-27T06:00:00")
"""The one that runs; by the clock of the browser, wherever that is."""


@dataclass
class Histories(Workshop):
    """``parts``: newest first; ``notes``: what the archive has to say."""

    parts: list[Body] = field(
        default_factory=lambda: [part(40 - n, disposition="confirmed" if n == 2 else None) for n in range(30)]
    )
    problem: str | None = None
    away: str | None = None
    page_size: int = 12
    free: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Frames, and how many with an alarm, of streams that run freely."""

    def _said(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if known := self.answers.get(f"{method} {path}"):
            return known(body)
        if path == "/api/archive":
            return 200, self._archive()
        if path == "/api/history/state":
            return 200, {"state": "ok", "warning": None, "parquet": True}
        if self.away is not None and path.startswith(("/api/history", "/api/numbers")):
            return 503, {"error": self.away}
        if path == "/api/history":
            return 200, self._page(query)
        if path == "/api/history/count":
            return 200, {"count": len(self._wanted(query)), "exact": True}
        if path == "/api/numbers":
            rows = [row(hour, 300 + 20 * hour, hour - 5) for hour in range(6, 14)]
            if query.get("of") == ["frame"]:
                return 200, self._frames(query)
            if query.get("by") == ["shift"]:
                rows = [row(22, 4240, 36, since=SHIFT[0], until=SHIFT[1], shift="22:00")]
            if query.get("each") == ["stream"] and query.get("by") == ["all"]:
                rows = [row(6, 10, 1) | {"stream": "line-away"}]
            return 200, {"since": rows[0]["since"], "until": rows[-1]["until"], "of": "part", "by": "hour"} | {
                "rows": rows,
                "all": row(6, 4240, 36, since=rows[0]["since"], until=rows[-1]["until"]),
                "shifts": ["06:00", "14:00", "22:00"],
            }
        if found := re.fullmatch(r"/api/history/([^/]+)(/disposition|/frame)?", path):
            return self._one(found[1], found[2], body)
        return super()._said(method, path, query, body)

    def _frames(self, query: dict[str, list[str]]) -> dict[str, Any]:
        frames = {"first_pass_yield": None, "failed": 0, "cycle_mean_ms": None, "cycle_worst_ms": None}
        rows = [row(6, total, alarms, stream=name) | frames for name, (total, alarms) in self.free.items()]
        all_ = row(6, sum(total for total, _ in self.free.values()) or 1, 0) | frames
        about = {"since": all_["since"], "until": all_["until"], "of": "frame", "by": "all", "shifts": []}
        return about | {"rows": rows, "all": all_ if rows else all_ | {"total": 0}}

    def _one(self, id: str, what: str | None, body: Any) -> tuple[int, Any]:
        known = next((one for one in self.parts if one["id"] == id), None)
        if known is None:
            return 404, {"error": "the history has no such entry"}
        if what == "/disposition":
            known |= {"disposition": body["disposition"], "disposed_at": AT, "disposed_by": "a page at 10.0.0.3"}
            return 200, known
        if what == "/frame":
            at = f"api/history/{id}"
            about = {"id": id, "part": known["part"], "picture": f"{at}/picture", "heatmap": f"{at}/overlay"}
            return 200, kept(1) | about
        said = [{"disposition": known["disposition"], "note": None, "who": "a page at 10.0.0.3", "at": AT}]
        return 200, {"entry": known, "said": said if known["disposed_at"] else []}

    def _wanted(self, query: dict[str, list[str]]) -> list[Body]:
        verdict, disposition = (query.get(name, [None])[0] for name in ("verdict", "disposition"))
        return [
            one
            for one in self.parts
            if verdict in (None, one["verdict"])
            and (disposition is None or (one["disposition"] or "none") == disposition)
            and (one["picture_kept"] or "pictured" not in query)
        ]

    def _page(self, query: dict[str, list[str]]) -> Body:
        before = int(query.get("before", ["1000000"])[0])
        found = [one for one in self._wanted(query) if one["seq"] < before]
        more = len(found) > self.page_size
        return {"entries": found[: self.page_size], "next": found[self.page_size - 1]["seq"] if more else None}

    def _archive(self) -> Body:
        return {
            "on": True,
            "pictures": 1204,
            "bytes": 240_000_000,
            "oldest": "2026-09-01",
            "counted": True,
            "free_bytes": 10**11,
            "limit_bytes": 20_000_000_000,
            "limit_days": 90,
            "limit_free_bytes": 2_000_000_000,
            "waiting": 0,
            "written": 3,
            "dropped": 0,
            "removed": 0,
            "problem": self.problem,
        }
