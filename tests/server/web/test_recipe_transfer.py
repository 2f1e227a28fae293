"""Recipe files on their way: sent in pieces, gone afterwards, and refused before anything is written."""

from __future__ import annotations

import asyncio
import errno
import io
import shutil
import stat
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest

import detector
from server.recipes import model_keep
from server.teaching import recipe_file as transfer
from server.web.recipes import MOST_EXPORTS
from tests.detector.anomalib.test_anomalib_export import write as write_export
from tests.detector.test_model_folder import written
from tests.server.fakes import WAIT_S, until
from tests.server.teaching.test_trial import hungry
from tests.server.web.recipe_files import recipe_file
from tests.server.web.test_recipes import inspecting, only

LARGE = 64 << 20
LATER = b'{"version": 99}'


def left(data: Path) -> list[str]:
    """What lies where models are, but for models."""
    folder = data / "models"
    return [path.name for path in folder.iterdir() if len(path.name) != 64] if folder.exists() else []


async def address_of(client: httpx.AsyncClient) -> str:
    return f"/api/recipes/{(await only(client))['id']}/file"


async def test_a_file_is_sent_in_pieces_and_nothing_of_it_is_left(model_folder: Path, tmp_path: Path) -> None:
    async with inspecting(model_folder, tmp_path) as (_, client):
        address = await address_of(client)
        for _ in range(MOST_EXPORTS + 1):
            answer = await client.get(address)
            assert answer.status_code == 200 and int(answer.headers["content-length"]) == len(answer.content)
            assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
            await until(lambda: not left(tmp_path))
        for wanted in ("bytes=0-1", "bytes=9-1"):  # each is made anew: a piece of one fits no piece of another
            answer = await client.get(address, headers={"Range": wanted})
            assert (answer.status_code, answer.headers["Accept-Ranges"]) == (200, "none")
            assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
        assert (await client.head(address)).status_code == 405, "none is made for whoever only asks"
        await until(lambda: not left(tmp_path))


async def test_who_goes_away_in_the_middle_leaves_nothing(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(keep: object, recipe: object, model: object, folder: Path) -> Path:
        with (folder / "recipe.zip").open("wb") as file:
            file.truncate(LARGE)
        return folder / "recipe.zip"

    monkeypatch.setattr(transfer, "_pack", large)
    async with inspecting(model_folder, tmp_path) as (server, client):
        address = await address_of(client)
        for _ in range(MOST_EXPORTS + 1):  # each has its place again
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
            assert (await reader.readexactly(1000)).startswith(b"HTTP/1.1 200") and left(tmp_path)
            writer.transport.abort()
            await until(lambda: not left(tmp_path))


async def test_no_more_than_a_few_are_put_together_at_once(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, pack = threading.Event(), transfer._pack

    def slowly(*given: object) -> Path:
        assert gate.wait(WAIT_S)
        return pack(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "_pack", slowly)
    async with inspecting(model_folder, tmp_path) as (_, client):
        address = await address_of(client)
        asked = [asyncio.create_task(client.get(address)) for _ in range(MOST_EXPORTS)]
        await until(lambda: len(left(tmp_path)) == MOST_EXPORTS)
        refused = await client.get(address)
        assert refused.status_code == 503 and "try again" in refused.json()["error"]
        gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        await until(lambda: not left(tmp_path))


async def test_a_disk_that_takes_nothing_is_told_and_nothing_is_left(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with inspecting(model_folder, tmp_path) as (_, client):
        address, whole = await address_of(client), recipe_file(model_folder, "a")
        with monkeypatch.context() as disk:
            disk.setattr(transfer, "_add", full)
            for _ in range(MOST_EXPORTS + 1):
                answer = await client.get(address)
                assert answer.status_code == 507 and "No space left" in answer.json()["error"]
        with monkeypatch.context() as disk:
            disk.setattr(Path, "open", full)
            answer = await client.post("/api/recipes", files={"file": ("x.zip", whole)})
            assert answer.status_code == 507 and "make room there; nothing was changed" in answer.json()["error"]
        with monkeypatch.context() as disk:
            free = shutil.disk_usage(tmp_path)._replace(free=model_keep.KEPT_FREE)
            disk.setattr(shutil, "disk_usage", lambda place: free)
            answer = await client.post("/api/recipes", files={"file": ("x.zip", whole)})
            assert answer.status_code == 507 and "200 MB left" in answer.json()["error"]
        assert not left(tmp_path) and len((await client.get("/api/recipes")).json()["recipes"]) == 1
        assert (await client.post("/api/recipes", files={"file": ("x.zip", whole)})).status_code == 201


async def test_a_model_of_the_size_that_models_have_goes_from_server_to_server(
    model_folder: Path, tmp_path: Path
) -> None:
    """With the tiny ones of the other tests nobody noticed that a megabyte in one piece was taken for a long list."""
    random = np.random.default_rng(0)
    frames = [random.integers(90, 110, (256, 256, 3), np.uint8) for _ in range(5)]
    folder = tmp_path / "model"
    detector.fit(frames, image_size=256, coreset_size=1800, register="off").save(folder)
    assert max(path.stat().st_size for path in folder.iterdir()) > transfer.BLOCK
    async with inspecting(folder, tmp_path / "one") as (_, client):
        file = (await client.get(await address_of(client))).content
    async with inspecting(model_folder, tmp_path / "other") as (_, client):
        answer = await client.post("/api/recipes", files={"file": ("x.zip", file)})
        assert answer.status_code == 201, answer.text
        later = await client.post("/api/recipes", files={"file": ("x.zip", changed(file, LATER))})
        assert later.status_code == 422 and "of version 99" in later.json()["error"]


async def test_a_model_that_does_harm_is_refused_and_recipes_can_be_changed_on(
    model_folder: Path, tmp_path: Path
) -> None:
    """One that takes all memory, and one of other software, whose graph would be run before anything is known of it."""
    (tmp_path / "theirs").mkdir()
    files = (
        (recipe_file(written(tmp_path / "hungry", hungry()), "a"), "memory"),
        (recipe_file(write_export(tmp_path / "theirs").parent, "b", "a" * 64), "it has no manifest.json"),
    )
    async with inspecting(model_folder, tmp_path / "data") as (_, client):
        for file, words in files:
            answer = await client.post("/api/recipes", files={"file": ("x.zip", file)})
            error = answer.json()["error"]
            assert answer.status_code == 422 and words in error and str(tmp_path) not in error
            assert not left(tmp_path / "data")
        assert (await client.get(await address_of(client))).status_code == 200
        whole = {"file": ("x.zip", recipe_file(model_folder, "c"))}
        assert (await client.post("/api/recipes", files=whole)).status_code == 201


async def test_models_take_no_more_of_the_disk_than_was_set(model_folder: Path, tmp_path: Path) -> None:
    whole = recipe_file(model_folder, "a")
    async with inspecting(model_folder, tmp_path, max_models_gb=len(whole) * 0.9e-9) as (_, client):
        answer = await client.post("/api/recipes", files={"file": ("x.zip", whole)})
        assert answer.status_code == 507 and "delete recipes" in answer.json()["error"] and not left(tmp_path)
        begun = await client.post("/api/teaching", json={"name": "bracket"})
        assert begun.status_code == 507 and "MAX_MODELS_GB higher" in begun.json()["error"]
        assert not (tmp_path / "teaching").exists()


async def test_what_was_refused_late_leaves_no_model(model_folder: Path, tmp_path: Path) -> None:
    """Else somebody who sends such files would fill what models may take."""
    whole = recipe_file(model_folder, "a")
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        about = archive.read("recipe.json").replace(b'"name":"a"', b'"name":"b"')
        taught = msgspec.json.decode(about)["model"]["taught"]
    everything = b'"ignore":[[[0,0],[1,0],[1,1],[0,1]]]'
    blind = about.replace(b'"ignore":[]', everything)
    assert blind != about
    async with inspecting(model_folder, tmp_path) as (_, client):
        answer = await client.post("/api/recipes", files={"file": ("x.zip", changed(whole, blind))})
        assert answer.status_code == 422 and "nothing of what the model looks at" in answer.json()["error"]
        assert not (tmp_path / "models" / taught).exists() and not left(tmp_path)


def changed(data: bytes, about: bytes) -> bytes:
    """A recipe file that says something else."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, about if name == "recipe.json" else old.read(name))
    return out.getvalue()


def archive_of(fill: Callable[[zipfile.ZipFile], None]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    return buffer.getvalue()


def many(archive: zipfile.ZipFile) -> None:
    for number in range(10_000):
        archive.writestr(f"model/{number}", b"")


def link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("model/manifest.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


def lying(archive: zipfile.ZipFile) -> None:
    """It says that it is a terabyte, as only zip64 can."""
    archive.writestr("model/manifest.json", b"0" * 1000)
    archive.filelist[-1].file_size = 1 << 40


def bomb(archive: zipfile.ZipFile) -> None:
    for number in range(20):
        archive.writestr(f"model/bank-{number}", bytes(2_000_000))


def nested(archive: zipfile.ZipFile) -> None:
    archive.writestr("model/more.zip", archive_of(bomb))


@pytest.mark.parametrize("fill", [many, link, lying, bomb, nested])
def test_files_that_are_made_to_do_harm_are_refused_quickly(
    fill: Callable[[zipfile.ZipFile], None], tmp_path: Path
) -> None:
    with pytest.raises(transfer.RecipeError):
        transfer._read(archive_of(fill), tmp_path, lambda size: None)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size < 1_000_000 and not [path for path in tmp_path.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "model/../../evil", "model/..", "model/.hidden", "model/a/b", "C:\\evil", "model\\evil",
     "corrections/0123456789ab.exe", "model/", "model/\u202ea", "m" * 60_000],
)  # fmt: skip
def test_whatever_an_entry_is_called_nothing_is_written_elsewhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    data = archive_of(lambda archive: archive.writestr(name, b"x"))
    with pytest.raises(transfer.RecipeError) as refused:
        transfer._read(data, tmp_path / "there", lambda size: None)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 300
    assert [*tmp_path.rglob("*")] == [tmp_path / "there"]
