"""Two gateways of one plant: how long after a change at one the other inspects by it.

    python -m benchmarks.plant [--rounds 40]

Two servers (``defectvision serve``), a PostgreSQL and a folder that both mount, all on this machine. A stream at each
sends frames as fast as they are answered. At the first gateway a recipe is renamed, chosen for the second's stream, a
part forgiven and that taken back, a calibration made and forgotten; measured is from the moment its answer came to the
first result at the second gateway that is by it. Results by the version before that come after one by the new version
are counted: there must be none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import websockets

import detector
from tests.detector.parts import draw_part, draw_parts
from tests.running import ROOT, free_port
from tests.server.records.postgres import PASSWORD, USER, running_postgresql
from tests.server.web.test_recipes import png
from training.reports.markdown import table

START_S, CHANGE_S = 120.0, 20.0


class Gateway:
    """A server of the plant."""

    def __init__(self, folder: Path, name: str, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        more = {"PORT": str(self.port), "DATA_DIR": str(folder / name), "GATEWAY_NAME": name, "PYTHONPATH": str(ROOT)}
        self._log = (folder / f"{name}.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "serve"],
            env=os.environ | environment | more,
            cwd=folder,
            stdout=self._log,
            stderr=self._log,
        )
        self.client = httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60)
        self.results: list[tuple[float, dict[str, Any]]] = []

    async def up(self, statuses: tuple[int, ...] = (200, 503)) -> None:
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await self.client.get("/health")).status_code in statuses:
                        return
                await asyncio.sleep(0.05)

    async def send(self, name: str, frame: bytes) -> None:
        """One frame after the other, each once the one before is answered."""
        async with websockets.connect(f"ws://127.0.0.1:{self.port}/ws/stream?name={name}", proxy=None) as stream:
            while True:
                await stream.send(frame)
                while True:
                    message = await stream.recv()
                    if isinstance(message, str) and (found := _json(message)).get("type") in ("result", "error"):
                        self.results.append((time.perf_counter(), found))
                        break

    async def stop(self) -> None:
        await self.client.aclose()
        self._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.wait, 15)
        self._log.close()


def _json(message: str) -> dict[str, Any]:
    import json

    return dict(json.loads(message))


async def first_by(gateway: Gateway, asked: float, is_new: Callable[[dict[str, Any]], bool]) -> float:
    """When the first result came that is by a change which was asked for at ``asked``, seconds."""
    at = len(gateway.results)
    async with asyncio.timeout(CHANGE_S):
        while True:
            for when, found in gateway.results[max(0, at - 200) :]:
                if found["type"] == "result" and when >= asked and is_new(found):
                    return when
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def plant(folder: Path) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two gateways that inspect, the first with a model."""
    detector.fit(draw_parts(12), image_size=128, coreset_size=200, category="disc").save(folder / "model")
    with running_postgresql(durable=True) as database:
        if database is None:
            sys.exit("PostgreSQL is not installed: python -m tests.equipment")
        address = await asyncio.to_thread(database.database)
        url = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{address.port}/{address.database}"
        shared = {"DATABASE_URL": url, "PLANT_STORE": f"file://{folder / 'store'}"}
        one = Gateway(folder, "one", shared | {"MODEL_PATH": str(folder / "model")})
        two = Gateway(folder, "two", shared)
        try:
            await one.up((200,))
            await two.up()
            yield one, two
        finally:
            await one.stop()
            await two.stop()


async def measured(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of change."""
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="defectvision-plant-") as folder:
        async with plant(Path(folder)) as (one, two):
            at_one = one.client
            (given,) = (await at_one.get("/api/recipes")).json()["recipes"]
            made = (await at_one.post(f"/api/recipes/{given['id']}/copy", json={"name": "discs"})).json()
            other = (await at_one.post(f"/api/recipes/{given['id']}/copy", json={"name": "plates"})).json()
            (await at_one.post("/api/recipes/default", json={"recipe": made["id"]})).raise_for_status()
            await two.up((200,))
            bad = png(draw_part(3, defect=True))
            sending = [asyncio.create_task(one.send("press", bad)), asyncio.create_task(two.send("lathe", bad))]
            await first_by(two, time.perf_counter(), lambda found: found["recipe"] == made["id"])

            async def change(
                what: str, request: Awaitable[httpx.Response], is_new: Callable[[dict[str, Any]], bool]
            ) -> None:
                asked = time.perf_counter()
                (await request).raise_for_status()
                answered = time.perf_counter()
                took.setdefault(what, []).append(max(0.0, (await first_by(two, asked, is_new) - answered) * 1000))

            for turn in range(rounds):
                now = (await at_one.get(f"/api/recipes/{made['id']}")).json()["version"]
                answer = at_one.patch(f"/api/recipes/{made['id']}", json={"version": now, "name": f"discs {turn}"})
                await change("a recipe renamed", answer, lambda found, next=now + 1: found["recipe_version"] == next)
                frames = (await at_one.get("/api/streams/press/frames", params={"kind": "alarm"})).json()["frames"]
                before = two.results[-1][1]["raw_score"]
                answer = at_one.post(f"/api/frames/{frames[0]['id']}/good", json={})
                await change("a part forgiven", answer, lambda found, was=before: found["raw_score"] < was)
                listed = (await at_one.get(f"/api/recipes/{made['id']}/corrections")).json()["corrections"]
                now = (await at_one.get(f"/api/recipes/{made['id']}")).json()["version"]
                correction = f"/api/recipes/{made['id']}/corrections/{listed[-1]['id']}"
                answer = at_one.delete(correction, params={"version": now})
                await change("that taken back", answer, lambda found, was=before: found["raw_score"] == was)
                for wanted in (other, made):
                    answer = at_one.post("/api/streams/lathe/recipe", json={"recipe": wanted["id"]})
                    await change(
                        "another recipe chosen", answer, lambda found, wanted=wanted: found["recipe"] == wanted["id"]
                    )
            for stream in sending:
                stream.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            took["older after newer"] = [float(_older_after_newer(two.results))]
    return took


def _older_after_newer(results: list[tuple[float, dict[str, Any]]]) -> int:
    newest: dict[str, int] = {}
    older = 0
    for _, found in results:
        if found["type"] == "result":
            recipe, version = found["recipe"], found["recipe_version"]
            older += version < newest.get(recipe, 0)
            newest[recipe] = max(version, newest.get(recipe, 0))
    return older


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    took = asyncio.run(measured(arguments.rounds))
    older = int(took.pop("older after newer")[0])
    rows = [
        [
            what,
            str(len(found)),
            f"{statistics.median(found):.0f}",
            f"{statistics.quantiles(found, n=20)[-1]:.0f}",
            f"{max(found):.0f}",
        ]
        for what, found in took.items()
    ]
    print(table(["at the first gateway", "times", "median, ms", "p95, ms", "longest, ms"], rows))
    print(f"\nResults by an older version after one by a newer: {older}.")


if __name__ == "__main__":
    main()
