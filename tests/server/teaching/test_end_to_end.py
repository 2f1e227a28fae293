"""A part is taught from a running stream, for real: frames over WebSocket, Done over REST, verdicts by its recipe."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from detector.images import BGRImage, encode_jpeg
from server.ingest import simulated_stream
from tests.server.fakes import FakeModel, http, serving
from tests.server.teaching.fakes import part

LONG_S = 100.0
"""For learning, on a machine that is busy with other tests."""
STREAM = "bench"


class Camera:
    """Sends one picture again and again, until it shows another.

    Attributes:
        results: the latest messages of each type.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.results: list[dict[str, Any]] = []
        self._connection = connection
        self._frame = encode_jpeg(part(0), quality=95)[0]

    def show(self, frame: BGRImage) -> None:
        self._frame = encode_jpeg(frame, quality=95)[0]
        self.results.clear()

    async def send(self) -> None:
        while True:
            await self._connection.send(self._frame)
            await asyncio.sleep(0.05)

    async def hear(self) -> None:
        async for text in self._connection:
            message = json.loads(text)
            if message["type"] == "result":
                self.results.append(message)


@contextlib.asynccontextmanager
async def camera(url: str) -> AsyncIterator[Camera]:
    async with connect(f"{url}/ws/stream?name={STREAM}") as connection:
        found = Camera(connection)
        tasks = [asyncio.create_task(found.send()), asyncio.create_task(found.hear())]
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def when(client: httpx.AsyncClient, path: str, condition: Callable[[Any], bool]) -> Any:
    """What is answered, once it is so."""
    async with asyncio.timeout(LONG_S):
        while not condition(body := (await client.get(path)).json()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return body


async def verdict(camera: Camera, frame: BGRImage) -> dict[str, Any]:
    """The verdict on a frame, once those before it are through."""
    camera.show(frame)
    async with asyncio.timeout(LONG_S):
        while len(camera.results) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return camera.results[-1]


async def test_parts_shown_to_a_stream_become_what_it_is_inspected_with(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, http(server) as client, camera(server.ws) as shown:
        client.timeout = httpx.Timeout(LONG_S)
        assert (await verdict(shown, part(0)))["verdict"] == "ANOMALY", "by the model that was given"
        wanted = {"name": "bracket", "stream": STREAM, "preset": "fast"}
        begun = await client.post("/api/teaching", json=wanted)
        assert begun.status_code == 201, begun.text
        path = f"/api/teaching/{begun.json()['id']}"
        for number in range(7):
            shown.show(part(number))
            await when(client, path, lambda body, parts=number + 1: len(body["pictures"]) == parts)
        assert not shown.results, "a stream that is taught is not inspected"
        again = (await client.post(f"{path}/take")).json()
        assert not again["last"]["taken"] and "same part" in again["last"]["why"]
        assert again["coverage"]["parts"] == 7 and again["can_finish"]
        assert (await client.post(f"{path}/done")).json()["state"] == "learning"
        done = await when(client, path, lambda body: body["state"] != "learning")
        assert done["state"] == "done", done["error"]
        assert done["seconds"] > 0 and done["threshold"]
        good = await verdict(shown, part(3))
        assert good["verdict"] == "NORMAL" and good["recipe"] == done["recipe"]
        defect = part(3)
        defect[30:60, 50:80] = (0, 0, 255)
        assert (await verdict(shown, defect))["verdict"] == "ANOMALY"
        recipe = (await client.get(f"/api/recipes/{done['recipe']}")).json()
        assert recipe["name"] == "bracket" and recipe["model"]["pictures"] == 7
        assert recipe["model"]["can_be_taught_more"] and recipe["streams"] == [STREAM]
        assert simulated_stream.NAME not in recipe["streams"]
    assert not (tmp_path / "teaching").exists()
