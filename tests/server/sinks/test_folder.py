"""The folder sink: whole files only, nothing outside of what is allowed, bounds that hold, and disks that are full."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cameras import Backoff
from server.inspection import Inspected, KeptPicture, Threshold
from server.sinks import Around, Choice, Draft, Outgoing, SinkError, Sinks, hand
from server.sinks import folder as module
from server.sinks import running_sink as running
from server.sinks.folder import FOLDER, FolderSettings, place
from server.streams import Hub
from tests.server.fakes import picture, until
from tests.server.sinks.fakes import part

JPEG = picture(80)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "Backoff", lambda longest: Backoff(first=0.02, longest=0.05))


@pytest.fixture
async def hub() -> Hub:
    return Hub()


@pytest.fixture
async def sinks(tmp_path: Path, hub: Hub) -> AsyncIterator[Sinks]:
    (tmp_path / "share").mkdir()
    sinks = Sinks(tmp_path / "data", hub, folders=(tmp_path / "share",))
    sinks.start()
    yield sinks
    await sinks.stop()


def draft(**settings: Any) -> Draft:
    return Draft("folder", "mes", True, Choice(), settings)


def seen() -> Inspected:
    kept = KeptPicture(None, "a" * 64, (JPEG, 64, 48))
    return Inspected(
        1.0, Threshold(2.0, "model"), np.zeros((2, 2), np.uint8), (64, 48), ("a" * 64, "openvino"), kept=kept
    )


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.glob(f"*.{ending}"))


async def test_each_part_is_one_whole_file_with_its_picture_beside_it(sinks: Sinks, hub: Hub, tmp_path: Path) -> None:
    stored = await sinks.add(draft(), "a test")
    folder = tmp_path / "data" / "out" / "mes"
    hub.publish(part(part="A-1").message, seen=seen())
    hub.publish(part(part="A-2", stream="../../b").message)
    await until(lambda: sinks.state(stored.id).delivered == 2)
    first, second = (json.loads(path.read_text()) for path in files(folder, "json"))
    assert first["type"] == "part" and first["data"]["part"] == "A-1" and first["id"] == first["data"]["id"]
    assert (folder / first["picture"]).read_bytes() == JPEG and second["picture"] is None
    assert len(list(folder.iterdir())) == 3 and {path.parent for path in folder.rglob("*")} == {folder}
    assert "holds 2 events" in sinks.state(stored.id).words


async def test_the_oldest_go_when_there_are_too_many_and_nothing_of_others(
    sinks: Sinks, hub: Hub, tmp_path: Path
) -> None:
    folder = tmp_path / "share" / "line 4"
    folder.mkdir()
    (folder / "notes.json").write_text("mine")
    half = folder / ".20261026T101112000Z_a_b.json.0011aabb.tmp"
    half.write_text("half of one, from a crash")
    os.utime(half, (1, 1))
    stored = await sinks.add(draft(folder=str(folder), most_events=10), "a test")
    for number in range(25):
        hub.publish(part(part=f"A-{number}").message, seen=seen())
    await until(lambda: sinks.state(stored.id).delivered == 25)
    kept = [json.loads(path.read_text())["data"]["part"] for path in files(folder, "json") if path.name != "notes.json"]
    assert kept == [f"A-{number}" for number in range(15, 25)]
    assert len(files(folder, "jpg")) in (10, 11) and (folder / "notes.json").read_text() == "mine"
    assert "the oldest 15 were removed" in sinks.state(stored.id).words and not list(folder.glob(".*"))
    await sinks.change(stored.id, "a test", settings={"most_events": 11})  # finds what is there
    await until(lambda: "holds 10 events" in sinks.state(stored.id).words)


async def test_the_bound_on_bytes_holds(
    sinks: Sinks, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = replace(seen(), kept=KeptPicture(None, "", (b"x" * 400_000, 1, 1)))
    stored = await sinks.add(draft(most_mb=1), "a test")
    for _ in range(6):
        hub.publish(part().message, seen=large)
    await until(lambda: sinks.state(stored.id).delivered == 6)
    assert sum(path.stat().st_size for path in (tmp_path / "data" / "out" / "mes").iterdir()) <= 1_000_000


async def test_a_full_disk_is_said_and_what_waited_is_written_later(
    sinks: Sinks, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, is_full = os.fsync, True

    def full(descriptor: int) -> None:
        if is_full:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    stored = await sinks.add(draft(), "a test")
    monkeypatch.setattr(module.os, "fsync", full)
    for _ in range(3):
        hub.publish(part().message)
    await until(lambda: "is full: make room" in (sinks.state(stored.id).last_error or ""))
    assert sinks.state(stored.id).waiting == 3 and "is full" in (sinks.warning or "")
    assert not list((tmp_path / "data" / "out" / "mes").iterdir())
    is_full = False
    await until(lambda: sinks.state(stored.id).delivered == 3)
    monkeypatch.setattr(module, "LEFT_FREE", shutil.disk_usage(tmp_path).total + 1)
    hub.publish(part().message)
    await until(lambda: "are left free" in (sinks.state(stored.id).last_error or ""))


async def test_a_disk_that_is_not_mounted_is_not_written_beside(sinks: Sinks, hub: Hub, tmp_path: Path) -> None:
    stored = await sinks.add(draft(folder=str(tmp_path / "share" / "rejects")), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    await sinks.change(stored.id, "a test", enabled=False)
    shutil.rmtree(tmp_path / "share")
    await sinks.change(stored.id, "a test", enabled=True)
    await until(lambda: "is the disk mounted?" in (sinks.state(stored.id).last_error or ""))
    assert not (tmp_path / "share").exists()


async def test_a_folder_that_leads_outside_in_mid_run_is_said_and_not_followed(
    sinks: Sinks, hub: Hub, tmp_path: Path
) -> None:
    folder, outside = tmp_path / "share" / "a", tmp_path / "outside"
    outside.mkdir()
    stored = await sinks.add(draft(folder=str(folder)), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    folder.rmdir()
    folder.symlink_to(outside)
    hub.publish(part().message)
    await until(lambda: "must lie below" in (sinks.state(stored.id).last_error or ""))
    assert not list(outside.iterdir()) and sinks.state(stored.id).waiting == 1
    folder.unlink()
    await until(lambda: sinks.state(stored.id).delivered == 1)


async def test_a_disk_that_hangs_costs_one_thread_and_no_other_sink(
    sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PATIENCE_S", 0.05)
    monkeypatch.setattr(hand, "PATIENCE_S", 0.01)
    monkeypatch.setattr(running, "LOOK_EVERY_S", 0.01)
    free, hung = threading.Event(), threading.Event()
    put = module.Written.put

    def hangs(self: module.Written, name: str, data: bytes) -> None:
        if self.folder.name == "mes":
            hung.set()
            free.wait(20)
        put(self, name, data)

    monkeypatch.setattr(module.Written, "put", hangs)
    stored = await sinks.add(draft(), "a test")
    other = await sinks.add(replace(draft(), name="other"), "a test")
    hub.publish(part().message)
    await until(lambda: sinks.state(other.id).delivered == 1 and hung.is_set())
    await until(lambda: "still hangs" in (sinks.state(stored.id).last_error or ""))
    assert len([one for one in threading.enumerate() if one.name.startswith(f"sink-{stored.id}")]) == 1
    free.set()
    await until(lambda: sinks.state(stored.id).delivered == 1)


async def test_the_test_says_what_can_be_written_and_leaves_nothing(sinks: Sinks, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "a"
    assert f"{folder} can be written" in await sinks.try_out(draft(folder=str(folder)))
    assert not list((tmp_path / "share").iterdir())
    assert "can be written" in await sinks.try_out(draft(folder=f"{folder}/b/c")) and not folder.exists()
    folder.mkdir()
    assert "can be written" in await sinks.try_out(draft(folder=str(folder))) and folder.is_dir()
    (tmp_path / "share" / "b").write_text("a file")
    with pytest.raises(SinkError, match="cannot be written"):
        await sinks.try_out(draft(folder=str(tmp_path / "share" / "b")))


def around(tmp_path: Path) -> Around:
    return Around("a", "mes", tmp_path / "data", (tmp_path / "share",))


@pytest.mark.parametrize(
    "folder",
    [
        *("relative", "/", "/etc", "{}/share/../other", "{}/data", "{}/shared", "{}/share/link", "{}/share/\0", "~/x"),
        *("{}/share/a\nb", "{}/share/a\u202eb", "{}/share" + "/a" * 9),
    ],
)
def test_nothing_is_written_outside_of_what_the_operator_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "link").symlink_to("/tmp")
    with pytest.raises(ValueError, match="the folder must"):
        FOLDER.read({"folder": folder.format(tmp_path)}, around(tmp_path))


def test_without_the_setting_there_is_the_data_directory_alone(tmp_path: Path) -> None:
    own = replace(around(tmp_path), folders=())
    assert place(FolderSettings(), own)[0] == tmp_path / "data" / "out" / "mes"
    with pytest.raises(ValueError, match="which is not set"):
        FOLDER.read({"folder": str(tmp_path)}, own)


@given(st.text(max_size=100), st.text(max_size=200), st.text(max_size=40))
def test_no_name_is_a_path_and_every_name_is_known_again(stream: str, id: str, at: str) -> None:
    event = Outgoing(part(stream=stream).message, None, id, "part", "2026-10-26T10:11:12.000+00:00")
    name = module._name(event)
    assert module._OURS.fullmatch(f"{name}.json") and "/" not in name
    assert len(module._name(replace(event, at=at))) < 200
