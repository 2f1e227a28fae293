"""Parts for a camera of the tests: a model taught on good ones, and films of what the camera sees.

Real bottles where the pictures are there (``DATA``), otherwise the rendered flanges of the simulated line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import fit
from detector.images import decode, encode_jpeg
from server.simulated_line import SimulatedLine
from server.simulated_line.line import CYCLE_SECONDS
from tests.running import DATA

Picture = NDArray[np.uint8]
BOTTLE = DATA / "bottle"
KIND = "bottle" if BOTTLE.is_dir() else "rendered"
WIDTH, HEIGHT = 640, 480
TAUGHT, SHOWN = 40, 8
FOR_TEACHING, FOR_CALIBRATING, TESTED, OTHERS = 13, 8, 6, 6
SHELF_SIDE = 450
"""Pixels: half of the bottles' own, and still more than a model looks at. A browser without a graphics card, which
encodes and shows them, takes four times as long over whole ones."""
FRAMES_EACH = 10
"""Three parts are seen in a second, so that a calibration of a few frames sees several."""


@dataclass(frozen=True)
class Parts:
    """A model folder, MJPEG films, 640×480: several good parts, and a defective one; and JPEGs of the same."""

    model: Path
    good: Path
    defective: Path
    good_jpegs: tuple[bytes, ...]
    defective_jpeg: bytes


@dataclass(frozen=True)
class Shelf:
    """Parts for somebody who does the whole job, as encoded pictures of one size.

    ``taught`` and ``calibrated`` are good; so are ``good``, which are tested, with ``defects`` of one kind. ``others``:
    good parts of another product.
    """

    taught: tuple[bytes, ...]
    calibrated: tuple[bytes, ...]
    good: tuple[bytes, ...]
    defects: tuple[bytes, ...]
    others: tuple[bytes, ...]


def shelf() -> Shelf:
    """Real bottles, or rendered flanges."""
    taught, calibrated, good, defects = _bottles_of_the_shelf() if KIND == "bottle" else _flanges_of_the_shelf()
    return Shelf(taught, calibrated, good, defects, tuple(map(_of_another_colour, taught[:OTHERS])))


def _bottles_of_the_shelf() -> tuple[tuple[bytes, ...], ...]:
    def pictures(folder: str, count: int) -> tuple[bytes, ...]:
        return tuple(map(_halved, sorted((BOTTLE / folder).iterdir())[:count]))

    train = pictures("train/good", FOR_TEACHING + FOR_CALIBRATING)
    tested = pictures("test/good", TESTED), pictures("test/contamination", TESTED)
    return train[:FOR_TEACHING], train[FOR_TEACHING:], *tested


def _halved(path: Path) -> bytes:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} cannot be read"
    small = cv2.resize(picture, (SHELF_SIDE, SHELF_SIDE), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", small)[1].tobytes()


def _flanges_of_the_shelf() -> tuple[tuple[bytes, ...], ...]:
    flawless, spoiled = SimulatedLine(seed=2, defect_rate=0), SimulatedLine(seed=2, defect_rate=1)
    count = FOR_TEACHING + FOR_CALIBRATING + TESTED
    good = [_jpeg(flawless.frame_at(number * CYCLE_SECONDS + 0.6).image) for number in range(count)]
    defects = [_jpeg(spoiled.frame_at(number * CYCLE_SECONDS + 0.6).image) for number in range(TESTED)]
    tested = FOR_TEACHING + FOR_CALIBRATING
    return tuple(good[:FOR_TEACHING]), tuple(good[FOR_TEACHING:tested]), tuple(good[tested:]), tuple(defects)


def _of_another_colour(jpeg: bytes) -> bytes:
    return encode_jpeg(np.ascontiguousarray(decode(jpeg)[..., ::-1]), quality=95)[0]


def prepare(folder: Path) -> None:
    """Teach the model on pictures made as the films are, and write all that is in :class:`Parts` into a folder. Takes
    seconds."""
    good, defective = _bottles() if KIND == "bottle" else _rendered()
    # Coded as well and as badly as video may be, so that a verdict here does not depend on the transport.
    coded = [_jpeg(picture, (95, 60, 35, 20)[number % 4]) for number, picture in enumerate(good[:TAUGHT])]
    taught = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in coded]
    fit(
        [np.asarray(picture, np.uint8) for picture in taught],
        image_size=160,
        coreset_size=500,
        category=KIND,
    ).save(folder / "model")
    film(folder / "good.mjpeg", good[TAUGHT:])
    film(folder / "defective.mjpeg", defective)
    for number, picture in enumerate(good[TAUGHT:]):
        (folder / f"good-{number:02}.jpg").write_bytes(_jpeg(picture))
    (folder / "defective.jpg").write_bytes(_jpeg(defective[0]))


def prepared(folder: Path) -> Parts:
    """What :func:`prepare` has written."""
    return Parts(
        folder / "model",
        folder / "good.mjpeg",
        folder / "defective.mjpeg",
        tuple(path.read_bytes() for path in sorted(folder.glob("good-*.jpg"))),
        (folder / "defective.jpg").read_bytes(),
    )


def film(path: Path, pictures: Iterable[Picture]) -> None:
    """Write H×W×3 BGR pictures as an MJPEG file for Chromium's fake camera."""
    # It takes the full range of levels that JPEG has for 16 to 235, as of video, and spreads it: this makes up for it.
    narrow = (cv2.convertScaleAbs(picture, alpha=219 / 255, beta=16) for picture in pictures)
    path.write_bytes(b"".join(_jpeg(np.asarray(picture, np.uint8)) * FRAMES_EACH for picture in narrow))


def _jpeg(picture: Picture, quality: int = 95) -> bytes:
    # A little out of focus: fine texture is what video coding loses first, and a model would miss it.
    soft = cv2.GaussianBlur(picture, (0, 0), 1.5)
    return cv2.imencode(".jpg", soft, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _bottles() -> tuple[Sequence[Picture], Sequence[Picture]]:
    good = sorted((BOTTLE / "train/good").iterdir())[: TAUGHT + SHOWN]
    defective = sorted((BOTTLE / "test/broken_large").iterdir())[:1]
    return [_letterboxed(path) for path in good], [_letterboxed(path) for path in defective]


def _letterboxed(path: Path) -> Picture:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} cannot be read"
    scale = min(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = (WIDTH - picture.shape[1]) // 2, (HEIGHT - picture.shape[0]) // 2
    right, bottom = WIDTH - picture.shape[1] - left, HEIGHT - picture.shape[0] - top
    return np.asarray(cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)


def _rendered() -> tuple[Sequence[Picture], Sequence[Picture]]:
    flawless, spoiled = SimulatedLine(seed=1, defect_rate=0), SimulatedLine(seed=1, defect_rate=1)
    good = [_quiet(flawless.frame_at(number * CYCLE_SECONDS + 0.6).image) for number in range(TAUGHT + SHOWN)]
    return good, [_quiet(spoiled.frame_at(3 * CYCLE_SECONDS + 0.6).image)]


def _quiet(picture: Picture) -> Picture:
    """Without the rendered sensor noise, which video coding would take away now and then, and a score with it."""
    return np.asarray(cv2.GaussianBlur(cv2.medianBlur(picture, 5), (0, 0), 2.0), np.uint8)
