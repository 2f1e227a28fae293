"""A camera over real RTSP through a network that loses packets, holds them back, and answers in its stead."""

from __future__ import annotations

import logging
import time
from itertools import pairwise
from pathlib import Path

import pytest

from server.cameras import ffmpeg
from server.cameras.backoff import Backoff
from server.cameras.camera import Camera, CapturedFrame, Patience
from tests.equipment import RTSP_PACKAGES, has_rtsp_equipment
from tests.server.camera_fakes import Collector, free_port, running, wait_until
from tests.server.cameras.films import fingerprint, fingerprints, rtsp_camera, write_film
from tests.server.cameras.relay import RtspRelay

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not has_rtsp_equipment(), reason=f"needs an RTSP server: apt install {' '.join(RTSP_PACKAGES)}"),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key frame every half second."""
    return write_film(tmp_path_factory.mktemp("rtsp") / "film.mp4", 20, 12)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key frame every 15 s, as cameras with H.264+ send it."""
    return write_film(tmp_path_factory.mktemp("rtsp") / "long.mp4", 30, 375)


def address(port: int) -> str:
    return f"rtsp://127.0.0.1:{port}/live"


def some(packet: bytes) -> bool:
    """Every eleventh RTP packet, but not the first ones, so that it comes up."""
    number = int.from_bytes(packet[2:4], "big")
    return number % 11 == 0


def is_of_key_frame(packet: bytes) -> bool:
    """Whether an H.264 RTP packet holds a part of a key frame."""
    kind = packet[12] & 31
    return (packet[13] & 31 if kind == 28 else kind) == 5


class FirstKeyFrame:
    """Loses the first key frame: for whoever reads, that is as if it came after it."""

    def __init__(self) -> None:
        self._time = b""

    def __call__(self, packet: bytes) -> bool:
        self._time = self._time or packet[4:8]
        return packet[4:8] == self._time and is_of_key_frame(packet)


@pytest.mark.parametrize("arguments", [(), ("--parameters-in-sdp",)])
def test_it_is_live_at_once_however_rare_key_frames_are(long_film: Path, arguments: tuple[str, ...]) -> None:
    port, seen = free_port(), Collector()
    with rtsp_camera(long_film, port, *arguments), running(Camera(address(port), on_frame=seen)):
        first = seen.wait(1)[0]
    assert fingerprints(long_film)[fingerprint(first.image)] == 0


def test_one_that_comes_between_two_key_frames_waits_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "defectvision.camera")
    film, port, seen = write_film(tmp_path / "film.mp4", 30, 75), free_port(), Collector()
    patience = Patience(first_frame=2, next_frame=2, picture=0.3)
    with rtsp_camera(film, port), RtspRelay(port, FirstKeyFrame()) as relay:
        camera = Camera(address(relay.port), on_frame=seen, patience=patience)
        with running(camera):
            wait_until(lambda: "no key frame yet" in (camera.status().last_error or ""))
            assert camera.status().state == "connecting"
            seen.wait(1)
            status = camera.status()
    # It was not given up, though it had to wait for longer than its patience for silence.
    assert (status.state, status.failures, status.connects, status.damaged) == ("live", 0, 1, 0)
    assert fingerprints(film)[fingerprint(seen.frames[0].image)] == 75
    assert sum("no key frame yet: shorten the camera's I-frame interval" in line for line in caplog.messages) == 1


@pytest.mark.parametrize(("codec", "arguments"), [("h264", ()), ("h264", ("--udp",)), ("h265", ("--h265",))])
def test_no_frame_is_handed_out_of_which_a_packet_was_lost(
    tmp_path: Path, codec: str, arguments: tuple[str, ...]
) -> None:
    film, port, seen, reasons = write_film(tmp_path / "film.mp4", 20, 12, codec), free_port(), Collector(), list[str]()
    with rtsp_camera(film, port, *arguments), RtspRelay(port, some) as relay:
        camera = Camera(address(relay.port), on_frame=seen, on_damaged=reasons.append)
        with running(camera):
            wait_until(lambda: relay.lost >= 10 and len(seen.frames) >= 5, seconds=20)
            status = camera.status()
    whole = fingerprints(film)
    assert [frame.number for frame in seen.frames if fingerprint(frame.image) not in whole] == []
    assert status.damaged >= 10
    assert len(reasons) >= status.damaged
    assert any("packets were lost on the way" in reason for reason in reasons)


def test_a_key_frame_that_comes_in_slices_with_parameters_before_each_is_one_whole_frame(tmp_path: Path) -> None:
    film, port, seen = write_film(tmp_path / "film.mp4", 20, 12, "sliced"), free_port(), Collector()
    with rtsp_camera(film, port), running(Camera(address(port), on_frame=seen)) as camera:
        seen.wait(30)
        assert camera.status().damaged == 0
    whole = fingerprints(film)
    assert [whole[fingerprint(frame.image)] for frame in seen.frames] == list(range(len(seen.frames)))


def test_many_damaged_frames_are_said_once(film: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with rtsp_camera(film, port), RtspRelay(port, some) as relay, running(Camera(address(relay.port))) as camera:
        wait_until(lambda: "many frames come damaged: " in (camera.status().last_error or ""), seconds=20)
    assert sum("many frames come damaged" in line for line in caplog.messages) == 1


def test_what_is_held_back_comes_and_nothing_is_given_up(film: Path) -> None:
    port, seen = free_port(), Collector()
    with (
        rtsp_camera(film, port),
        RtspRelay(port) as relay,
        running(Camera(address(relay.port), on_frame=seen)) as camera,
    ):
        seen.wait(5)
        relay.flows.clear()
        time.sleep(0.5)
        before = len(seen.frames)
        relay.flows.set()
        seen.wait(before + 20)
        status = camera.status()
    assert (status.failures, status.damaged) == (0, 0)
    whole = fingerprints(film)
    assert [whole[fingerprint(frame.image)] for frame in seen.frames] == list(range(len(seen.frames)))


def test_video_that_cannot_be_decoded_is_no_stuck_driver_and_is_shown_when_it_can(film: Path) -> None:
    port, seen, broken = free_port(), Collector(), True
    patience = Patience(first_frame=5, next_frame=1, picture=0.2, release=0.1)
    with (
        rtsp_camera(film, port),
        RtspRelay(port, lambda packet: broken and is_of_key_frame(packet)) as relay,
        running(Camera(address(relay.port), on_frame=seen, patience=patience)) as camera,
    ):
        wait_until(lambda: camera.status().last_error)
        before = relay.lost
        wait_until(lambda: relay.lost > before + 5)
        assert not seen.frames
        assert camera.status().failures == 0
        broken = False
        seen.wait(5)
        assert (camera.status().state, camera.status().connects, camera.status().failures) == ("live", 1, 0)
        broken = True
        wait_until(lambda: camera.status().state == "stalled")
        broken = False
        wait_until(lambda: camera.status().state == "live")
        assert camera.status().failures == 0
        assert camera.stop()  # nothing is left in a driver


def test_one_that_sends_over_udp_only_is_read(film: Path) -> None:
    port, seen = free_port(), Collector()
    with rtsp_camera(film, port, "--udp"), running(Camera(address(port), on_frame=seen)):
        seen.wait(10)
    whole = fingerprints(film)
    assert all(fingerprint(frame.image) in whole for frame in seen.frames)


@pytest.mark.parametrize(
    ("method", "answer", "told"),
    [
        ("PLAY", None, "no answer for 0.5 s: check the network"),
        ("SETUP", "453 Not Enough Bandwidth", "busy (it answered 453): it sends to as many viewers as it can"),
        ("DESCRIBE", "503 Service Unavailable", "busy (it answered 503)"),
        ("PLAY", "500 Internal Server Error", "in trouble (it answered 500): restart it"),
        ("DESCRIBE", "401 Unauthorized", "refused the user name or password"),
        ("DESCRIBE", "404 Not Found", "no such stream"),
        ("SETUP", "461 Unsupported Transport", "neither over TCP nor over UDP"),
    ],
)
def test_the_true_reason_is_told(
    film: Path, method: str, answer: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "ANSWER_S", 0.5)
    port = free_port()
    with (
        rtsp_camera(film, port),
        RtspRelay(port, answers={method: answer}) as relay,
        running(Camera(address(relay.port), backoff=Backoff(0.1, 0.1))) as camera,
    ):
        wait_until(lambda: camera.status().last_error)
        assert told in (camera.status().last_error or "")


def test_a_reader_that_is_too_slow_goes_on_with_a_new_key_frame(film: Path) -> None:
    port, seen = free_port(), Collector()

    def decode(frame: CapturedFrame) -> None:
        seen(frame)
        time.sleep(0.12)  # three frames come meanwhile

    with rtsp_camera(film, port), running(Camera(address(port), on_frame=decode)) as camera:
        wait_until(lambda: camera.status().dropped)
        seen.wait(len(seen.frames) + 3)
        status = camera.status()
    whole = fingerprints(film)
    numbers = [whole[fingerprint(frame.image)] for frame in seen.frames]
    after = [number for before, number in pairwise(numbers) if number != before + 1]
    assert after
    assert all(number % 12 == 0 for number in after)
    ways = [(frame.came or 0.0) - number / 25 for frame, number in zip(seen.frames, numbers, strict=True)]
    late = [frame.captured_at - (frame.came or 0.0) for frame in seen.frames]
    assert max(ways) - min(ways) < 0.4 < max(late), "however late a frame is read, it came at its pace"
    assert (status.failures, status.damaged) == (0, 0)
