"""A calibration judges itself before it is in force; over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

from server.inspection import Calibrations, captured
from server.web import calibrate
from tests.running import Running
from tests.server.fakes import THRESHOLD, WAIT_S, FakeModel, healthy, http, listed, part, picture, serving, until

GOOD = [40.0 + number * 7 % 10 for number in range(13)]
DEFECTS = [140.0 + number for number in range(8)]


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path) as server:
        yield server


@pytest.fixture
async def client(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with http(server) as client:
        yield client


def files(brightnesses: Sequence[float]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{number}.png", part(int(one), number))) for number, one in enumerate(brightnesses)]


async def post(client: httpx.AsyncClient, brightnesses: Sequence[float], **query: Any) -> httpx.Response:
    return await client.post("/calibrate", files=files(brightnesses), params=query)


async def draft_of(client: httpx.AsyncClient, brightnesses: Sequence[float] = GOOD, **query: Any) -> dict[str, Any]:
    answer = await post(client, brightnesses, dry_run="true", **query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


MIXED = [*GOOD[:6], *DEFECTS[:4], *GOOD[6:], *DEFECTS[4:]]
AT = [6, 7, 8, 9, 17, 18, 19, 20]


# --- what carries a warning does not apply itself ---


async def test_of_eight_defects_among_twenty_one_frames_all_are_named_and_nothing_changes(
    client: httpx.AsyncClient, server: Running, tmp_path: Path
) -> None:
    answer = await post(client, MIXED)
    assert answer.status_code == 409
    body = answer.json()
    assert "Nothing was changed" in body["error"] and body["draft"]
    suspects = body["judgement"]["suspects"]
    assert [one["index"] for one in suspects] == AT
    assert [one["raw_score"] for one in suspects] == DEFECTS
    for one in suspects:
        shown = cv2.imdecode(np.frombuffer(base64.b64decode(one["picture"]), np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and max(shown.shape) <= 160 and one["why"]
    assert (await healthy(server))["threshold_source"] == "model"
    assert not (tmp_path / "calibration.json").exists()


async def test_the_answer_sets_it_without_or_with_them(client: httpx.AsyncClient) -> None:
    without = (await post(client, MIXED, include_suspects="false")).json()
    assert without["n_images"] == 13 and without["new_threshold"] < 70
    judged = without["judgement"]
    assert judged["threshold"] == without["new_threshold"] == without["threshold"] and judged["left_out"] == AT
    assert (judged["suspects"], judged["warnings"], without["warning"]) == ([], [], None)
    including = (await post(client, MIXED, include_suspects="true")).json()
    assert including["n_images"] == 21 and including["new_threshold"] > 200
    assert including["warning"] == "8 frames look like defects, and the threshold was placed with them"
    (recipe,) = (await client.get("/api/recipes")).json()["recipes"]
    steps = (await client.get(f"/api/recipes/{recipe['id']}/history")).json()
    assert [step["on"] for step in steps if step["action"] == "calibrated"] == [
        "21 different parts", "13 different parts",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pictures", "words"),
    [([part(50, 0)] * 20, "one part lying still"), ([picture(40 + number) for number in range(20)], "show nothing")],
    ids=["still", "blank"],
)
async def test_what_is_refused_cannot_be_set_by_insisting(
    client: httpx.AsyncClient, tmp_path: Path, pictures: list[bytes], words: str
) -> None:
    sent = [("files", (f"{number}.png", data)) for number, data in enumerate(pictures)]
    for query in ({}, {"include_suspects": "true"}, {"include_suspects": "false"}):
        answer = await client.post("/calibrate", files=sent, params=query)
        assert answer.status_code == 422 and "nothing was changed" in answer.json()["error"]
        assert words in answer.json()["error"] and words in answer.json()["judgement"]["refused"]
    dry = await client.post("/calibrate", files=sent, params={"dry_run": "true"})
    assert dry.status_code == 200 and dry.json()["draft"] is None and words in dry.json()["judgement"]["refused"]
    assert not (tmp_path / "calibration.json").exists()


async def test_known_defects_keep_the_threshold_below_them(client: httpx.AsyncClient, tmp_path: Path) -> None:
    defects = [("defects", (f"bad-{brightness}.png", part(brightness))) for brightness in (60, 90)]
    answer = await client.post("/calibrate", files=[*files(GOOD), *defects], params={"k": 10})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["judgement"]["margin"] == {"highest_good": max(GOOD), "lowest_defect": 60}
    assert max(GOOD) < body["threshold"] < 60 and body["n_images"] == 13
    assert Calibrations(tmp_path).warning is None, "it follows from what is beside it"
    (step,) = (await client.get("/api/calibration/history")).json()
    assert step["why"] == "calibrated on 13 pictures, 2 more of known defects"
    passing = await client.post("/calibrate", files=[*files(GOOD), ("defects", ("same.png", part(round(min(GOOD)))))])
    assert passing.status_code == 409 and "1 of 1 known defects would pass" in passing.json()["error"]
    broken = await client.post("/calibrate", files=[*files(GOOD), ("defects", ("bad.png", b"no picture"))])
    assert broken.status_code == 422 and "bad.png" in broken.json()["error"]


# --- drafts ---


async def test_a_dry_run_changes_nothing_and_is_applied_later(
    client: httpx.AsyncClient, server: Running, tmp_path: Path
) -> None:
    body = await draft_of(client)
    assert body["judgement"]["in_force"] == THRESHOLD == body["threshold"]
    assert (body["threshold_source"], body["warning"]) == ("model", None)
    assert "independent parts" in body["judgement"]["promise"]["stronger"]
    assert not (tmp_path / "calibration.json").exists()
    applied = (await client.post(f"/api/calibration/drafts/{body['draft']}/apply")).json()
    assert applied["threshold"] == applied["new_threshold"] == body["new_threshold"]
    assert (applied["threshold_source"], applied["draft"], applied["warning"]) == ("calibration", None, None)
    health = await healthy(server)
    told = health["calibration"]
    assert told["rule"] == {"k": 3.0} and told["transport"] == "pictures" and told["when"] == told["created"]
    assert told["promise"].startswith("good parts rejected: about") and told["no_promise"] is None


async def test_frames_are_left_out_by_one_press_and_brought_back(client: httpx.AsyncClient) -> None:
    body = await draft_of(client, MIXED)
    path = f"/api/calibration/drafts/{body['draft']}"
    fewer = (await client.post(path, json={"leave_out": [6, 7]})).json()
    assert fewer["draft"] == body["draft"]
    assert [one["index"] for one in fewer["judgement"]["suspects"]] == AT[2:]
    assert (fewer["judgement"]["left_out"], fewer["judgement"]["parts"]) == ([6, 7], 19)
    all_again = (await client.post(path, json={"leave_out": []})).json()
    assert all_again["judgement"] == body["judgement"]
    clean = (await client.post(path, json={"leave_out": [*AT, 6]})).json()
    assert clean["judgement"]["suspects"] == [] and clean["warning"] is None
    applied = (await client.post(f"{path}/apply")).json()
    assert applied["n_images"] == 13 and applied["threshold"] == clean["new_threshold"]
    (step,) = (await client.get("/api/calibration/history")).json()
    assert step["why"] == "calibrated on 13 of 21 frames"


async def test_a_discarded_draft_is_gone(client: httpx.AsyncClient) -> None:
    path = f"/api/calibration/drafts/{(await draft_of(client))['draft']}"
    assert (await client.delete(path)).status_code == 200
    for answer in (await client.delete(path), await client.post(f"{path}/apply")):
        assert answer.status_code == 404 and "capture again" in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"leave_out": null}',
        b'{"leave_out": [-1]}',
        b'{"leave_out": [1.5]}',
        b'{"leave_out": [13]}',
        b'{"leave_out": ["1"]}',
        b'{"leave_out": [NaN]}',
        b'{"leave_out": [1], "k": 1000}',
        b'{"leave_out": ' + b"[" * 5000,
        json.dumps({"leave_out": [0] * 201}).encode(),
        b"\xff\xfe",
    ],
)
async def test_what_is_no_list_of_frames_changes_nothing(client: httpx.AsyncClient, body: bytes) -> None:
    path = f"/api/calibration/drafts/{(await draft_of(client))['draft']}"
    answer = await client.post(path, content=body)
    assert answer.status_code == 422 and answer.json()["error"]
    assert (await client.post(f"{path}/apply")).json()["n_images"] == 13


@pytest.mark.parametrize("name", ["x", "a" * 500, "%2e%2e", "%00", "..%2fapply", "é"])
async def test_a_wrong_name_finds_nothing(client: httpx.AsyncClient, name: str) -> None:
    for answer in (
        await client.post(f"/api/calibration/drafts/{name}", json={"leave_out": []}),
        await client.post(f"/api/calibration/drafts/{name}/apply"),
        await client.delete(f"/api/calibration/drafts/{name}"),
    ):
        assert answer.status_code in (404, 405), answer.text


async def test_leaving_out_all_refuses_and_cannot_be_applied(client: httpx.AsyncClient, tmp_path: Path) -> None:
    path = f"/api/calibration/drafts/{(await draft_of(client))['draft']}"
    answer = await client.post(path, json={"leave_out": list(range(13))})
    assert answer.status_code == 200 and answer.json()["judgement"]["refused"]
    applied = await client.post(f"{path}/apply")
    assert applied.status_code == 422 and applied.json()["judgement"]["refused"]
    assert not (tmp_path / "calibration.json").exists()


async def test_many_drafts_push_the_oldest_out(client: httpx.AsyncClient) -> None:
    names = [(await draft_of(client, GOOD[:3]))["draft"] for _ in range(captured.MOST_DRAFTS + 2)]
    answers = [await client.post(f"/api/calibration/drafts/{name}", json={"leave_out": []}) for name in names]
    assert [answer.status_code for answer in answers] == [404] * 2 + [200] * captured.MOST_DRAFTS


async def test_two_pages_have_a_draft_each_and_the_second_is_told_what_it_replaced(client: httpx.AsyncClient) -> None:
    first, second = await draft_of(client, GOOD), await draft_of(client, [value + 5 for value in GOOD])
    one = (await client.post(f"/api/calibration/drafts/{first['draft']}/apply")).json()
    two = (await client.post(f"/api/calibration/drafts/{second['draft']}/apply")).json()
    assert one["warning"] is None
    assert "it replaced another threshold" in two["warning"] and f"{one['threshold']:.4g}" in two["warning"]
    undone = (await client.post("/calibration/undo")).json()
    assert undone["threshold"] == one["threshold"] and undone["said"].startswith("the calibration of")


async def test_pressed_twice_it_is_applied_once(client: httpx.AsyncClient) -> None:
    path = f"/api/calibration/drafts/{(await draft_of(client))['draft']}/apply"
    answers = await asyncio.gather(*(client.post(path) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404, 404]
    assert len((await client.get("/api/calibration/history")).json()) == 1


async def test_a_draft_of_a_model_that_was_replaced_is_refused(tmp_path: Path, model: FakeModel) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        path = f"/api/calibration/drafts/{(await draft_of(client))['draft']}"
        model.hash = "b" * 64
        for answer in (await client.post(path, json={"leave_out": []}), await client.post(f"{path}/apply")):
            assert answer.status_code == 409 and "another model" in answer.json()["error"]


async def test_a_disk_that_is_full_keeps_the_draft(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.ground import kept_file

    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    path = f"/api/calibration/drafts/{(await draft_of(client))['draft']}/apply"
    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "write_atomically", full)
        assert (await client.post(path)).status_code == 507
        assert (await client.post("/calibration/undo")).status_code == 409
        other = await client.post("/calibration/undo", params={"when": "2026-01-01T00:00:00.000+00:00"})
        assert other.status_code == 409 and "nothing was undone" in other.json()["error"]
    assert (await client.post(path)).status_code == 200


# --- history ---


async def test_history_and_undo_survive_a_restart(tmp_path: Path, model: FakeModel) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        await post(client, GOOD, k=6)
        await client.post(
            "/calibrate", files=files([v + 5 for v in GOOD]), params={"one_in": 50}, headers={"Origin": server.http}
        )
        await client.delete("/calibration")
    async with serving(model, tmp_path) as server, http(server) as client:
        forgot, second, first = (await client.get("/api/calibration/history")).json()
        assert (first["rule"], second["rule"], forgot["rule"]) == ({"k": 6.0}, {"one_in": 50}, None)
        assert (first["from"], forgot["to"]) == (THRESHOLD, THRESHOLD)
        assert first["to"] == second["from"] and second["to"] == forgot["from"]
        assert (first["who"], second["who"]) == ("127.0.0.1", "a page at 127.0.0.1")
        assert (first["n"], first["transport"], first["stream"], first["action"]) == (13, "pictures", None, "set")
        for threshold in (second["to"], first["to"], THRESHOLD):
            assert (await client.post("/calibration/undo")).json()["threshold"] == pytest.approx(threshold)
        answer = await client.post("/calibration/undo")
        assert answer.status_code == 409 and "nothing to undo" in answer.json()["error"]
        assert [step["undone"] for step in (await client.get("/api/calibration/history")).json()] == [False] * 3 + [True] * 3  # fmt: skip  # noqa: E501


async def test_no_secret_is_in_the_history(tmp_path: Path, model: FakeModel) -> None:
    code = "a code nobody guesses"
    async with serving(model, tmp_path) as server, http(server) as client:
        headers = {"Authorization": f"Bearer {code}", "User-Agent": code, "From": code}
        await client.post("/calibrate", files=files(GOOD), params={"code": code}, headers=headers)
        assert code not in (tmp_path / "calibration.json").read_text()
        assert code not in (await client.get("/api/calibration/history")).text


# --- on a stream ---


async def send(camera: ClientConnection, brightnesses: Sequence[float]) -> None:
    """Each frame gets its result before the next is sent."""
    for number, brightness in enumerate(brightnesses):
        await camera.send(part(int(brightness), number))
        async with asyncio.timeout(WAIT_S):
            await camera.recv()


async def calibrated_on(
    client: httpx.AsyncClient, camera: ClientConnection, brightnesses: Sequence[float], **query: Any
) -> httpx.Response:
    """Calibrate on a stream whose camera sends these frames, over and over, until the answer is there."""
    query = {"n": len(brightnesses), "seconds": 0} | query
    asked = asyncio.create_task(client.post("/api/streams/press/calibrate", params=query))
    async with asyncio.timeout(WAIT_S):
        while not asked.done():
            await send(camera, brightnesses)
    return await asked


async def test_a_stream_tells_its_calibration_and_what_came_true_since(
    client: httpx.AsyncClient, server: Running
) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        answer = await calibrated_on(client, camera, GOOD, one_in=20)
        assert answer.status_code == 200, answer.text
        before = await listed(server, "press")
        await send(camera, [*GOOD, *GOOD, 150])
        told = await listed(server, "press")
    assert before is not None and told is not None
    assert told["threshold"] == answer.json()["threshold"] and told["threshold_source"] == "calibration"
    calibration = told["calibration"]
    assert calibration["rule"] == {"one_in": 20} and calibration["transport"] == "websocket"
    assert calibration["stream"] == "press" and "good parts rejected" in calibration["promise"]
    since = told["since_calibration"]
    earlier = (before["since_calibration"] or {"rejected": 0})["rejected"]
    assert since["rejected"] - earlier >= 1 and since["promise_at_most"] > 0 and "frames rejected" in since["sentence"]


async def test_listeners_hear_of_a_calibration(client: httpx.AsyncClient, server: Running) -> None:
    async with (
        connect(f"{server.ws}/ws/live/press") as viewer,
        connect(f"{server.ws}/ws/stream?name=press") as camera,
        asyncio.timeout(WAIT_S),
    ):
        for _ in range(2):
            assert "calibration" not in json.loads(await viewer.recv())
        await post(client, GOOD)
        change = json.loads(await viewer.recv())
        assert (change["type"], change["what"], change["who"]) == ("change", "threshold", "127.0.0.1")
        assert change["threshold_source"] == "calibration"
        told = json.loads(await viewer.recv())
        assert (told["type"], told["state"]) == ("status", "live")
        assert told["calibration"]["rule"] == {"k": 3.0} and "since_calibration" not in told
        await send(camera, [45])
        await viewer.recv()
        async with connect(f"{server.ws}/ws/live/press") as late:
            assert json.loads(await late.recv())["since_calibration"]["accepted"] == 1
        await client.post("/calibration/undo")
        assert json.loads(await viewer.recv())["threshold_source"] == "model"
        assert "calibration" not in json.loads(await viewer.recv())


async def test_the_latest_results_say_what_would_change(client: httpx.AsyncClient, server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        await send(camera, [110, 111] + [45] * 10)
        recent = (await calibrated_on(client, camera, GOOD, dry_run="true", k=10)).json()["judgement"]["recent"]
    assert recent["now_rejected"] == 2 and 12 < recent["of"] <= 200
    assert recent["then_rejected"] >= recent["now_rejected"]


async def test_what_a_dry_run_leaves_out_its_draft_leaves_out(client: httpx.AsyncClient) -> None:
    judged = (await post(client, MIXED, include_suspects="false", dry_run="true")).json()
    assert judged["judgement"]["left_out"] == AT and judged["n_images"] == 13
    highest = judged["judgement"]["highest"]
    assert [one["raw_score"] for one in highest] == sorted(GOOD, reverse=True)[: len(highest)] and highest
    applied = (await client.post(f"/api/calibration/drafts/{judged['draft']}/apply")).json()
    assert applied["threshold"] == judged["new_threshold"]


async def test_applied_says_which_change_undo_takes_back(client: httpx.AsyncClient) -> None:
    applied = (await post(client, GOOD)).json()
    (step,) = (await client.get("/api/calibration/history")).json()
    assert applied["when"] == step["when"]
    answers = await asyncio.gather(*(client.post("/calibration/undo", params={"when": step["when"]}) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_scoring_stops_when_nobody_waits(server: Running, model: FakeModel) -> None:
    async with http(server) as client:
        model.gate.clear()
        waiting = asyncio.create_task(post(client, GOOD))
        await until(lambda: model.detected == 1)
        waiting.cancel()
    async with http(server) as other:
        model.gate.set()
        await until(lambda: model.detected >= 1)
        assert (await post(other, GOOD)).status_code == 200
    assert model.detected < 2 * len(GOOD)


@pytest.mark.parametrize("query", ["onein=30", "dryrun=true", "dry_run", "dry_run=", "include_suspects=perhaps"])
async def test_a_misspelt_wish_changes_nothing(client: httpx.AsyncClient, tmp_path: Path, query: str) -> None:
    answer = await client.post(f"/calibrate?{query}", files=files(GOOD))
    assert answer.status_code == 422 and query.partition("=")[0] in answer.json()["error"]
    as_field = dict([query.split("=")] if "=" in query else [(query, "")])
    assert (await client.post("/calibrate", files=files(GOOD), data=as_field)).status_code == 422
    assert not (tmp_path / "calibration.json").exists()


async def test_pictures_say_where_they_change_nothing(client: httpx.AsyncClient, server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        first = (await calibrated_on(client, camera, GOOD)).json()
        assert first["warning"] is None
        later = (await post(client, GOOD, k=9)).json()
        assert f"{first['threshold']:.4g} over WebSocket" in later["warning"]
        told = await listed(server, "press")
        assert told is not None and told["threshold"] == first["threshold"]


async def test_a_stream_over_another_transport_is_warned_of(client: httpx.AsyncClient, server: Running) -> None:
    await post(client, GOOD)
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        await send(camera, [45])
        told = await listed(server, "press")
        assert told is not None and ["from pictures" in words for words in told["warnings"]] == [True]
        await calibrated_on(client, camera, GOOD)
        told = await listed(server, "press")
        assert told is not None and told["warnings"] == []


async def test_per_stream_a_calibration_is_for_that_stream(model: FakeModel, tmp_path: Path) -> None:
    async with (
        serving(model, tmp_path, calibrate_per="stream") as server,
        http(server) as client,
        connect(f"{server.ws}/ws/stream?name=press") as camera,
        connect(f"{server.ws}/ws/stream?name=saw"),
    ):
        await calibrated_on(client, camera, GOOD)
        press, saw = await listed(server, "press"), await listed(server, "saw")
    assert press is not None and press["threshold_source"] == "calibration"
    assert saw is not None and (saw["threshold_source"], saw["calibration"]) == ("model", None)


async def test_a_camera_that_is_taken_over_in_mid_capture_ends_it(
    client: httpx.AsyncClient, server: Running, tmp_path: Path
) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        asked = asyncio.create_task(client.post("/api/streams/press/calibrate", params={"n": 200, "seconds": 0}))
        await send(camera, GOOD)
        async with connect(f"{server.ws}/ws/stream?name=press") as newer:
            await send(newer, GOOD)
            answer = await asked
    assert answer.status_code == 409 and "took press over" in answer.json()["error"]
    assert not (tmp_path / "calibration.json").exists()


async def test_who_leaves_in_mid_capture_leaves_nothing_behind(server: Running, tmp_path: Path) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as camera:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /api/streams/press/calibrate?n=5&seconds=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")  # fmt: skip  # noqa: E501
        await send(camera, GOOD[:2])
        writer.transport.abort()
        await until(lambda: len(server.server.server_state.connections) == 1)
        await send(camera, GOOD * 2)
        assert reader is not None
        assert not (tmp_path / "calibration.json").exists()


async def test_more_captures_at_once_than_may_be_are_refused(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http(server) as client, connect(f"{server.ws}/ws/stream?name=press") as camera:
        asked = [
            asyncio.create_task(client.post("/api/streams/press/calibrate", params={"n": 13, "seconds": 0}))
            for _ in range(calibrate.MAX_CAPTURING + 1)
        ]
        done, waiting = await asyncio.wait(asked, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().status_code for task in done] == [503]
        while not all(task.done() for task in waiting):
            await send(camera, GOOD)
        assert {task.result().status_code for task in waiting} == {200}


@pytest.mark.parametrize("query", ["n=1e9", "n=201", "n=nan", "seconds=inf", "seconds=601", "n=-5", "one_in=1", "k=nan", "dry_run=maybe", "k=1000", "k=0"])  # fmt: skip  # noqa: E501
async def test_what_cannot_be_asked_is_refused_at_once(client: httpx.AsyncClient, server: Running, query: str) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press"):
        answer = await client.post(f"/api/streams/press/calibrate?{query}")
    assert answer.status_code == 422 and "must be" in answer.json()["error"]
