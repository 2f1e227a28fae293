"""A real GigE Vision camera, Aravis' fake one: killed, frozen, taken, triggered, on a lossy network."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from server.cameras.backoff import Backoff
from server.cameras.camera import Camera, Patience
from server.cameras.genicam import Genicam, look_around
from server.cameras.genicam.near_side import CameraProcess, frames_of, settings_of
from server.cameras.trial import Trial
from tests.server.camera_fakes import Collector, running, wait_until
from tests.server.cameras.genicam.fake_camera import ADDRESS, fake_camera, needs_aravis, processes_of, the_only_one

pytestmark = [pytest.mark.service, needs_aravis]

QUICK = Backoff(0.1, 0.2)


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    with the_only_one():
        yield


def a_camera(query: str = "", seen: Collector | None = None, **options: object) -> Camera:
    return Camera(f"genicam://{ADDRESS}{query}", on_frame=seen, backoff=Backoff(0.1, 0.2), **options)  # type: ignore[arg-type]


def refused(query: str) -> str:
    with running(a_camera(query)) as camera:
        wait_until(lambda: camera.status().last_error)
        return camera.status().last_error or ""


def test_killed_and_back_in_mid_run() -> None:
    seen = Collector()
    with fake_camera() as process, running(Camera("genicam://", on_frame=seen, backoff=QUICK)) as camera:
        assert seen.wait(5)[4].image.shape == (512, 512, 3)
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: camera.status().state == "retrying", 15)
        assert "no longer answers" in (camera.status().last_error or "")
        before = len(seen.frames)
        with fake_camera():
            seen.wait(before + 5, 20)
            assert camera.status().state == "live" and camera.status().connects == 2
    wait_until(lambda: not processes_of())


def test_frozen_is_noticed_and_a_crashed_driver_costs_its_own_camera() -> None:
    seen = Collector()
    with fake_camera() as process, running(a_camera(seen=seen)) as camera:
        seen.wait(2)
        (driver,) = processes_of()
        os.kill(driver, signal.SIGSEGV)
        wait_until(lambda: "driver crashed" in (camera.status().last_error or ""))
        seen.wait(len(seen.frames) + 3, 20)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: camera.status().state == "retrying", 15)
        process.send_signal(signal.SIGCONT)
        seen.wait(len(seen.frames) + 3, 20)


def test_a_hardware_trigger_is_waited_for_and_a_picture_comes_with_each() -> None:
    with fake_camera():
        patience = Patience(next_frame=0.5)
        with running(a_camera("?trigger=Line0&edge=rising", patience=patience)) as camera:
            wait_until(lambda: camera.status().state == "waiting")
            since = camera.status().since
            wait_until(lambda: (since.now(since.tzinfo) - since).total_seconds() > 2)
            assert camera.status().since == since and camera.status().last_error is None
        wait_until(lambda: camera.let_go)
        seen, made = Collector(), []

        def frames() -> object:
            process = CameraProcess(settings_of(f"genicam://{ADDRESS}?trigger=Software&exposure=1000", None, 10**6))
            made.append(process)
            with closing(frames_of(process, 0.5, 10**6)) as arrivals:
                try:
                    yield from arrivals
                finally:
                    process.close()

        with running(a_camera(seen=seen, patience=patience, frames=frames)) as camera:
            for number in range(1, 4):
                wait_until(lambda: camera.status().state == "waiting")
                assert len(seen.frames) == number - 1
                made[-1].trigger()
                seen.wait(number)
                assert camera.status().state == "live"


def test_a_camera_that_another_program_has_and_what_it_cannot() -> None:
    seen = Collector()
    with fake_camera():
        with running(a_camera(seen=seen)):
            seen.wait(1)
            assert "another program has the camera" in refused("")
        assert "has no trigger Line7: it has Line0, Software" in refused("?trigger=Line7")
        assert "has no edge FallingEdge: it has RisingEdge" in refused("?trigger=Line0&edge=falling")
        assert "it takes 10 to 10000000 µs" in refused("?exposure=99999999")
        assert "no automatic exposure" in refused("?exposure=auto")
        assert "has no pixel format Mono12p: it has " in refused("?pixels=Mono12p")
        assert "9999×9999 pixels are larger" in refused("?region=0,0,9999,9999")
        with running(a_camera(max_pixels=1000)) as camera:
            wait_until(lambda: camera.status().last_error)
            assert "MAX_FRAME_MEGAPIXELS" in (camera.status().last_error or "")
    assert "no camera answers" in refused("")


def test_region_colour_gain_and_rate_are_set() -> None:
    seen = Collector()
    query = "?region=0,0,256,128&pixels=RGB8&gain=1&exposure=500&trigger=off"
    with fake_camera(), running(a_camera(query, seen, fps=50)) as camera:
        frames = seen.wait(20)
        assert frames[0].image.shape == (128, 256, 3)
        assert camera.status().source.endswith(query)
    spacing = (frames[19].captured_at - frames[5].captured_at) / 14
    assert spacing < 0.035  # 25 a second unless asked


def test_incomplete_pictures_are_never_handed_out() -> None:
    damaged: list[str] = []
    seen = Collector()
    with fake_camera("-r", "20"), running(a_camera(seen=seen, on_damaged=damaged.append)) as camera:
        wait_until(lambda: len(damaged) >= 3, 20)
        assert "came incomplete" in damaged[0]
        assert camera.status().damaged >= 3


def test_the_page_s_test_shows_a_picture_or_says_that_it_waits() -> None:
    news: list[int] = []
    with fake_camera():
        trial = Trial(f"genicam://{ADDRESS}", on_news=lambda: news.append(1))
        trial.start()
        wait_until(lambda: trial.ended and trial.found().picture is not None)
        trial = Trial(f"genicam://{ADDRESS}?trigger=Line0", on_news=lambda: news.append(1))
        trial.start()
        wait_until(lambda: "waiting for its trigger (Line0)" in (trial.found().problem or ""))
        trial.give_up()
        wait_until(lambda: trial.ended)


def test_cameras_are_found() -> None:
    with fake_camera():
        (found,) = [device for device in look_around() if device.serial == "GV01"]
        assert (found.id, found.address, found.protocol) == ("Aravis-Fake-GV01", ADDRESS, "GigEVision")
        with running(Camera("genicam://nobody")) as camera:
            wait_until(lambda: camera.status().last_error)
            assert "no camera is called nobody; there are Aravis-Fake-GV01" in (camera.status().last_error or "")
    assert Genicam.parse(f"genicam://{found.id}").device == found.id
