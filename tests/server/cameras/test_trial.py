"""One look at a camera, whatever it does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from server.cameras import trial as trial_module
from server.cameras.arrivals import Arrival, CaptureError, Damaged, DamagedError, Frames, Grabbed, Nothing, Pending
from server.cameras.framing import Crop, Image
from server.cameras.trial import NO_PICTURE, Found, Trial
from tests.server.camera_fakes import picture, wait_until

SOURCE = "rtsp://operator:secret@10.0.0.7/live"


@pytest.fixture(autouse=True)
def measured_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_module, "MEASURED_S", 0.05)


def frames(*arrivals: Arrival | Exception) -> Callable[[], Frames]:
    def generate() -> Iterator[Arrival]:
        for one in arrivals:
            if isinstance(one, Exception):
                raise one
            yield one

    return generate  # type: ignore[return-value]


def shown(value: int = 90) -> Grabbed:
    return Grabbed(None, lambda: picture(value))


def broken() -> Image:
    raise DamagedError("the picture is broken")


def looked(opens: Callable[[], Frames], **options: Any) -> Found:
    """What is found once the look is over."""
    trial = Trial(SOURCE, frames=opens, on_news=lambda: None, **options)
    trial.start()
    wait_until(lambda: trial.ended)
    return trial.found()


def test_the_first_picture_is_found_sized_and_cropped() -> None:
    found = looked(frames(shown(), shown(20)), width=32, crop=Crop(0, 0, 16, 24))
    assert found.picture is not None and found.picture.shape == (24, 16, 3)
    assert int(found.picture.mean()) == 90 and found.problem is None


def test_their_rate_is_measured_while_they_come() -> None:
    def every_few_ms() -> Iterator[Arrival]:
        pause = threading.Event()
        while True:
            yield shown()
            pause.wait(0.01)

    found = looked(every_few_ms)  # type: ignore[arg-type]
    assert found.fps is not None and 0 < found.fps <= 240


def test_faster_than_any_camera_is_no_rate() -> None:
    assert looked(frames(*[shown()] * 50)).fps is None


def test_what_is_not_a_picture_is_passed_over() -> None:
    found = looked(frames(Nothing(), Pending("no key frame"), Damaged("lost"), Grabbed(None, broken), shown(50)))
    assert found.picture is not None and found.problem is None


@pytest.mark.parametrize(
    ("arrivals", "problem"),
    [
        ([Pending("no key frame yet")], "no key frame yet"),
        ([Damaged("packets were lost")], "packets were lost"),
        ([Grabbed(None, broken)], "the picture is broken"),
        ([CaptureError("nothing listens there")], "nothing listens there"),
        ([OSError(f"cannot open {SOURCE}")], "OSError: cannot open rtsp://***@10.0.0.7/live"),
        ([], NO_PICTURE),
    ],
)
def test_without_a_picture_it_says_why_without_secrets(arrivals: list[Arrival | Exception], problem: str) -> None:
    found = looked(frames(*arrivals))
    assert found == Found(problem=problem)


def test_a_crop_beyond_the_picture_is_said() -> None:
    assert "reaches beyond the picture" in str(looked(frames(shown()), crop=Crop(0, 0, 500, 5)).problem)


def test_one_that_breaks_after_its_first_picture_was_seen() -> None:
    found = looked(frames(shown(), CaptureError("the camera ended the stream")))
    assert found.picture is not None and found.problem is None


def test_a_driver_that_hangs_is_left_behind_until_it_comes_back() -> None:
    gate, news = threading.Event(), threading.Event()

    def hangs(gate: threading.Event) -> Iterator[Arrival]:
        gate.wait(20)
        yield shown()

    trial = Trial(SOURCE, frames=partial(hangs, gate), on_news=news.set)  # type: ignore[arg-type]
    trial.start()
    trial.give_up()
    assert not trial.ended and trial.found() == Found(problem=NO_PICTURE)
    gate.set()
    wait_until(lambda: trial.ended)
    assert trial.found().picture is None, "what comes later is not listened to"


@pytest.mark.parametrize("source", ["", "file:///etc/passwd", "rtsp://"])
def test_what_can_be_no_source_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"source|address"):
        Trial(source, on_news=lambda: None)
