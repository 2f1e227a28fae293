"""Triggers over HTTP and WebSocket: one verdict a part, refused in words while one is in work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import UNSET
from websockets.asyncio.client import ClientConnection, connect

from server.words import PartResult, Result, TriggerAnswer
from tests.running import Running
from tests.server.fakes import BAD, BROKEN, GOOD, FakeModel, http, listed, picture, read, serving

RECIPE = "given-aaaaaaaaaaaa"


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path) as server:
        yield server


async def by(server: Running, **parts: Any) -> None:
    """What a part is from now on."""
    async with http(server) as client:
        version = (await client.get(f"/api/recipes/{RECIPE}")).json()["version"]
        answer = await client.patch(f"/api/recipes/{RECIPE}", json={"version": version, "parts": parts})
        assert answer.status_code == 200, answer.text
        assert answer.json()["parts"]["by"] == parts["by"]


async def part_of(socket: ClientConnection) -> PartResult:
    async with asyncio.timeout(20):
        while not isinstance(message := read(await socket.recv()), PartResult):
            pass
        return message


async def answer_of(socket: ClientConnection) -> TriggerAnswer:
    async with asyncio.timeout(20):
        while not isinstance(message := read(await socket.recv()), TriggerAnswer):
            pass
        return message


async def trigger(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/api/streams/press/trigger", json=body)


async def test_one_verdict_a_trigger_with_its_ids(server: Running) -> None:
    await by(server, by="trigger", within_ms=20_000)
    async with (
        http(server) as client,
        connect(f"{server.ws}/ws/live/press") as hmi,
        connect(f"{server.ws}/ws/stream?name=press") as camera,
    ):
        await camera.send(BAD)
        result = json.loads(await camera.recv())
        assert (result["verdict"], result["part_number"]) == ("ANOMALY", 0)  # nobody triggered: no part
        taken = await trigger(client, part="A-1", trigger="plc-7")
        assert (taken.status_code, taken.json()) == (202, {"stream": "press", "trigger": 1, "trigger_id": "plc-7"})
        await camera.send(GOOD)
        part = await part_of(hmi)
        assert (part.verdict, part.part, part.trigger, part.trigger_id) == ("NORMAL", "A-1", 1, "plc-7")
        assert (part.triggered_by, part.source, part.frames, part.number) == ("rest", "trigger", 1, 1)
        assert part.recipe == RECIPE and part.raw_score == pytest.approx(50, abs=2) and part.heatmap
        waiting = asyncio.create_task(trigger(client, part="A-2", wait=True))
        while (stream := await listed(server, "press")) is None or stream["triggers"] < 2:
            pass
        await camera.send(BAD)
        verdict = (await waiting).json()
        assert (verdict["verdict"], verdict["part"], verdict["number"]) == ("ANOMALY", "A-2", 2)
        assert (await part_of(hmi)).part == "A-2"
        assert (await trigger(client, part="A-3")).status_code == 202
        refused = await trigger(client, part="A-4")
        assert refused.status_code == 409 and "busy" in refused.json()["error"]
        await camera.send(GOOD)  # of A-4, or whatever comes after it: A-3 is gone, and was not seen
        part = await part_of(hmi)
        assert (part.verdict, part.part, part.frames) == ("FAILED", "A-3", 0) and "another trigger" in str(part.why)
        stream = await listed(server, "press")
        assert stream is not None
        counted = ("parts", "parts_rejected", "parts_failed", "parts_by", "triggers", "triggers_refused")
        assert [stream[name] for name in counted] == [3, 1, 1, "trigger", 3, 1]


async def test_a_trigger_without_a_frame_fails_and_says_so(server: Running) -> None:
    await by(server, by="trigger", within_ms=50)
    async with http(server) as client, connect(f"{server.ws}/ws/stream?name=press") as camera:
        await camera.send(GOOD)
        verdict = (await trigger(client, wait=True)).json()
        assert (verdict["verdict"], verdict["frames"], verdict["raw_score"]) == ("FAILED", 0, None)
        assert "no frame came in time" in verdict["why"]
    async with http(server) as client:
        gone = await trigger(client)
        assert gone.status_code == 404 and "start its camera" in gone.json()["error"]


@pytest.mark.parametrize("body", [b'{"part": "', b'{"part": "a\\u0000b"}', b'{"part": "' + b"x" * 2_000 + b'"}'])
async def test_a_trigger_that_cannot_be_read_ends_the_part_in_work(server: Running, body: bytes) -> None:
    await by(server, by="trigger", within_ms=20_000)
    async with http(server) as client, connect(f"{server.ws}/ws/stream?name=press") as camera:
        assert (await trigger(client, part="A-1")).status_code == 202
        refused = await client.post("/api/streams/press/trigger", content=body)
        assert refused.status_code in (413, 422)
        await camera.send(GOOD)  # of the next part
        part = await part_of(camera)
        assert (part.verdict, part.part, part.frames) == ("FAILED", "A-1", 0)
        stream = await listed(server, "press")
        assert stream is not None and stream["triggers_refused"] == 1


async def test_a_damaged_frame_is_why_it_failed(server: Running) -> None:
    await by(server, by="trigger", within_ms=500)
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        await camera.send('{"trigger": "7"}')
        await camera.send(BROKEN)
        part = await part_of(camera)
        assert part.verdict == "FAILED" and part.why is not None and "picture" in part.why


async def test_the_sender_triggers_between_its_frames(server: Running) -> None:
    await by(server, by="trigger", within_ms=20_000)
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        for number, (frame, verdict) in enumerate([(GOOD, "NORMAL"), (BAD, "ANOMALY")], 1):
            await camera.send(json.dumps({"trigger": f"t{number}", "part": f"P{number}"}))
            await camera.send(frame)
            taken = await answer_of(camera)
            assert (taken.trigger, taken.trigger_id, taken.refused) == (number, f"t{number}", None)
            part = await part_of(camera)
            assert (part.part, part.trigger_id, part.verdict) == (f"P{number}", f"t{number}", verdict)
        await camera.send(json.dumps({"trigger": "t3", "part": "P3"}))
        await camera.send(json.dumps({"trigger": "again"}))
        await camera.send(GOOD)
        taken, refused = await answer_of(camera), await answer_of(camera)
        assert taken.trigger == 3 and refused.trigger is None and "busy" in str(refused.refused)
        part = await part_of(camera)
        assert (part.part, part.trigger_id, part.verdict) == ("P3", "t3", "FAILED")


async def test_the_part_in_work_ends_with_its_camera(server: Running) -> None:
    await by(server, by="trigger", within_ms=60_000)
    async with connect(f"{server.ws}/ws/live/press") as hmi:
        async with connect(f"{server.ws}/ws/stream?name=press") as camera:
            await camera.send('{"trigger": null, "part": "A"}')
            await answer_of(camera)
        part = await part_of(hmi)
        assert (part.verdict, part.part) == ("FAILED", "A") and part.why is not None and "went away" in part.why


async def test_a_frame_in_work_when_its_sender_goes_makes_no_second_part(server: Running, model: FakeModel) -> None:
    async with connect(f"{server.ws}/ws/live/press") as hmi:
        async with connect(f"{server.ws}/ws/stream?name=press") as camera:
            await camera.send('{"part": "A"}')
            await camera.send(GOOD)
            await camera.recv()
            model.gate.clear()
            detected = model.detected
            await camera.send(BAD)
            async with asyncio.timeout(20):
                while model.detected == detected:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert (await part_of(hmi)).part == "A"
        model.gate.set()
        async with connect(f"{server.ws}/ws/stream?name=press") as camera:
            await camera.send('{"part": "B"}')
            await camera.send(GOOD)
            await camera.send('{"part": null}')
            await camera.send(GOOD)
            assert (await part_of(hmi)).part == "B"


async def test_without_triggers_in_the_recipe_they_are_refused_in_words(server: Running) -> None:
    async with http(server) as client, connect(f"{server.ws}/ws/stream?name=press") as camera:
        await camera.send(GOOD)
        await camera.recv()
        refused = await trigger(client)
        assert refused.status_code == 409 and "under Recipes" in refused.json()["error"]


async def test_parts_that_come_into_the_gate(server: Running) -> None:
    gate = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    async with http(server) as client, connect(f"{server.ws}/ws/stream?name=press") as camera:

        async def show(*brightness: int) -> list[Any]:
            """The numbers of the parts that these frames are said to show."""
            numbers = []
            for one in brightness:
                await camera.send(_half(one))
                while not isinstance(message := read(await camera.recv()), Result):
                    pass
                numbers.append(message.part_number)
            return numbers

        assert await show(20) == [UNSET]  # nothing says what a part is
        looked = await client.post("/api/streams/press/gate", json={"gate": gate})
        assert looked.status_code == 200, looked.text
        refused = await client.patch(f"/api/recipes/{RECIPE}", json={"version": 1, "parts": {"by": "gate"}})
        assert refused.status_code == 422 and "empty" in refused.json()["error"]
        await by(server, by="gate", gate=gate, empty=looked.json()["empty"])
        assert await show(20, 60, 60, 60, 20, 150, 150, 20) == [0, 1, 1, 1, 0, 2, 2, 0]
        stream = await listed(server, "press")
        assert stream is not None and [stream["parts"], stream["parts_rejected"]] == [2, 1]


def _half(brightness: int) -> bytes:
    """A belt of brightness 20, with a part on a third of it."""
    import cv2
    import numpy as np

    image = np.full((48, 64, 3), 20, np.uint8)
    image[:, 20:40] = brightness
    return bytes(cv2.imencode(".png", image)[1].tobytes())


@pytest.mark.parametrize(
    "said", ['{"trigger": 7}', '{"trigger": "x", "more": 1}', '{"trigger": ""}', '{"trigger": ""}']
)
async def test_other_triggers_are_refused(server: Running, said: str) -> None:
    async with connect(f"{server.ws}/ws/stream") as socket:
        await socket.send(said)
        await socket.wait_closed()
        assert socket.close_code == 1008


async def test_of_hundreds_of_triggers_each_is_refused_in_words_or_has_its_verdict(server: Running) -> None:
    await by(server, by="trigger", within_ms=60_000)
    async with http(server) as client, connect(f"{server.ws}/ws/stream?name=press") as camera:
        answers = [await trigger(client) for _ in range(300)]
        assert {answer.status_code for answer in answers} <= {202, 409, 429}
        while (stream := await listed(server, "press")) is None or stream["parts"] < stream["triggers"]:
            await camera.send(picture(50))
        await camera.send('{"trigger": "last"}')
        await camera.send(picture(50))
        while (part := await part_of(camera)).trigger_id != "last":
            pass
        assert (part.trigger, part.verdict) == (stream["triggers"] + 1, "NORMAL")
