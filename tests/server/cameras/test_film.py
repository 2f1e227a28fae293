"""Video files as they are: mirrored, with more than one track, with time stamps that jump, with damage, too large."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from server.cameras.arrivals import CaptureError, DamagedError
from server.cameras.camera import Camera
from server.cameras.capture import grab
from tests.server.camera_fakes import Collector, grabbed, grey, picture, running, wait_until
from tests.server.cameras.test_mjpeg import camera

ONE = 1 << 16
CASES = Path(__file__).parents[4] / "shared" / "cases"


def corners(image: np.ndarray) -> str:
    """Which of the four colours each corner has: top left, top right, bottom left, bottom right."""
    height, width = image.shape[:2]
    places = [(y, x) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    colours = {"r": (0, 0, 255), "g": (0, 255, 0), "b": (255, 0, 0), "w": (255, 255, 255)}
    return "".join(
        min(colours, key=lambda name: float(np.abs(image[place].astype(int) - colours[name]).sum())) for place in places
    )


def four_colours() -> np.ndarray:
    """Red, green above blue, white."""
    image = np.zeros((48, 96, 3), np.uint8)
    image[:24, :48], image[:24, 48:] = (0, 0, 255), (0, 255, 0)
    image[24:, :48], image[24:, 48:] = (255, 0, 0), (255, 255, 255)
    return image


def write(path: Path, images: list[np.ndarray], codec: str = "mpeg4", begin_s: int = 0) -> Path:
    """A film at 10 fps, whose time stamps begin there."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        stream.bit_rate = 4_000_000
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = begin_s * 10 + number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """The same MP4, to be shown by this matrix."""
    file = bytearray(path.read_bytes())
    at = file.index(b"tkhd") + 4 + 40
    numbers = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
    file[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(file)
    return path


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ((1, 0, 0, 1), "rgbw"),
        ((-1, 0, 0, 1), "grwb"),  # mirrored: hflip
        ((1, 0, 0, -1), "bwrg"),  # vflip
        ((-1, 0, 0, -1), "wbgr"),  # by 180°
        ((0, 1, -1, 0), "brwg"),  # by 90° clockwise
        ((0, -1, 1, 0), "gwrb"),  # by 90° counterclockwise
        ((0, 1, 1, 0), "rbgw"),  # transposed
        ((0, -1, -1, 0), "wgbr"),  # transposed along the other diagonal
    ],
)
def test_a_film_is_shown_as_players_show_it(tmp_path: Path, matrix: tuple[int, ...], wanted: str) -> None:
    film = with_matrix(write(tmp_path / "film.mp4", [four_colours()] * 3), *matrix)
    image = next(grabbed(grab(str(film)))).image()
    assert corners(image) == wanted
    assert image.shape == ((96, 48, 3) if matrix[0] == 0 else (48, 96, 3))
    assert image.flags.c_contiguous


def test_the_film_is_played_and_not_its_cover(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        cover, film = container.add_stream("mjpeg", rate=10), container.add_stream("mpeg4", rate=10)
        for stream, pix_fmt in ((cover, "yuvj420p"), (film, "yuv420p")):
            stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        cover.disposition, film.disposition = Disposition(0), Disposition.default
        for number in range(5):
            for stream, value in ((cover, 220), (film, 60)):
                if stream is film or number == 0:
                    frame = av.VideoFrame.from_ndarray(picture(value), format="bgr24")
                    frame.pts, frame.time_base = number, Fraction(1, 10)
                    container.mux(stream.encode(frame))
        for stream in (cover, film):
            container.mux(stream.encode())
    assert [grey(one.image()) for one in islice(grabbed(grab(str(path))), 3)] == [60, 60, 60]


@pytest.mark.parametrize(
    ("begins", "wanted"),
    [((0, 500), [0, 0.1, 0.2, 1.2, 1.3, 1.4]), ((500, 0), [0, 0.1, 0.2, 0.3, 0.4, 0.5])],
)
def test_time_stamps_that_jump_neither_freeze_nor_rush_it(
    tmp_path: Path, begins: tuple[int, int], wanted: list[float]
) -> None:
    halves = [write(tmp_path / f"{begin}.ts", [picture(60)] * 3, "mpeg2video", begin) for begin in begins]
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(half.read_bytes() for half in halves))
    found = list(islice(grabbed(grab(str(film))), 6))
    assert [one.due for one in found] == pytest.approx(wanted, abs=0.011)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.parametrize("name", ["forwards.ts", "backwards.ts"])
def test_films_that_froze_or_rushed(name: str) -> None:
    due = [one.due or 0 for one in islice(grabbed(grab(str(CASES / name))), 40)]
    steps = np.diff(due)
    assert steps.min() > 0.01
    assert steps.max() <= 1


def test_a_damaged_film_keeps_its_pace_and_hands_out_what_is_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(30)]
    film = write(tmp_path / "film.ts", images, codec="mpeg2video")
    whole = {one.image().tobytes() for one in islice(grabbed(grab(str(film))), 30)}
    data = bytearray(film.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\x5a" * 2000
    film.write_bytes(data)
    seen, damaged = Collector(), list[str]()
    with running(Camera(str(film), on_frame=seen, on_damaged=damaged.append)) as camera:
        wait_until(lambda: damaged and len(seen.frames) >= 5)
        assert camera.status().failures == 0
    assert {frame.image.tobytes() for frame in seen.frames} <= whole
    found = list(islice(grabbed(grab(str(film))), 25))
    assert max(np.diff([one.due or 0 for one in found])) <= 1
    with pytest.raises(DamagedError):
        [one.image() for one in found]


def test_a_damaged_film_does_not_end_the_process() -> None:
    """``damaged_mpeg4.mkv``: three packets of noise that FFmpeg's decoder aborts on if it is strict."""
    code = (
        "import sys; from itertools import islice; from server.cameras.capture import grab; "
        "list(islice(grab(sys.argv[1]), 20))"
    )
    film = Path(__file__).with_name("damaged_mpeg4.mkv")
    done = subprocess.run([sys.executable, "-c", code, str(film)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1) and "Assertion" not in done.stderr, done.stderr


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
def test_an_address_that_sends_what_cameras_do_not_is_not_decoded(codec: str, tmp_path: Path) -> None:
    film = write(tmp_path / "film.ts", [picture(60)] * 30, codec)
    with (
        camera("video/mp2t", [film.read_bytes()]) as address,
        pytest.raises(CaptureError, match="set the camera to plain"),
    ):
        list(grab(address))


def test_a_film_larger_than_frames_may_be_is_refused(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mp4", [picture(60, 640, 480)] * 2)
    with pytest.raises(CaptureError, match=r"640×480 pixels are larger than 0\.2 megapixels"):
        list(grab(str(film), max_pixels=200_000))


def test_a_name_with_a_colon_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "line.mp4", [picture(60)] * 2).rename(tmp_path / "10:15.mp4")
    monkeypatch.chdir(tmp_path)
    assert grey(next(grabbed(grab("10:15.mp4"))).image()) == 60


def test_a_song_with_a_cover_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "song.mka"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(sound.encode(frame))
    with pytest.raises(CaptureError, match="holds no video"):
        list(grab(str(path)))
