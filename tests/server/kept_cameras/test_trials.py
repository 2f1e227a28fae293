"""A few looks at cameras at once, and those that never come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from server.cameras import trial
from server.cameras.arrivals import Arrival, Grabbed
from server.kept_cameras import trials as module
from server.kept_cameras.trials import MOST_AT_ONCE, MOST_LEFT_BEHIND, Trials, TrialsBusy
from server.settings import PulledCamera
from tests.server.camera_fakes import picture, wait_until

CAMERA = PulledCamera("press", "rtsp://operator:secret@camera/live")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every camera hangs until it is set."""
    gate = threading.Event()

    def grab(*_: object, **__: object) -> Iterator[Arrival]:
        gate.wait(20)
        yield Grabbed(None, lambda: picture(90))

    monkeypatch.setattr(trial, "grab", grab)
    monkeypatch.setattr(trial, "MEASURED_S", 0.0)
    yield gate
    gate.set()


async def test_one_looks_around_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, trials = threading.Event(), Trials(1000)
    monkeypatch.setattr(module, "look_around", lambda: gate.wait(20) and [])
    first = asyncio.create_task(trials.look_around())
    await asyncio.sleep(0)
    with pytest.raises(TrialsBusy, match="looked for already"):
        await trials.look_around()
    first.cancel()  # whoever asked has gone, and the search goes on
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(TrialsBusy, match="looked for already"):
        await trials.look_around()
    gate.set()
    while True:
        try:
            assert await trials.look_around() == []
            break
        except TrialsBusy:
            await asyncio.sleep(0.01)


async def test_a_picture_is_found(gate: threading.Event) -> None:
    gate.set()
    found = await Trials(1000).look(CAMERA)
    assert found.picture is not None and found.problem is None


async def test_two_at_once_and_no_more(gate: threading.Event) -> None:
    trials = Trials(1000)
    looks = [asyncio.create_task(trials.look(CAMERA)) for _ in range(MOST_AT_ONCE)]
    await asyncio.sleep(0)
    for _ in range(100):
        with pytest.raises(TrialsBusy, match="2 cameras are being tested already"):
            await trials.look(CAMERA)
    gate.set()
    assert all(found.picture is not None for found in await asyncio.gather(*looks))
    assert (await trials.look(CAMERA)).picture is not None


async def test_one_that_hangs_is_left_behind_and_there_is_an_end_of_them(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WITHIN_S", 0.01)
    trials = Trials(1000)
    before = threading.active_count()
    for _ in range(MOST_LEFT_BEHIND):
        found = await trials.look(CAMERA)
        assert found.picture is None and "no picture came in time" in str(found.problem)
    for _ in range(100):
        with pytest.raises(TrialsBusy, match="hang in the drivers"):
            await trials.look(CAMERA)
    assert threading.active_count() <= before + MOST_LEFT_BEHIND
    gate.set()
    wait_until(lambda: threading.active_count() <= before)
    assert "no picture" in str((await trials.look(CAMERA)).problem or "no picture")


async def test_what_cannot_be_added_cannot_be_tried(gate: threading.Event) -> None:
    with pytest.raises(ValueError, match="address"):
        await Trials(1000).look(PulledCamera("press", "/etc/passwd"))
    assert threading.active_count() < 50


async def test_a_camera_that_shows_one_picture_and_falls_silent_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()

    def grab(*_: object, **__: object) -> Iterator[Arrival]:
        yield Grabbed(None, lambda: picture(90))
        gate.wait(20)

    monkeypatch.setattr(trial, "grab", grab)
    monkeypatch.setattr(module, "MEASURED_S", 0.0)
    found = await Trials(1000).look(CAMERA)
    assert found.picture is not None and not gate.is_set()
    gate.set()
