"""A camera that is kept alive, over real folders and files, and over sources that fail in every way."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.cameras.arrivals import CaptureError, Damaged, Frames, Grabbed, Late, Pending
from server.cameras.backoff import Backoff
from server.cameras.camera import LATE, MAX_STUCK, Camera, Patience
from server.cameras.framing import Crop
from server.cameras.often import LOOKED_AT
from tests.server.camera_fakes import Collector, free_port, grey, picture, running, wait_until, write_pictures

IMPATIENT = Patience(first_frame=0.15, next_frame=0.15, release=0.02)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "defectvision.camera")


def now(value: int) -> Grabbed:
    return Grabbed(None, lambda: picture(value))


def tries(*attempts: Callable[[], Frames]) -> Callable[[], Frames]:
    """A source that behaves in another way at each try; the last way stays."""
    left = list(attempts)
    return lambda: (left.pop(0) if len(left) > 1 else left[0])()


def sends(*values: int) -> Callable[[], Frames]:
    def frames() -> Frames:
        for value in values:
            yield now(value)
        raise CaptureError("the plug was pulled: put it back")

    return frames


def refuses() -> Frames:
    raise CaptureError("nobody is there: switch it on")
    yield


class Blocking:
    """A driver that sends some frames and then never comes back from a read, until the test releases it."""

    def __init__(self, frames: int = 0) -> None:
        self.release = threading.Event()
        self.left = threading.Event()
        self.opened = 0
        self._frames = frames

    def __call__(self) -> Frames:
        self.opened += 1
        for value in range(self._frames):
            yield now(value)
        self.release.wait()
        try:
            yield now(250)
        finally:
            self.left.set()


def log_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_folder_is_played_at_the_rate_asked_for(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10, 50, 90])
    seen = Collector()
    with running(Camera(str(folder), fps=50, on_frame=seen)) as camera:
        frames = seen.wait(11)
        assert camera.status().state == "live"
    assert [grey(frame.image) for frame in frames[:4]] == [10, 50, 90, 10]
    assert [frame.number for frame in frames[:4]] == [1, 2, 3, 4]
    assert frames[10].captured_at - frames[0].captured_at == pytest.approx(0.2, abs=0.1)


def test_only_the_newest_frame_is_handed_out(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10, 50])
    with running(Camera(str(folder), fps=100)) as camera:
        wait_until(lambda: camera.latest(after=5))
        newest = camera.latest()
        assert newest is not None
        assert newest.number > 5
        assert camera.latest(after=newest.number + 100) is None


def test_frames_are_sized_and_cropped(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10])
    with running(Camera(str(folder), width=32, crop=Crop(4, 4, 20, 10))) as camera:
        wait_until(camera.latest)
        newest = camera.latest()
        assert newest is not None
        assert newest.image.shape == (10, 20, 3)


def test_fps_caps_a_live_source_without_decoding_the_rest() -> None:
    decoded: list[int] = []

    def hundreds() -> Frames:
        while True:
            yield Grabbed(None, lambda: decoded.append(1) or picture(7))  # type: ignore[func-returns-value]
            time.sleep(0.002)

    seen = Collector()
    with running(Camera("0", frames=hundreds, fps=20, on_frame=seen)):
        frames = seen.wait(5)
        assert frames[4].captured_at - frames[0].captured_at == pytest.approx(0.2, abs=0.06)
    assert len(decoded) <= len(seen.frames) + 1


def test_a_frame_can_wake_an_event_loop(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10])

    async def first_frame() -> int:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[int] = loop.create_future()

        def wake(number: int) -> None:
            if not arrived.done():
                arrived.set_result(number)

        camera = Camera(str(folder), on_frame=lambda frame: loop.call_soon_threadsafe(wake, frame.number))
        camera.start()
        number = await asyncio.wait_for(arrived, 5)
        await asyncio.to_thread(camera.stop)
        return number

    assert asyncio.run(first_frame()) == 1


def test_it_comes_back_and_logs_each_change_once(caplog: pytest.LogCaptureFixture) -> None:
    seen = Collector()
    frames = tries(sends(10), refuses, refuses, refuses, sends(*[20] * 1000))
    with running(Camera("0", frames=frames, on_frame=seen, backoff=Backoff(0.01, 0.04))) as camera:
        assert [grey(frame.image) for frame in seen.wait(2)[:2]] == [10, 20]
        wait_until(lambda: camera.status().connects == 2)
        status = camera.status()
        assert [frame.number for frame in seen.frames[:2]] == [1, 2]
    assert status.failures >= 4
    assert status.last_error is not None
    lines = log_of(caplog)
    assert lines[:4] == [
        "camera 0: connecting",
        "camera 0: live, 64×48",
        "camera 0: away: the plug was pulled: put it back. Trying again within 0.04 s",
        "camera 0: live again after 0 s and 4 failures, 64×48",
    ]
    assert lines[-1] == "camera 0: stopped"


def test_waits_grow_while_it_is_away_and_start_again_after_a_frame() -> None:
    waits: list[float] = []

    class Noted(Backoff):
        def next(self) -> float:
            waits.append(super().next())
            return waits[-1]

    frames = tries(refuses, refuses, refuses, sends(1), refuses)
    with running(Camera("0", frames=frames, backoff=Noted(0.001, 0.004))):
        wait_until(lambda: len(waits) >= 7)
    assert waits[:7] == [0.001, 0.002, 0.004, 0.001, 0.002, 0.004, 0.004]


def test_status_while_it_waits_to_try_again() -> None:
    with running(Camera("rtsp://u:secret@cam/live", frames=refuses)) as camera:
        wait_until(lambda: camera.status().state == "retrying")
        status = camera.status()
    assert status.source == status.name == "rtsp://***@cam/live"
    assert status.retry_in is not None
    assert 0 < status.retry_in <= 1
    assert (status.frames, status.connects, status.failures) == (0, 0, 1)
    assert status.last_error == "nobody is there: switch it on"


def test_a_silent_driver_is_dead_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    driver = Blocking(frames=2)
    seen = Collector()
    camera = Camera("0", frames=driver, on_frame=seen, backoff=Backoff(0.01, 0.02), patience=IMPATIENT)
    with running(camera):
        seen.wait(2)
        wait_until(lambda: camera.status().state == "stalled")
        seen.wait(4)  # opened again while the first one still blocks
        status = camera.status()
        driver.release.set()
    assert status.connects == 2
    assert status.last_error is not None
    assert status.last_error.startswith("no frame for 0.15 s: check the camera, its cable and the network")
    assert sum("away" in line for line in log_of(caplog)) == 1


def test_the_watchdog_is_stricter_once_frames_have_come() -> None:
    driver = Blocking(frames=1)
    patience = Patience(first_frame=60, next_frame=0.1, release=0.02)
    with running(Camera("0", frames=driver, patience=patience)) as camera:
        wait_until(lambda: camera.status().failures, seconds=5)
    driver.release.set()


def test_what_a_given_up_capture_sends_later_is_not_listened_to() -> None:
    stuck = Blocking(frames=1)

    def healthy() -> Frames:
        while True:
            yield now(20)
            time.sleep(0.001)

    seen = Collector()
    frames = tries(stuck, healthy)
    with running(Camera("0", frames=frames, on_frame=seen, backoff=Backoff(0.01), patience=IMPATIENT)):
        seen.wait(5)
        stuck.release.set()
        assert stuck.left.wait(5)
        seen.wait(len(seen.frames) + 5)
    assert {grey(frame.image) for frame in seen.frames} == {0, 20}


def test_no_more_than_a_few_stuck_captures_are_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    driver = Blocking()
    patience = Patience(0.02, 0.02, 0.01)
    with running(Camera("0", frames=driver, backoff=Backoff(0.001, 0.001), patience=patience)) as camera:
        wait_until(lambda: "stuck in the camera's driver" in (camera.status().last_error or ""))
        assert camera.status().state == "stalled"
        assert driver.opened == MAX_STUCK
        assert sum("stuck" in line for line in log_of(caplog)) == 1
        driver.release.set()  # the camera was plugged in again
        wait_until(lambda: driver.opened > MAX_STUCK)


@pytest.mark.parametrize("frames", [0, 1])
def test_stop_does_not_wait_for_a_blocked_driver(frames: int) -> None:
    driver = Blocking(frames)
    camera = Camera("0", frames=driver)
    with running(camera):  # which asserts that stop() takes less than a second
        wait_until(lambda: driver.opened)
        assert not camera.stop()
    driver.release.set()
    wait_until(camera.stop)


def test_stop_lets_the_source_go() -> None:
    closed = threading.Event()

    def frames() -> Frames:
        try:
            while True:
                yield now(1)
                time.sleep(0.001)
        finally:
            closed.set()

    with running(Camera("0", frames=frames)) as camera:
        wait_until(camera.latest)
    assert closed.is_set()


def test_stop_does_not_wait_for_the_next_try_or_the_next_picture(tmp_path: Path) -> None:
    with running(Camera("0", frames=refuses)) as camera:
        wait_until(lambda: camera.status().state == "retrying")
    slow = Camera(str(write_pictures(tmp_path / "parts", [1, 2])), fps=0.01)
    with running(slow):
        wait_until(slow.latest)
        assert slow.status().state == "live"


def test_a_slow_folder_is_not_taken_for_dead(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10, 50])
    seen = Collector()
    with running(Camera(str(folder), fps=4, on_frame=seen, patience=Patience(1, 0.1, 0.1))) as camera:
        seen.wait(3)
        assert camera.status().failures == 0


def test_a_surprise_in_the_driver_or_the_listener_is_a_failure_like_any_other() -> None:
    def bursts() -> Frames:
        yield now(1)
        raise MemoryError("no more rtsp://u:secret@cam/live")

    with running(Camera("0", frames=bursts, backoff=Backoff(0.01))) as camera:
        wait_until(lambda: camera.status().failures)
        assert camera.status().last_error == "MemoryError: no more rtsp://***@cam/live"

    def listener(_: object) -> None:
        raise RuntimeError("the loop is closed")

    with running(Camera("0", frames=sends(1, 2), on_frame=listener, backoff=Backoff(0.01))) as camera:
        wait_until(lambda: camera.status().last_error == "RuntimeError: the loop is closed")


def test_a_crop_beyond_the_picture_is_told_and_tried_again() -> None:
    with running(Camera("0", frames=sends(1), crop=Crop(0, 0, 100, 100))) as camera:
        wait_until(lambda: camera.status().state == "retrying")
        assert "0,0,100,100 reaches beyond the picture of 64×48" in (camera.status().last_error or "")
        assert camera.status().connects == 0


def test_a_missing_folder_is_found_when_it_appears(tmp_path: Path) -> None:
    with running(Camera(str(tmp_path / "parts"), backoff=Backoff(0.01, 0.01))) as camera:
        wait_until(lambda: "no folder or file" in (camera.status().last_error or ""))
        write_pictures(tmp_path / "parts", [10])
        wait_until(camera.latest)


def test_an_address_where_nothing_listens_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    address = f"rtsp://admin:secret@127.0.0.1:{free_port()}/live?token=secret"
    with running(Camera(address)) as camera:
        wait_until(lambda: camera.status().state == "retrying")
        status = camera.status()
    assert "nothing listens there" in (status.last_error or "")
    assert "secret" not in "".join(log_of(caplog)) + repr(status)


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"fps": 0}, "fps"), ({"width": -5}, "width"), ({"height": 10**6}, "height"), ({"source": "ftp://x"}, "address")],
)
def test_settings_that_cannot_be_are_refused_at_once(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Camera(**({"source": "0"} | settings))  # type: ignore[arg-type]


def test_one_camera_in_trouble_leaves_another_alone(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10])
    driver = Blocking()
    with running(Camera("0", frames=driver)), running(Camera(str(folder), fps=100)) as healthy:
        wait_until(lambda: healthy.status().frames >= 5)
    driver.release.set()


def test_one_that_sends_rarely_is_given_the_patience_asked_for() -> None:
    patience = Patience.between_frames(60)
    assert (patience.first_frame, patience.next_frame) == (60, 60)
    assert Patience.between_frames(2) == Patience(first_frame=10, next_frame=2)
    assert Patience.between_frames(5) == Patience()
    for seconds in (0, -1, 1e9, float("nan")):
        with pytest.raises(ValueError, match="patience must be 1 to 3600 seconds"):
            Patience.between_frames(seconds)


def test_while_video_comes_without_a_picture_it_waits_then_tries_anew(caplog: pytest.LogCaptureFixture) -> None:
    def blind() -> Frames:
        while True:
            time.sleep(0.01)
            yield Pending("no key frame yet")

    patience = Patience(first_frame=1, next_frame=1, picture=0.1, blind=2)
    with running(
        Camera("0", frames=tries(blind, sends(*[20] * 50)), backoff=Backoff(0.01), patience=patience)
    ) as camera:
        wait_until(lambda: camera.status().last_error)
        assert (camera.status().state, camera.status().failures) == ("connecting", 0)
        wait_until(lambda: camera.status().connects)
        assert camera.status().failures >= 1
    assert sum("it sends, but there is no picture: no key frame yet" in line for line in log_of(caplog)) == 1


def test_when_a_frame_came_goes_with_it() -> None:
    def late() -> Frames:
        yield Grabbed(None, lambda: picture(20), came=5.0)
        yield now(20)
        threading.Event().wait(1)

    seen = Collector()
    with running(Camera("0", frames=late, on_frame=seen)):
        assert [frame.came for frame in seen.wait(2)] == [5.0, None]


def test_damaged_frames_are_counted_and_cost_no_turn() -> None:
    def mixed() -> Frames:
        for number in range(40):
            time.sleep(0.005)
            yield Damaged("packets were lost") if number % 2 else now(20)
        threading.Event().wait(1)

    seen, reasons = Collector(), list[str]()
    with running(Camera("0", frames=mixed, fps=240, on_frame=seen, on_damaged=reasons.append)) as camera:
        wait_until(lambda: len(reasons) == 20)
        status = camera.status()
    assert status.damaged == 20
    assert len(seen.frames) >= 15
    assert (status.state, status.failures) == ("live", 0)
    assert status.last_error == "many frames come damaged: packets were lost"


def test_frames_that_come_late_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def twice_many() -> Frames:
        for late in (True, False, True):
            for _ in range(LOOKED_AT):
                yield Late() if late else now(20)
        yield now(120)
        threading.Event().wait(1)

    seen, came_late = Collector(), list[None]()
    patience, note = Patience(picture=60), lambda: came_late.append(None)
    with running(Camera("0", frames=twice_many, on_frame=seen, on_late=note, patience=patience)) as camera:
        seen.wait(LOOKED_AT + 1)
        status = camera.status()
    assert status.dropped == len(came_late) == 2 * LOOKED_AT
    assert (status.state, status.failures, status.damaged, status.last_error) == ("live", 0, 0, LATE)
    assert sum(LATE in line for line in log_of(caplog)) == 1


def test_while_everything_comes_late_that_is_said_and_nothing_is_given_up() -> None:
    in_time = threading.Event()

    def late() -> Frames:
        yield now(20)
        while not in_time.is_set():
            time.sleep(0.005)
            yield Late()
        yield now(120)
        threading.Event().wait(1)

    seen = Collector()
    patience = Patience(first_frame=1, next_frame=1, picture=0.3)
    with running(Camera("0", frames=late, on_frame=seen, patience=patience)) as camera:
        wait_until(lambda: camera.status().state == "stalled")
        assert (camera.status().failures, camera.status().last_error) == (0, LATE)
        in_time.set()
        seen.wait(2)
        assert camera.status().state == "live"
