"""Frames from real folders, files and an HTTP camera."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

import detector.images
from server.cameras import device
from server.cameras.arrivals import CaptureError, Grabbed, Nothing
from server.cameras.capture import grab
from server.cameras.source import check_source
from tests.server.camera_fakes import free_port, grabbed, grey, picture, write_pictures


def write_video(path: Path, greys: list[int], fps: int = 10) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (64, 48))
    for value in greys:
        writer.write(picture(value))
    writer.release()
    return path


def test_a_folder_plays_in_name_order_again_and_again(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10, 50, 90])
    shown = list(islice(grabbed(grab(str(folder), fps=4)), 5))
    assert [grey(frame.image()) for frame in shown] == [10, 50, 90, 10, 50]
    assert [frame.due for frame in shown] == [0, 0.25, 0.5, 0.75, 1]


def test_a_damaged_picture_is_skipped_and_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_pictures(tmp_path / "parts", [10, 50])
    (folder / "00a.jpg").write_bytes(b"\xff\xd8 not a picture")
    (folder / "00b.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture, and not meant to be one")
    assert [grey(frame.image()) for frame in islice(grabbed(grab(str(folder))), 4)] == [10, 50, 10, 50]
    assert [record.message.split("/")[-1].split()[0] for record in caplog.records] == ["00a.jpg", "00b.jpg"]


@pytest.mark.parametrize("name", ["deep.png", "clear.png", "deep.tif", "clear.tif"])
def test_pictures_of_a_folder_are_read_as_for_teaching(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (32, 40, 4 if "clear" in name else 3), np.uint8)
    if "deep" in name:
        values = values.astype(np.uint16) * 257 + np.uint16(130)
    assert cv2.imwrite(str(tmp_path / name), values)
    shown = next(grabbed(grab(str(tmp_path)))).image()
    assert np.array_equal(shown, detector.images.read(tmp_path / name))


def test_a_picture_added_while_it_plays_is_shown(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "parts", [10])
    frames = grab(str(folder))
    assert grey(next(grabbed(frames)).image()) == 10
    write_pictures(folder, [10, 90])
    assert {grey(next(grabbed(frames)).image()) for _ in range(2)} == {10, 90}


@pytest.mark.parametrize(("name", "why"), [("", "holds no pictures"), ("gone", "no folder or file")])
def test_a_folder_without_pictures_says_so(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(CaptureError, match=why):
        next(grab(str(tmp_path / name)))


def test_a_video_plays_at_its_own_rate_again_and_again(tmp_path: Path) -> None:
    video = write_video(tmp_path / "line.mp4", [20, 120, 220], fps=10)
    frames = grab(str(video))
    shown = list(islice(grabbed(frames), 7))
    frames.close()
    assert [grey(frame.image()) for frame in shown] == [20, 120, 220, 20, 120, 220, 20]
    assert [frame.due for frame in shown] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert shown[0].image().shape == (48, 64, 3)


def test_colours_are_bgr(tmp_path: Path) -> None:
    blue = picture(0)
    blue[:, :, 0] = 255
    writer = cv2.VideoWriter(str(tmp_path / "blue.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    writer.write(blue)
    writer.release()
    pixel = next(grabbed(grab(str(tmp_path / "blue.mp4")))).image()[24, 32]
    assert pixel[0] > 240
    assert max(pixel[1:]) < 15


def test_a_phone_video_is_shown_upright(tmp_path: Path) -> None:
    lying = picture(0)
    lying[:, :8] = 255
    writer = cv2.VideoWriter(str(tmp_path / "phone.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    writer.write(lying)
    writer.release()
    # Phones write this matrix into the track's header: turn by 90° clockwise.
    file = bytearray((tmp_path / "phone.mp4").read_bytes())
    matrix = file.index(b"tkhd") + 4 + 40
    file[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "phone.mp4").write_bytes(file)

    upright = next(grabbed(grab(str(tmp_path / "phone.mp4")))).image()
    assert upright.shape == (64, 48, 3)
    assert upright[:6].mean() > 200
    assert upright[12:].mean() < 20


def test_a_file_that_is_no_video_says_so(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    with pytest.raises(CaptureError, match="not video"):
        next(grab(str(text)))


def test_a_device_that_is_not_there_says_what_to_check(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CaptureError, match="camera 97 cannot be opened: check that it is plugged in"):
        next(grab("97"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "source",
    [
        "0",
        "/dev/video0",
        "parts",
        "10:15.mp4",
        "RTSP://u:p@cam/live",
        "rtsp://u:p%23@[::1]/live",
        "https://cam:80/v.mjpg",
    ],
)
def test_what_may_be_a_source(source: str) -> None:
    check_source(source)


@pytest.mark.parametrize(
    "source", ["", "file:///etc/passwd", "ftp://cam/x", "rtsp://", "rtsp://cam:99999/", "concat://x"]
)
def test_what_can_be_no_source(source: str) -> None:
    with pytest.raises(ValueError, match=r"give|must start"):
        check_source(source)


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://admin:12#34@host/live",
        "rtsp://admin:12/34@host",
        "rtsp://admin:12?34@host",
        "http://admin:p@ss#1@host/live",
        "rtsp://cam/live of press 4",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_in_words(source: str) -> None:
    with pytest.raises(ValueError, match=r"%23|%20") as told:
        check_source(source)
    assert "34" not in str(told.value)


def test_a_driver_that_waited_in_vain_for_a_trigger_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Triggered:
        grabs: ClassVar = [False, False, True]

        def isOpened(self) -> bool:
            return True

        def set(self, *_: object) -> None:
            pass

        def release(self) -> None:
            pass

        def grab(self) -> bool:
            time.sleep(0.02)
            return self.grabs.pop(0)

    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Triggered())
    monkeypatch.setattr(device, "_DRIVER_WAITS_S", 0.01)
    found = list(islice(grab("0"), 3))
    assert [type(one) for one in found] == [Nothing, Nothing, Grabbed]


class _HttpCamera(BaseHTTPRequestHandler):
    """/video is MJPEG of three frames, /locked wants a password, everything else is unknown."""

    def do_GET(self) -> None:
        if self.path != "/video":
            self.send_error(401 if self.path == "/locked" else 404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for value in (20, 120, 220, 220):
            jpeg = cv2.imencode(".jpg", picture(value))[1].tobytes()
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http_camera() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _HttpCamera) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_mjpeg_over_http_is_live_and_ends_with_the_connection(http_camera: str) -> None:
    shown = list[Grabbed]()
    with pytest.raises(CaptureError, match=r"ended the stream|does not answer"):
        shown.extend(grabbed(grab(f"{http_camera}/video")))
    assert grey(shown[-1].image()) == 220
    assert {frame.due for frame in shown} == {None}


@pytest.mark.parametrize(("path", "why"), [("locked", "user name or password"), ("other", "no such stream")])
def test_a_refusal_over_http_says_why(http_camera: str, path: str, why: str) -> None:
    with pytest.raises(CaptureError, match=why):
        next(grab(f"{http_camera}/{path}"))


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{0}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nconcat:{0}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ncrypto+file://{0}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile file://{0}\n",
        "ffconcat version 1.0\nfile {0}\n",
    ],
)
def test_a_playlist_cannot_lead_to_files_of_this_machine(tmp_path: Path, playlist: str) -> None:
    video = write_video(tmp_path / "secret.mp4", [20] * 5)

    class Playlist(_HttpCamera):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.apple.mpegurl")
            self.end_headers()
            self.wfile.write(playlist.format(video).encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Playlist) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with pytest.raises(CaptureError):
            next(grab(f"http://127.0.0.1:{server.server_port}/live.m3u8"))
        server.shutdown()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_closed_port_says_so_without_the_password(scheme: str) -> None:
    with pytest.raises(CaptureError, match="nothing listens there") as told:
        next(grab(f"{scheme}://admin:secret@127.0.0.1:{free_port()}/live"))
    assert "secret" not in str(told.value)
