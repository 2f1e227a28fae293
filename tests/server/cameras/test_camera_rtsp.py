"""A camera over real RTSP: GStreamer's server, killed in mid-stream, frozen, and locked with a password."""

from __future__ import annotations

import logging
import signal
import subprocess
from pathlib import Path

import pytest

from server.cameras.backoff import Backoff
from server.cameras.camera import Camera, Patience
from tests.equipment import RTSP_PACKAGES, has_rtsp_equipment
from tests.server.camera_fakes import Collector, free_port, grey, running, wait_until
from tests.server.cameras.films import rtsp_camera

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not has_rtsp_equipment(), reason=f"needs an RTSP server: apt install {' '.join(RTSP_PACKAGES)}"),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of grey at 25 fps, H.264 without B frames as cameras send it."""
    path = tmp_path_factory.mktemp("rtsp") / "film.mp4"
    source = ["-f", "lavfi", "-i", "color=c=0x787878:size=64x48:rate=25:duration=60"]
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *source, *codec, str(path)], check=True)
    return path


def test_it_comes_back_after_the_camera_was_killed_in_mid_stream(film: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "defectvision.camera")
    port, seen = free_port(), Collector()
    camera = Camera(f"rtsp://127.0.0.1:{port}/live", on_frame=seen, backoff=Backoff(0.1, 0.2))
    with rtsp_camera(film, port) as process, running(camera):
        assert grey(seen.wait(10)[9].image) == 120
        assert seen.frames[9].image.shape == (48, 64, 3)
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: "nothing listens there" in (camera.status().last_error or ""))
        before = len(seen.frames)
        with rtsp_camera(film, port):
            seen.wait(before + 10)
            assert camera.status().state == "live"
    assert camera.status().connects == 2
    kinds = [record.getMessage().split(": ")[1].split()[0] for record in caplog.records]
    assert kinds[:4] == ["connecting", "live,", "away", "live"]


def test_a_camera_that_freezes_is_noticed(film: Path) -> None:
    port, seen = free_port(), Collector()
    patience = Patience(first_frame=5, next_frame=0.5, release=0.1)
    camera = Camera(f"rtsp://127.0.0.1:{port}/live", on_frame=seen, patience=patience)
    with rtsp_camera(film, port) as process, running(camera):
        seen.wait(5)
        process.send_signal(signal.SIGSTOP)  # its connections stay open, and silent
        wait_until(lambda: camera.status().state == "retrying")
        assert "no frame for 0.5 s" in (camera.status().last_error or "")


def test_a_password_opens_the_camera_and_a_wrong_one_is_told_but_not_shown(
    film: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "defectvision.camera")
    port = free_port()
    with rtsp_camera(film, port, "operator", "s3cr@t"):
        with running(Camera(f"rtsp://operator:s3cr%40t@127.0.0.1:{port}/live")) as camera:
            wait_until(camera.latest)
        with running(Camera(f"rtsp://operator:wr0ng@127.0.0.1:{port}/live")) as camera:
            wait_until(lambda: camera.status().state == "retrying")
            assert "refused the user name or password" in (camera.status().last_error or "")
    told = "".join(record.getMessage() for record in caplog.records) + "".join(capfd.readouterr())
    assert "***@127.0.0.1" in told
    assert "s3cr" not in told
    assert "wr0ng" not in told


def test_a_wrong_path_is_told(film: Path) -> None:
    port = free_port()
    with rtsp_camera(film, port), running(Camera(f"rtsp://127.0.0.1:{port}/other")) as camera:
        wait_until(lambda: camera.status().state == "retrying")
        assert "no such stream" in (camera.status().last_error or "")
