"""The command as a real process: what it sends, how it ends, and what it says about bad arguments."""

from __future__ import annotations

import argparse
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from websockets.http11 import Request
from websockets.sync.server import ServerConnection, serve

from server.camera_process.process import add_parser, run, server_url
from server.camera_process.stream_name import default_name
from tests.server.camera_fakes import ROOT, free_port, grey, write_pictures

# As server/cli.py does it, so that these tests need only this command.
COMMAND = """
import argparse, logging, sys
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from server.camera_process import add_parser
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers(required=True))
arguments = parser.parse_args()
heavy = {"openvino", "detector", "torch", "aiortc", "starlette"} & set(sys.modules)
assert not heavy, heavy
sys.exit(arguments.run(arguments))
"""


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """``defectvision camera`` with these arguments."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "camera", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def read_until(running: subprocess.Popen[str], text: str) -> str:
    """The process's log up to the line that holds this text."""
    assert running.stderr is not None
    log = ""
    while text not in log:
        line = running.stderr.readline()
        assert line, f"{text!r} did not come: {log}"
        log += line
    return log


def end(running: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal, and return the exit code and the rest of the log. Fails when it takes more than a second."""
    started = time.monotonic()
    running.send_signal(number)
    _, log = running.communicate(timeout=10)
    assert time.monotonic() - started < 1.0
    return running.returncode, log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "parts", [50, 200])


class Sink:
    """A server that takes frames and answers none."""

    def __init__(self) -> None:
        self.requests: queue.Queue[Request] = queue.Queue()
        self.frames: queue.Queue[bytes] = queue.Queue()

    def __enter__(self) -> Sink:
        self._server = serve(self._take, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def _take(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.requests.put(connection.request)
        for data in connection:
            assert isinstance(data, bytes)
            self.frames.put(data)


@pytest.fixture
def silence() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_sends_what_was_asked_for_until_it_is_told_to_stop(folder: Path, number: signal.Signals) -> None:
    settings = ["--width", "32", "--crop", "0,0,20,10", "--fps", "50", "--name", "press-4"]
    with Sink() as sink, process(str(folder), "--server", sink.url, *settings, ACCESS_CODE="sesame") as running:
        request = sink.requests.get(timeout=10)
        assert request.path == "/ws/stream?name=press-4"
        assert request.headers["Authorization"] == "Bearer sesame"
        image = cv2.imdecode(np.frombuffer(sink.frames.get(timeout=10), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (10, 20, 3)
        assert grey(np.asarray(image, np.uint8)) in (50, 200)
        code, log = end(running, number)
    assert code == 0
    assert "sesame" not in log
    assert "stopped" in log


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
def test_it_stops_at_once_while_it_connects(folder: Path, silence: int, transport: str) -> None:
    with process(str(folder), "--server", f"http://127.0.0.1:{silence}", "--transport", transport) as running:
        read_until(running, "connecting as stream")
        assert end(running, signal.SIGINT)[0] == 0


def test_it_stops_at_once_while_camera_and_server_are_away() -> None:
    camera = f"rtsp://admin:secret@127.0.0.1:{free_port()}/live?token=secret"
    with process(camera, "--server", f"http://127.0.0.1:{free_port()}") as running:
        log = read_until(running, "server http") + read_until(running, "away") + read_until(running, "away")
        code, rest = end(running, signal.SIGTERM)
    assert code == 0
    assert "rtsp://***@127.0.0.1" in log
    assert "secret" not in log + rest


def test_it_stops_at_once_while_neither_camera_nor_server_says_anything(silence: int) -> None:
    camera = f"rtsp://admin:secret@127.0.0.1:{silence}/live"
    with process(camera, "--server", f"http://127.0.0.1:{silence}") as running:
        log = read_until(running, "connecting as stream")
        code, rest = end(running, signal.SIGINT)
    assert code == 0
    assert "secret" not in log + rest


@pytest.mark.parametrize(("close_code", "told"), [(4001, "--name"), (1008, "the door is shut")])
def test_it_ends_with_2_when_the_server_sends_it_away(folder: Path, close_code: int, told: str) -> None:
    def shut(connection: ServerConnection) -> None:
        connection.close(close_code, "the door is shut")

    with serve(shut, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        with process(str(folder), "--server", url) as running:
            _, log = running.communicate(timeout=10)
    assert running.returncode == 2
    assert told in log.splitlines()[-1]


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(["camera", *arguments])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere", "--server", "http://host"], "no folder or file nowhere"),
        (["ftp://cam", "--server", "http://host"], "rtsp://"),
        (["0"], "--server"),
        (["0", "--server", "host:8000"], "http://"),
        (["0", "--server", "http://me:secret@host"], "--code"),
        (["0", "--server", "http://host", "--name", "a b"], "1 to 64"),
        (["0", "--server", "http://host", "--crop", "1,2,3"], "X,Y,W,H"),
        (["0", "--server", "http://host", "--quality", "101"], "1 to 100"),
        (["0", "--server", "http://host", "--code", "é"], "printable ASCII"),
        (["0", "--server", "https://host", "--ca", "/nowhere.pem"], "not a readable PEM certificate"),
        (["0", "--server", "https://host", "--ca", __file__], "not a readable PEM certificate"),
    ],
)
def test_bad_arguments_are_told_and_end_with_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "environment", "told"),
    [
        (["--transport", "webrtc", "--quality", "90"], "", "leave it out"),
        (["--fps", "0"], "", "fps must be above 0"),
        (["--width", "-1"], "", "width must be"),
        (["--width", "10", "--crop", "5,0,10,10"], "", "reaches beyond"),
        ([], "é", "printable ASCII"),
    ],
)
def test_settings_that_cannot_be_end_with_2(
    settings: list[str],
    environment: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ACCESS_CODE", environment)
    assert run(parse("0", "--server", "http://host", *settings)) == 2
    assert told in caplog.text


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://host:8000", "http://host:8000"),
        ("https://host/", "https://host"),
        ("https://host/behind/a/proxy/", "https://host/behind/a/proxy"),
        ("wss://host:1/ws/stream", "https://host:1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_servers_address_may_be_given_in_several_ways(given: str, url: str) -> None:
    assert server_url(given) == url


@pytest.mark.parametrize("source", ["0", "/dev/video2", "rtsp://u:secret@cam-7.local/live", "parts", "ä" * 200, "..."])
def test_a_name_is_made_up_that_the_server_takes(source: str) -> None:
    name = default_name(source)
    assert parse("0", "--server", "http://host", "--name", name).name == name
    assert "secret" not in name
    assert name == default_name(source)


def test_two_sources_on_one_host_have_two_names(tmp_path: Path) -> None:
    sources = [
        "rtsp://admin:secret@cam/Streaming/Channels/101",
        "rtsp://admin:secret@cam/Streaming/Channels/102",
        "rtsp://cam/user=admin_password=secret_channel=1.sdp",
        "rtsp://cam/user=admin_password=secret_channel=2.sdp",
        "http://cam/video?token=secret&camera=1",
        "http://cam/video?token=secret&camera=2",
        "rtsp://cam:8554/live",
        "rtsp://cam/live",
        str(tmp_path / "a" / "good"),
        str(tmp_path / "b" / "good"),
        "0",
        "1",
        "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_3F5A7B2F-video-index0",
        "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_3F5A7B2F-video-index1",
    ]
    names = [default_name(source) for source in sources]
    assert len(set(names)) == len(names)
    assert names == [default_name(source) for source in sources]
    assert not [name for name in names if "admin" in name or "secret" in name]


def test_the_login_is_not_even_in_the_hash_of_a_name() -> None:
    assert default_name("rtsp://admin:secret@cam/live") == default_name("rtsp://viewer:other@cam/live")
    assert default_name("RTSP://cam/live") == default_name("rtsp://cam/live")


def test_how_long_a_camera_may_be_silent_can_be_set(folder: Path) -> None:
    assert parse("0", "--server", "http://host", "--patience", "30").patience == 30
    for wrong in ("0", "4000", "nan"):
        assert run(parse("0", "--server", "http://host", "--patience", wrong)) == 2


def test_its_help_says_that_a_token_is_as_good_as_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["camera", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--code CODE token of the server, role operator, or its access code" in said
