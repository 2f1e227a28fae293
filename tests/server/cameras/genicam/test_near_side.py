"""The wall: a process that lies, dies, hangs or floods costs its own camera, in words."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from server.cameras.arrivals import CaptureError, Damaged, DamagedError, Grabbed, Waiting
from server.cameras.camera import Camera, Patience
from server.cameras.genicam import near_side
from server.cameras.genicam.near_side import CameraProcess, frames_of, look_around
from tests.server.camera_fakes import running, wait_until

FRAME = {"kind": "frame", "bytes": 4, "width": 2, "height": 2, "pixels": 0x01080001, "padding": 0}


@pytest.fixture
def far_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of the test's in the place of the far side."""
    program = tmp_path / "far_side.py"
    monkeypatch.setattr(near_side, "_PROGRAM", program)
    return program


def says(*lines: object, then: str = "sys.stdin.read()") -> str:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
    return (
        f"import sys, time\nsys.stdin.readline()\nsys.stdout.buffer.write({b''.join(texts)!r})\n"
        f"sys.stdout.flush()\n{then}\n"
    )


def arrivals(max_pixels: int = 100) -> list[object]:
    """What is told until the first picture, damage, wait or end."""
    process = CameraProcess({})
    with closing(frames_of(process, 5.0, max_pixels)) as frames:
        try:
            return [next(one for one in frames if isinstance(one, Grabbed | Damaged | Waiting))]
        finally:
            process.close()


def test_a_picture_passes(far_side: Path) -> None:
    far_side.write_text(says({"kind": "open", "trigger": None}, FRAME, b"\x01\x02\x03\x04"))
    (frame,) = arrivals()
    assert isinstance(frame, Grabbed) and frame.due is None
    assert frame.image()[..., 1].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"kind": "over", "why": "another program has the camera: close it"}, "another program has the camera"),
        ({"kind": "large", "width": 4000, "height": 3000}, "4000×3000 pixels are larger"),
        ({"kind": "idle", "silent_s": 4.6}, "no picture comes for 5 s"),
        (FRAME | {"bytes": 10**12}, "driver crashed"),
        (FRAME | {"bytes": -1}, "driver crashed"),
        (FRAME | {"bytes": "x"}, "driver crashed"),
        (FRAME | {"width": 4000}, "4000×2 pixels are larger"),
        ({"kind": "frame"}, "driver crashed"),
        ({"kind": "something"}, "driver crashed"),
        ({}, "driver crashed"),
        ([1], "driver crashed"),
        (b"\xff\xfe\n", "driver crashed"),
        (b"x" * 200_000, "driver crashed"),
        (b"[" * 60_000 + b"\n", "driver crashed"),
        (b"", "driver crashed"),
    ],
)
def test_what_it_says_is_bounded_and_told_in_words(far_side: Path, said: object, words: str) -> None:
    far_side.write_text(says(said, then="pass"))
    with pytest.raises(CaptureError, match=words):
        arrivals()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (FRAME | {"pixels": 0x0108FFFF}, "0x0108ffff, which is not understood"),
        (FRAME | {"width": 1}, "larger region"),
        (FRAME | {"padding": -1}, "larger region"),
        ({"kind": "bad", "frames": 10**9, "why": "packets\nwere lost"}, "packetswere lost"),
    ],
)
def test_pictures_that_are_none_count_as_damaged(far_side: Path, said: object, words: str) -> None:
    far_side.write_text(says(said, b"\0\0\0\0"))
    (damaged,) = arrivals()
    assert isinstance(damaged, Damaged) and words in damaged.why


def test_a_picture_that_is_too_short_is_damaged(far_side: Path) -> None:
    far_side.write_text(says(FRAME | {"height": 3}, b"\0\0\0\0"))
    (frame,) = arrivals()
    assert isinstance(frame, Grabbed)
    with pytest.raises(DamagedError, match="shorter than a picture"):
        frame.image()


def test_one_that_hangs_is_ended(far_side: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_side, "SILENT_S", 0.6)
    monkeypatch.setattr(near_side, "RELEASE_S", 0.3)
    far_side.write_text(says(then="time.sleep(60)"))
    with pytest.raises(CaptureError, match="said nothing"):
        arrivals()
    far_side.write_text(says(FRAME, then="time.sleep(60)"))  # in the middle of a picture
    with pytest.raises(CaptureError, match="said nothing"):
        arrivals()


def test_a_camera_that_waits_for_its_trigger_is_not_given_up(far_side: Path) -> None:
    idle = 'n = 0\nwhile n < 500:\n n += 1; print(\'{"kind": "idle", "silent_s": 99}\', flush=True); time.sleep(0.02)'
    far_side.write_text(says({"kind": "open", "trigger": "Line1"}, then=idle))
    camera = Camera(
        "genicam://",
        patience=Patience(first_frame=5, next_frame=0.2),
        frames=lambda: frames_of(CameraProcess({}), 0.2, 100),
    )
    with running(camera):
        wait_until(lambda: camera.status().state == "waiting")
        since = camera.status().since
        wait_until(lambda: camera.status().state != "waiting" or (since.now(since.tzinfo) - since).total_seconds() > 1)
        assert camera.status().state == "waiting"
        assert (camera.status().connects, camera.status().failures, camera.status().since) == (1, 0, since)


def test_a_list_that_is_none_is_told(far_side: Path) -> None:
    far_side.write_text(says({"kind": "list", "cameras": [{"id": "x"}]}))
    with pytest.raises(CaptureError, match="driver crashed"):
        look_around()
    far_side.write_text(says({"kind": "over", "why": "need Aravis"}))
    with pytest.raises(CaptureError, match="need Aravis"):
        look_around()


def test_where_there_is_no_aravis_it_is_told(far_side: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path(near_side.__file__).with_name("far_side.py")
    package = str(real.parents[3])
    far_side.write_text(
        f"import sys; sys.path.insert(0, {package!r})\nfrom server.cameras.genicam import aravis\n"
        "aravis.LIBRARIES = ('libnothing.so.0',)\nfrom server.cameras.genicam.far_side import main\nmain()\n"
    )
    monkeypatch.setattr(sys, "executable", sys.executable)
    monkeypatch.setattr(near_side, "_OPTIONS", ())
    with pytest.raises(CaptureError, match="apt install libaravis"):
        look_around()
