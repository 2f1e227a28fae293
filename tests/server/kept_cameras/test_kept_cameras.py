"""The cameras of the page: kept, run, removed, and what becomes of a file that cannot be used."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from server.ground import kept_file
from server.kept_cameras.cameras_file import MOST, encode
from server.kept_cameras.kept_cameras import FILE, MOST_STUCK, CannotAdd, KeptCameras, Stuck
from server.settings import PulledCamera
from tests.server.fakes import until
from tests.server.kept_cameras.test_cameras_file import CAMERAS, PRESS, SECRET, written

ME = "a page at 127.0.0.1"


class Fake:
    """A camera that runs, and may never let go."""

    def __init__(self, camera: PulledCamera) -> None:
        self.camera, self.stopped, self.let_go = camera, False, True

    async def stop(self) -> None:
        await asyncio.sleep(0)
        self.stopped = True


class Page(KeptCameras):
    """With what was run."""

    def __init__(self, folder: Path, own: tuple[str, ...] = ()) -> None:
        super().__init__(folder, own)
        self.run: list[Fake] = []
        self.start(self._made)

    def _made(self, camera: PulledCamera) -> Fake:
        self.run.append(Fake(camera))
        return self.run[-1]

    @property
    def running(self) -> list[str]:
        return [one.camera.name for one in self.run if not one.stopped]


def camera(name: str, source: str = "rtsp://camera/live") -> PulledCamera:
    return PulledCamera(name, source)


async def test_one_that_is_added_runs_at_once_and_after_a_restart_until_it_is_removed(tmp_path: Path) -> None:
    page = Page(tmp_path / "new" / "data")
    await page.add(PRESS, ME)
    await page.add(camera("side"), ME)
    assert page.running == ["press", "side"] and "press" in page and page.runs("press")
    again = Page(tmp_path / "new" / "data")
    assert again.all == page.all == (PRESS, camera("side")) and again.running == ["press", "side"]
    await again.remove("press", ME)
    assert again.running == ["side"] and "press" not in again and not again.runs("press")
    assert Page(tmp_path / "new" / "data").running == ["side"]
    await again.stop()
    assert again.running == [] and again.all == (camera("side"),), "stopped is not forgotten"


async def test_the_file_is_this_user_s_alone_and_no_secret_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    page = Page(tmp_path)
    await page.add(PRESS, ME)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert SECRET.encode() in (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).chmod(0o644)
    Page(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    await page.remove("press", ME)
    (tmp_path / FILE).write_bytes(encode(CAMERAS)[:-20])
    page = Page(tmp_path)
    assert page.warning and SECRET not in page.warning
    assert "press: added by a page at 127.0.0.1: rtsp://***@10.0.0.7" in caplog.text and SECRET not in caplog.text


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    page = Page(tmp_path, own=("line", "simulated-line"))
    await page.add(camera("press"), ME)
    for taken in ("press", "line", "simulated-line"):
        with pytest.raises(CannotAdd, match=f"the name {taken} is taken"):
            await page.add(camera(taken), ME)
    both = await asyncio.gather(*(page.add(camera("side"), ME) for _ in range(10)), return_exceptions=True)
    assert both.count(None) == 1 and sum(isinstance(one, CannotAdd) for one in both) == 9
    assert page.running == ["press", "side"]


async def test_its_name_is_nobody_else_s_from_the_first_moment_to_the_last(tmp_path: Path) -> None:
    page = Page(tmp_path)
    adding = asyncio.create_task(page.add(camera("press"), ME))
    await asyncio.sleep(0)
    assert "press" in page and not page.all
    await adding
    stopped = asyncio.Event()

    async def stop() -> None:
        await stopped.wait()

    page.run[0].stop = stop  # type: ignore[method-assign]
    removing = asyncio.create_task(page.remove("press", ME))
    await until(lambda: not page.all)
    assert "press" in page
    stopped.set()
    await removing
    assert "press" not in page


async def test_there_are_so_many_and_no_more(tmp_path: Path) -> None:
    page = Page(tmp_path)
    asked = await asyncio.gather(*(page.add(camera(f"c{n}"), ME) for n in range(1000)), return_exceptions=True)
    assert asked.count(None) == MOST
    assert {str(one) for one in asked if one is not None} == {
        "there are 32 cameras of the page already: remove one first"
    }
    assert len(page.run) == len(page.all) == len(Page(tmp_path).all) == MOST
    await page.remove("c0", ME)
    await page.add(camera("other"), ME)


async def test_what_cannot_be_changes_nothing(tmp_path: Path) -> None:
    page = Page(tmp_path)
    with pytest.raises(ValueError, match="address"):
        await page.add(camera("press", "/etc/passwd"), ME)
    with pytest.raises(KeyError):
        await page.remove("press", ME)
    assert not page.run and not (tmp_path / FILE).exists() and "press" not in page


async def test_on_a_full_disk_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(tmp_path)
    await page.add(camera("press"), ME)

    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "write_atomically", full)
        with pytest.raises(OSError, match="No space"):
            await page.add(camera("side"), ME)
        with pytest.raises(OSError, match="No space"):
            await page.remove("press", ME)
    assert page.running == ["press"] and "side" not in page
    await page.add(camera("side"), ME)


async def test_one_whose_name_the_setting_has_is_not_run_and_can_be_removed(tmp_path: Path) -> None:
    await Page(tmp_path).add(camera("press"), ME)
    page = Page(tmp_path, own=("press",))
    assert not page.run and page.hidden == ["press"] and not page.runs("press")
    assert page.warning and "press that was added on the page is not run" in page.warning
    await page.remove("press", ME)
    assert page.warning is None and "press" in page, "it is the setting's"


async def test_removed_ones_that_hang_are_counted_and_bounded(tmp_path: Path) -> None:
    page = Page(tmp_path)
    for number in range(MOST_STUCK):
        await page.add(camera(f"c{number}"), ME)
        page.run[-1].let_go = False
        await page.remove(f"c{number}", ME)
    with pytest.raises(Stuck, match="8 cameras that were removed hang"):
        await page.add(camera("press"), ME)
    page.run[0].let_go = True
    await page.add(camera("press"), ME)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "was damaged"),
        (b"\xff" * 100, "was damaged"),
        (encode(CAMERAS)[:-3], "was damaged"),
        (encode(CAMERAS).replace(b"10.0.0.7", b"10.0.0.8"), "was damaged"),
        (written([], version=2), "is of a newer version"),
    ],
)
async def test_one_that_cannot_be_used_is_set_aside_with_a_warning(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / FILE).write_bytes(data)
    page = Page(tmp_path)
    assert not page.all and page.warning is not None
    assert page.warning.startswith(f"cameras.json {what}") and "set aside as cameras.json.damaged-1" in page.warning
    assert SECRET not in page.warning and "\n" not in page.warning
    aside = tmp_path / "cameras.json.damaged-1"
    assert aside.read_bytes() == data and aside.stat().st_mode & 0o777 == 0o600
    await page.add(camera("press"), ME)
    assert page.warning is None and Page(tmp_path).running == ["press"]


async def test_nothing_is_written_over_one_that_cannot_be_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_bytes(written([], version=2))

    def refuse(path: Path) -> Path:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "set_aside", refuse)
        page = Page(tmp_path)
        assert page.warning and "could not be set aside (Read-only file system)" in page.warning
        with pytest.raises(OSError, match="cannot be read"):
            await page.add(camera("press"), ME)
    assert (tmp_path / FILE).read_bytes() == written([], version=2)


@pytest.mark.parametrize("kind", ["directory", "dangling link", "link loop"])
async def test_nothing_is_written_over_a_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    path = disk / FILE
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "link loop" else tmp_path / "not mounted" / FILE)
    page = Page(disk)
    assert page.warning is not None and "cannot be read" in page.warning
    for change in (page.add(camera("side"), ME), page.remove("press", ME)):
        with pytest.raises(OSError, match="cannot be read"):
            await change
    assert path.is_symlink() or path.is_dir()
    path.rmdir() if kind == "directory" else path.unlink()
    path.write_bytes(encode(CAMERAS))
    with pytest.raises(CannotAdd, match="side is taken"):
        await page.add(camera("side"), ME)  # those that came back run, and keep their names
    await page.add(camera("other"), ME)
    assert page.running == ["press", "side", "other"] and Page(disk).running == page.running
    assert page.warning is None
