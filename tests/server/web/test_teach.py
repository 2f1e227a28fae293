"""Teaching over REST, with a process that learns which is made up."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from starlette.applications import Starlette

from detector.images import decode, encode_jpeg, encode_png
from server.settings import Settings
from server.teaching import Teachings, files
from server.web import ERRORS, Teach, answer_error, openapi, teach, uploads_held
from tests.server.fakes import asked_by_anybody
from tests.server.teaching.fakes import BLACK, FakeLearner, FakeLibrary, FakeStream, part, picture

JPEG = "image/jpeg"
STEPS = ("take", "done", "live", "pictures", "large")


class Teacher:
    """A client that begins to teach, and holds every answer against what is documented."""

    def __init__(self, folder: Path) -> None:
        self.data, self.stream, self.library = folder / "data", FakeStream(), FakeLibrary(folder)
        self.learners: list[FakeLearner] = []
        self.teachings = Teachings(self.data, self.library, {"line": self.stream}.get, make_learner=self._learner)
        settings = Settings(data_dir=self.data, max_upload_mb=0.1)
        routes = Teach(settings, self.teachings, self.library, uploads_held(settings.max_upload_bytes)).routes
        self.document = openapi.describe(routes)
        app = Starlette(routes=routes, exception_handlers=dict.fromkeys(ERRORS, answer_error))
        self.app = asked_by_anybody(app)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")

    def _learner(self, *arguments: Any) -> FakeLearner:
        self.learners.append(FakeLearner(*arguments))
        return self.learners[-1]

    async def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The body of an answer with this status code."""
        answer = await self.client.request(method, f"/api/teaching{path}", **options)
        assert answer.status_code == status, answer.text
        template = "/api/teaching" + "".join(
            f"/{step if step in STEPS else '{number}' if place else '{teaching}'}"
            for place, step in enumerate(path.split("/")[1:])
        )
        described = self.document["paths"][template][method.lower()]["responses"][str(status)]
        if status == 204 or answer.headers["content-type"] == JPEG:
            return answer.content
        schema = described["content"]["application/json"]["schema"]
        Draft202012Validator({**self.document, **schema}).validate(answer.json())
        return answer.json()

    async def begin(self, **wanted: Any) -> str:
        """The path of a new teaching."""
        body = await self.ask("POST", "", 201, json={"name": "bracket"} | wanted)
        return f"/{body['id']}"

    async def upload(self, path: str, *pictures: bytes, status: int = 200) -> Any:
        sent = [("files", (f"{number}.png", data)) for number, data in enumerate(pictures)]
        return await self.ask("POST", f"{path}/pictures", status, files=sent)


@pytest.fixture
async def teacher(tmp_path: Path) -> AsyncIterator[Teacher]:
    teacher = Teacher(tmp_path)
    async with teacher.client:
        yield teacher
    await teacher.teachings.close()


def zipped(pictures: dict[str, bytes], mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in pictures.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            file.writestr(entry, data)
    return buffer.getvalue()


async def test_from_uploaded_pictures_to_a_recipe(teacher: Teacher) -> None:
    path = await teacher.begin()
    body = await teacher.upload(path, *map(picture, range(6)), picture(3))
    assert [shown["number"] for shown in body["pictures"]] == [1, 2, 3, 4, 5, 6] and body["can_finish"]
    assert body["notes"] == ["1 picture shows a part that was shown already, lying still: they count once"]
    assert body["coverage"]["parts"] == 6 and body["region"] == [0.1, 0.2, 0.9, 0.8] and body["stream"] is None
    small = await teacher.ask("GET", f"{path}/pictures/2")
    assert decode(small).shape == part(1).shape
    body = await teacher.ask("POST", f"{path}/done")
    assert body["state"] == "learning" and body["learning_s"] >= 0
    while body["state"] == "learning":
        await asyncio.sleep(0.005)  # a client in the same process never waits by itself
        body = await teacher.ask("GET", path)
    assert (body["state"], body["recipe"]) == ("done", "recipe-1") and body["threshold"] and body["seconds"] >= 0
    assert not [*teacher.data.rglob("*.png")] and len(teacher.library.pictures("recipe-1")) == 6
    seen = await teacher.client.get("/api/recipes/recipe-1/picture")
    assert decode(seen.content).shape == part(1).shape
    assert (await teacher.client.get("/api/recipes/none/picture")).status_code == 404
    await teacher.ask("DELETE", path)
    assert (await teacher.ask("GET", ""))["teachings"] == []


async def test_a_folder_in_one_zip(teacher: Teacher) -> None:
    path = await teacher.begin()
    folder = {f"good/../../{n}.png": picture(n) for n in range(5)} | {"good/notes.txt": b"x", "good/dark.png": b"no"}
    body = await teacher.upload(path, zipped(folder))
    assert len(body["pictures"]) == 5 and body["notes"][0].startswith("dark.png: not a JPEG")
    written = [one.relative_to(teacher.data).parts for one in teacher.data.rglob("*") if one.is_file()]
    assert all(parts[0] == "teaching" and parts[2] == "pictures" for parts in written)


async def test_an_upload_that_ends_before_its_body_did_is_remembered_until_pictures_come(teacher: Teacher) -> None:
    path = await teacher.begin()
    await teacher.upload(path, picture(1))
    sent = teacher.client.build_request("POST", f"/api/teaching{path}/pictures", files={"files": picture(2)})
    parts = iter([{"type": "http.request", "body": sent.read()[:50], "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(parts)

    async def send(_: object) -> None:
        pass

    headers = [(name.lower(), value) for name, value in sent.headers.raw]
    where = {"path": sent.url.path, "raw_path": sent.url.raw_path, "query_string": b"", "root_path": ""}
    await teacher.app({"type": "http", "method": "POST", "headers": headers, **where}, receive, send)
    body = await teacher.ask("GET", path)
    words = "the upload broke off before its pictures had come: bring the same again, what was taken is known"
    assert (body["notes"], len(body["pictures"])) == ([words], 1)
    assert body["upload"] == {"state": "broken", "of": 0, "looked_at": 0, "taken": 0}
    body = await teacher.upload(path, picture(1), picture(2))
    assert body["upload"] == {"state": "over", "of": 2, "looked_at": 2, "taken": 1} and words not in body["notes"]


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (zipped({"a.png": picture(1)}, stat.S_IFLNK | 0o777), "a link"),
        (zipped({"a.zip": b"x"}), "another archive"),
        (zipped({"a.png": bytes(200_000)}), "over 0.1 MB"),
        (zipped({}), "no picture"),
        (b"PK\x03\x04nothing", "damaged"),
    ],
)
async def test_zips_that_mean_harm_are_refused_in_words(teacher: Teacher, archive: bytes, words: str) -> None:
    path = await teacher.begin()
    assert words in (await teacher.upload(path, archive, status=422))["error"]
    assert not [one for one in teacher.data.rglob("*") if one.is_file()]


async def test_uploads_are_bounded(teacher: Teacher) -> None:
    path = await teacher.begin()
    assert "one ZIP alone" in (await teacher.upload(path, zipped({"a.png": b""}), picture(1), status=422))["error"]
    assert "over 0.1 MB" in (await teacher.upload(path, bytes(150_000), status=422))["error"]
    await teacher.upload(path, bytes(2_100_000), status=413)
    await teacher.ask("POST", f"{path}/pictures", 422, content=b"x")


async def test_parts_of_a_stream_are_taken_by_a_press(teacher: Teacher) -> None:
    path = await teacher.begin(stream="line", auto=False)
    pressed = asyncio.create_task(teacher.ask("POST", f"{path}/take"))
    teaching = teacher.teachings.get(path[1:])
    while not teaching.showing.is_pressed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for at in (0.0, 0.6):
        look = await asyncio.to_thread(teaching.look, part(1))
        teaching.seen(type(look)(look.frame, look.quality, look.still, at))
    body = await pressed
    assert body["last"] == {"taken": True, "why": ""} and len(body["pictures"]) == 1
    body = await teacher.ask("PATCH", path, json={"auto": True, "name": "  clamp  "})
    assert (body["auto"], body["name"]) == (True, "clamp")
    await teacher.stream.show(BLACK)
    assert "black" in (await teacher.ask("GET", path))["last"]["why"]


async def test_the_newest_frame_is_seen_taken_or_not(teacher: Teacher) -> None:
    path = await teacher.begin(stream="line")
    assert await teacher.ask("GET", f"{path}/live", 204) == b""
    await teacher.stream.show(BLACK)
    assert decode(await teacher.ask("GET", f"{path}/live")).max() < 20
    await teacher.ask("GET", "/x/live", 404)


async def test_a_picture_is_seen_large_with_the_place_that_is_unlike_the_others(teacher: Teacher) -> None:
    path = await teacher.begin()
    odd = part(9)
    odd[30:60, 40:70, 2] = 255
    body = await teacher.upload(path, picture(1), encode_png(odd))
    assert [shown["place"] for shown in body["pictures"]] == [None, [0.4, 0.3, 0.6, 0.5]]
    assert decode(await teacher.ask("GET", f"{path}/pictures/2/large")).shape == odd.shape
    kept = teacher.teachings.get(path[1:]).album.get(2)
    assert kept is not None
    kept.path.unlink()
    for number in ("2", "99", "x"):
        await teacher.ask("GET", f"{path}/pictures/{number}/large", 404)


@pytest.mark.parametrize("which", ["live", "pictures/1/large"])
async def test_however_many_ask_for_a_picture_few_are_made_at_once(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    at_once = most = 0

    def encode(*arguments: Any, **options: Any) -> tuple[bytes, int, int]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        made = encode_jpeg(*arguments, **options)
        at_once -= 1
        return made

    monkeypatch.setattr(teach, "encode_jpeg", encode)
    path = await teacher.begin(stream="line")
    await teacher.stream.show(part(1))
    await teacher.upload(path, picture(1))
    await asyncio.gather(*(teacher.ask("GET", f"{path}/{which}") for _ in range(30)))
    assert 1 <= most <= teach.MAX_DRAWING
    teaching = teacher.teachings.get(path[1:])
    await teacher.ask("DELETE", path)
    assert teaching.latest is None  # nothing is left


async def test_pictures_are_left_out_kept_and_removed(teacher: Teacher) -> None:
    path = await teacher.begin()
    await teacher.upload(path, *map(picture, range(3)))
    body = await teacher.ask("POST", f"{path}/pictures/2", json={"keep": False})
    assert [shown["used"] for shown in body["pictures"]] == [True, False, True]
    body = await teacher.ask("DELETE", f"{path}/pictures/1")
    assert [shown["number"] for shown in body["pictures"]] == [2, 3]
    for number in ("1", "99", "x", "-1", "9" * 30):
        await teacher.ask("GET", f"{path}/pictures/{number}", 404)
        await teacher.ask("DELETE", f"{path}/pictures/{number}", 404)
        await teacher.ask("POST", f"{path}/pictures/{number}", 404, json={"keep": True})


async def test_what_cannot_be_is_refused_in_words(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in ({}, {"name": "a", "more_of": "b"}, {"name": ""}, {"name": "x" * 61}, {"name": "a", "preset": "huge"}):
        assert (await teacher.ask("POST", "", 422, json=body))["error"]
    await teacher.ask("POST", "", 422, json={"name": "a", "colour": "red"})
    await teacher.ask("POST", "", 413, content=b"x" * 70_000)
    await teacher.ask("POST", "", 404, json={"name": "a", "stream": "nowhere"})
    await teacher.ask("POST", "", 404, json={"more_of": "nothing"})
    path = await teacher.begin(stream="line")
    await teacher.ask("POST", "", 409, json={"name": "b", "stream": "line"})
    other = await teacher.begin()
    await teacher.ask("POST", "", 503, json={"name": "c"})
    await teacher.ask("POST", f"{other}/take", 422)
    await teacher.ask("POST", f"{other}/done", 422)
    await teacher.ask("PATCH", other, 422, json={"name": "\n"})
    await teacher.ask("PATCH", other, 422, json={"auto": 3})
    await teacher.ask("POST", f"{other}/pictures/1", 422, json={"keep": "maybe"})
    for method, gone in (("GET", "/x"), ("DELETE", "/x"), ("POST", "/x/take"), ("POST", "/x/done")):
        await teacher.ask(method, gone, 404)
    await teacher.upload(other, *map(picture, range(5)))
    teacher.learners[0].gate.clear()
    await teacher.ask("POST", f"{other}/done")
    for method, step, sent in (
        ("POST", "/done", None),
        ("POST", "/take", None),
        ("PATCH", "", {"auto": False}),
        ("POST", "/pictures/1", {"keep": False}),
        ("DELETE", "/pictures/1", None),
    ):
        await teacher.ask(method, f"{other}{step}", 409, json=sent)
    await teacher.upload(other, picture(9), status=409)
    await teacher.ask("DELETE", other)
    await teacher.ask("DELETE", path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = await teacher.begin()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", full)
        assert "No space left" in (await teacher.upload(path, picture(1), status=507))["error"]
    await teacher.ask("DELETE", path)
    await asyncio.to_thread(teacher.data.mkdir, exist_ok=True)
    (teacher.data / "teaching").write_text("a file where a folder must be")
    await teacher.ask("POST", "", 507, json={"name": "a"})
    assert json.dumps(teacher.document)
