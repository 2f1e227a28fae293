"""MJPEG as cameras write it: in many dialects, cut on the way, and hostile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.cameras import mjpeg
from server.cameras.arrivals import Arrival, CaptureError, Damaged, DamagedError, Frames, Grabbed, Late
from server.cameras.camera import Camera
from server.cameras.capture import grab
from server.cameras.framing import Image
from server.cameras.http_camera import Answer as Answered
from server.cameras.mjpeg import Splitter, pictures
from tests.server.camera_fakes import Collector, grey, picture, running, wait_until

GREYS = (20, 120, 220)


def jpeg(image: Image) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def busy(seed: int) -> Image:
    """A picture that is no picture any more with some of its bytes lost."""
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)


def split(*pieces: bytes) -> list[bytes | None]:
    splitter = Splitter()
    return [found for piece in pieces for found in splitter.feed(piece)]


@pytest.mark.parametrize("end", [b"", b"\xff\x02"], ids=["without end", "broken"])
def test_starts_within_starts_are_looked_through_a_few_times(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of ten thousand may be a picture's, as far as its own bytes tell."""
    monkeypatch.setattr(mjpeg, "MAX_BYTES", 1_000_000)
    nested, splitter, looks = b"\xff\xd8" + b"\xff\xe0\x00\x04\xff\xd8" * 10_000 + end, Splitter(), 0

    def counted(splitter: Splitter) -> int | None:
        nonlocal looks
        looks += 1
        assert looks < 1000
        return find_end(splitter)

    find_end = Splitter._find_end
    monkeypatch.setattr(Splitter, "_find_end", counted)
    for _ in range(40):
        assert [*splitter.feed(nested)] in ([], [None])
        assert len(splitter._data) <= mjpeg.MAX_BYTES
    whole = jpeg(busy(1))
    assert whole in [*splitter.feed(whole)]


def test_a_thumbnail_is_no_picture_where_the_scan_of_its_own_is_damaged() -> None:
    small, large = jpeg(picture(20)), jpeg(busy(1))
    with_thumbnail = large[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + large[2:]
    assert split(with_thumbnail) == [with_thumbnail]
    assert split(with_thumbnail[:-100] + b"\xff\x02" + with_thumbnail[-98:], large) == [None, large]


class Answer(BaseHTTPRequestHandler):
    """Answers with a type and what a function makes of the parts."""

    def do_GET(self) -> None:
        self.send_response(200)
        if self.kind:  # type: ignore[attr-defined]
            self.send_header("Content-Type", self.kind)  # type: ignore[attr-defined]
        self.end_headers()
        for part in self.parts:  # type: ignore[attr-defined]
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def camera(kind: str, parts: Iterable[bytes], handler: type[BaseHTTPRequestHandler] = Answer) -> Iterator[str]:
    """A camera's address."""
    answer = type("OneAnswer", (handler,), {"kind": kind, "parts": parts})
    with ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/video"
        finally:
            server.shutdown()
            thread.join()


def arrivals(address: str) -> list[Grabbed | Damaged | Late]:
    """All that comes until the camera ends: what came at once is late, but for the last."""
    found: list[Grabbed | Damaged | Late] = []
    with pytest.raises(CaptureError, match=r"ended the stream|one picture"):
        found += [arrival for arrival in _collecting(address, found) if False]
    return found


def _collecting(address: str, found: list[Grabbed | Damaged | Late]) -> Iterator[object]:
    for arrival in grab(address):
        if isinstance(arrival, Grabbed | Damaged | Late):
            found.append(arrival)
        yield arrival


def plain(data: bytes) -> bytes:
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data)


DIALECTS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "as most": ("multipart/x-mixed-replace; boundary=frame", plain),
    "image/jpg": (
        "multipart/x-mixed-replace; boundary=frame",
        lambda data: plain(data).replace(b"image/jpeg", b"image/jpg"),
    ),
    "no type of a part": (
        "multipart/x-mixed-replace; boundary=frame",
        lambda data: b"--frame\r\n\r\n" + data + b"\r\n",
    ),
    "no first boundary": (
        "multipart/x-mixed-replace;boundary=frame",
        lambda data: b"Content-Type: image/jpeg\r\n\r\n" + data + b"\r\n--frame\r\n",
    ),
    "boundary without dashes": ("multipart/x-mixed-replace; boundary=--frame", plain),
    "bare line feeds": (
        'multipart/x-mixed-replace; boundary="frame"',
        lambda data: b"\n--frame\nContent-type: image/jpeg\n\n" + data,
    ),
    "wrong length": (
        "multipart/x-mixed-replace; boundary=frame",
        lambda data: b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 7\r\n\r\n" + data + b"\r\n",
    ),
    "multipart/mixed": ("multipart/mixed; boundary=frame", plain),
    "JPEG after JPEG": ("image/jpeg", lambda data: data),
    "image/jpg, JPEG after JPEG": ("image/jpg", lambda data: data + b"\r\n"),
    "no type at all": ("", lambda data: data),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read(dialect: str) -> None:
    kind, wrap = DIALECTS[dialect]
    wanted = [jpeg(picture(value)) for value in GREYS]
    parts = [wrap(one) for one in wanted]
    assert split(*parts) == wanted
    with camera(kind, parts) as address:
        found = arrivals(address)
    shown = [arrival for arrival in found if isinstance(arrival, Grabbed)]
    assert grey(shown[-1].image()) == GREYS[-1]
    assert {one.due for one in shown} == {None}
    assert len(found) == 3


def test_a_picture_is_here_with_its_last_byte_not_with_the_next_picture() -> None:
    whole = jpeg(picture(20))
    assert split(plain(whole)[:-2]) == [whole]


@pytest.mark.parametrize("missing", ["middle", "end", "beginning", "header"])
def test_a_part_that_was_cut_is_damaged_and_the_next_one_whole(missing: str) -> None:
    data = jpeg(busy(1))
    cut = {
        "middle": data[:1500] + data[2500:],
        "end": data[:1500],
        "beginning": data[700:],
        "header": data[:100] + data[250:],
    }[missing]
    with camera("multipart/x-mixed-replace; boundary=frame", [plain(cut), *[plain(jpeg(picture(120)))] * 3]) as address:
        seen, reasons = Collector(), list[str]()
        with running(Camera(address, on_frame=seen, on_damaged=reasons.append)) as one:
            wait_until(lambda: one.status().failures)
            dropped = one.status().dropped
    assert {grey(frame.image) for frame in seen.frames} == {120}
    # Of one without its beginning nothing says that there was one. Of what came at once the last was decoded.
    assert len(seen.frames) + dropped + len(reasons) == (3 if missing == "beginning" else 4)


def test_half_of_the_next_picture_within_one_is_damaged() -> None:
    first, second = jpeg(busy(1)), jpeg(busy(2))
    with camera("image/jpeg", [first[:1500] + second[1500:]] * 2) as address:
        found = arrivals(address)[-1]
    assert isinstance(found, Grabbed)
    with pytest.raises(DamagedError):
        found.image()


def test_a_thumbnail_within_a_picture_is_no_picture() -> None:
    whole, thumbnail = jpeg(picture(120)), jpeg(picture(20, 16, 16))
    exif = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"Exif\0\0" + thumbnail
    assert split(whole[:2] + exif + whole[2:] + whole) == [whole[:2] + exif + whole[2:], whole]


def test_a_snapshot_is_no_live_stream() -> None:
    with (
        camera("image/jpeg", [jpeg(picture(20))]) as address,
        pytest.raises(CaptureError, match="one picture and no more"),
    ):
        list(grab(address))


def test_a_page_is_no_video() -> None:
    with (
        camera("text/html", [b"<html>Log in</html>"]) as address,
        pytest.raises(CaptureError, match="a web page, not"),
    ):
        list(grab(address))


def test_a_picture_without_end_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "MAX_BYTES", 100_000)
    splitter = Splitter()
    beginning = jpeg(busy(1))[:1500]
    found = list(splitter.feed(beginning))
    for _ in range(100):
        found += splitter.feed(b"\x55" * 10_000)
        assert len(splitter._data) <= 110_000
    assert found == [None]
    whole = jpeg(picture(20))
    assert list(splitter.feed(whole)) == [whole]


def test_rubbish_is_told_once_however_much_of_it_comes() -> None:
    assert split(b"\xff\xd8" * 50_000) == [None]


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=4), st.integers(1, 700))
def test_pictures_are_the_same_however_the_bytes_are_cut(values: list[int], size: int) -> None:
    wanted = [jpeg(picture(value)) for value in values]
    data = b"".join(plain(one) for one in wanted)
    assert split(*(data[at : at + size] for at in range(0, len(data), size))) == wanted


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60).map(lambda data: data.replace(b"\x00", b"\xff"))))
def test_any_bytes_are_split_without_a_surprise(pieces: list[bytes]) -> None:
    splitter = Splitter()
    for piece in pieces:
        for found in splitter.feed(piece):
            assert found is None or (found.startswith(b"\xff\xd8") and found.endswith(b"\xff\xd9"))
    # Whatever it was, what comes next is found: at the latest behind the longest segment that a head may announce.
    whole = jpeg(picture(20))
    assert whole in list(splitter.feed(b"\xff\xd9" + whole * (2 + 65_535 // len(whole))))


def test_markers_that_no_picture_has_swallow_none() -> None:
    whole = jpeg(picture(20))
    assert whole in split(b"\xff\xd8\xff\x02\xff\xd9" + whole + whole)


class Locked(Answer):
    """Wants operator and p#ss, the way ``scheme`` says."""

    challenge = 'Digest realm="camera", nonce="abc", qop="auth"'

    def do_GET(self) -> None:
        if self.headers.get("Authorization", "").startswith(self.challenge.split()[0]):
            if "Basic" in self.challenge:
                assert self.headers["Authorization"] == "Basic b3BlcmF0b3I6cCNzcw=="
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", self.challenge)
        self.end_headers()


class LockedPlainly(Locked):
    challenge = 'Basic realm="camera"'


class Refusing(Answer):
    def do_GET(self) -> None:
        self.send_error(503)


class Elsewhere(Answer):
    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "ftp://127.0.0.1/secret" if "ftp" in self.path else "file:///etc/passwd")
        self.end_headers()


@pytest.mark.parametrize("handler", [Locked, LockedPlainly])
def test_a_login_is_given_in_the_way_the_camera_wants_it(handler: type[Answer]) -> None:
    with camera("image/jpeg", [jpeg(picture(20))] * 3, handler) as address:
        assert len(arrivals(address.replace("//", "//operator:p%23ss@"))) == 3
        with pytest.raises(CaptureError, match="refused the user name or password"):
            list(grab(address))


def test_a_busy_camera_is_told() -> None:
    with camera("", [], Refusing) as address, pytest.raises(CaptureError, match=r"busy \(it answered 503\)"):
        list(grab(address))


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_a_camera_cannot_send_its_reader_elsewhere(scheme: str) -> None:
    with camera("", [], Elsewhere) as address, pytest.raises(CaptureError):
        list(grab(f"{address}?{scheme}"))


def test_capitals_in_a_scheme_are_read() -> None:
    with camera("image/jpeg", [jpeg(picture(20))] * 2) as address:
        assert len(arrivals(address.replace("http", "HTTP"))) == 2


def until_a_picture(frames: Frames) -> list[Arrival]:
    found = [next(frames)]
    while not isinstance(found[-1], Grabbed):
        found.append(next(frames))
    return found


def shown(found: list[Arrival]) -> int:
    """Which picture it is."""
    assert isinstance(found[-1], Grabbed)
    return grey(found[-1].image())


def test_a_reader_that_was_slow_is_given_the_newest_picture() -> None:
    rest = [jpeg(picture(value)) for value in range(30, 240, 10)]
    decoding, over = threading.Event(), threading.Event()

    def parts() -> Iterator[bytes]:
        yield jpeg(picture(20))
        decoding.wait()
        yield b"".join(map(plain, rest))
        over.wait()

    with camera("multipart/x-mixed-replace; boundary=frame", parts()) as address:
        frames = grab(address)
        assert shown(until_a_picture(frames)) == 20
        decoding.set()
        found = until_a_picture(frames)
        over.set()
        frames.close()
    assert shown(found) == 230
    assert [type(one) for one in found[:-1]] == [Late] * (len(rest) - 1)


@contextmanager
def answered(*sent: bytes) -> Iterator[tuple[Answered, socket.socket]]:
    """A camera's answer, of which so much is here, and the camera's end. What is sent there is here at once."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n")
        response = HTTPResponse(here)
        response.begin()
        for one in sent:
            there.sendall(one)
        yield Answered(response, True), there


def test_of_what_waits_the_last_is_shown_and_then_each_as_it_comes() -> None:
    with answered(*(jpeg(picture(value)) for value in GREYS)) as (answer, camera_end):
        frames = pictures(answer, 10_000)
        found = until_a_picture(frames)
        assert shown(found) == GREYS[-1]
        assert [type(one) for one in found[:-1]] == [Late] * (len(GREYS) - 1)
        for value in GREYS:
            before = time.monotonic()
            camera_end.sendall(jpeg(picture(value)))
            found = [next(frames)]
            assert shown(found) == value
            assert isinstance(found[0], Grabbed) and found[0].came is not None
            assert before <= found[0].came <= time.monotonic(), "when its last byte was read"
        camera_end.sendall(jpeg(picture(60)) + jpeg(picture(70))[:300])  # the beginning of one holds up none
        assert shown([next(frames)]) == 60
        frames.close()


def test_the_last_picture_before_the_end_is_shown() -> None:
    with answered(jpeg(picture(20)), jpeg(picture(120))) as (answer, camera_end):
        camera_end.close()
        frames = pictures(answer, 10_000)
        assert shown(until_a_picture(frames)) == 120
        with pytest.raises(CaptureError, match="ended the stream"):
            next(frames)


def test_a_camera_that_sends_without_a_pause_is_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def read1(_: int) -> bytes:
        nonlocal now
        now += mjpeg.HELD_S / 3.5
        return jpeg(picture(20))

    monkeypatch.setattr(mjpeg, "time", SimpleNamespace(monotonic=lambda: now))
    with answered(b"more waits") as (answer, _):
        monkeypatch.setattr(answer.response, "read1", read1)
        frames = pictures(answer, 10_000)
        for _ in range(3):
            assert [type(one) for one in until_a_picture(frames)[:-1]] == [Late] * 4
        frames.close()
