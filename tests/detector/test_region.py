from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import detector
from detector import ImageError
from detector.input_size import square
from detector.region import Inputs, Region, find_region, full

INPUTS = Inputs(128, 16, 8)


def small_part(number: int, *, noise: float = 2, width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    """A striped part of a fifth of the frame's width on a plain belt, a little elsewhere in every picture."""
    random = np.random.default_rng(number)
    picture = np.full((height, width, 3), (60, 120, 60), np.uint8)
    left, top = 250 + int(random.integers(-12, 13)), 200 + int(random.integers(-12, 13))
    picture[top : top + 90, left : left + 130] = 40
    picture[top : top + 90 : 6, left : left + 130] = 220
    return np.clip(picture + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def test_a_small_part_on_a_plain_belt_is_found_with_a_margin() -> None:
    region = find_region([small_part(number) for number in range(10)], INPUTS)
    left, top, right, bottom = region.fractions
    assert left < 238 / 640 and right > 392 / 640 and top < 188 / 480 and bottom > 302 / 480
    assert right - left == pytest.approx(0.4, abs=0.02), "never less than that of a side"
    assert region.is_sound() and not region.is_full


def test_a_part_that_was_elsewhere_in_some_pictures_is_inside_there_too() -> None:
    images = [small_part(number) for number in range(10)]
    images += [np.roll(image, 150, 1) for image in images[:2]]
    _, _, right, _ = find_region(images, INPUTS).fractions
    assert right > 542 / 640


def test_a_part_at_the_edge_is_inspected_to_the_edge() -> None:
    images = [np.roll(small_part(number), 245, 1) for number in range(5)]
    left, _, right, _ = find_region(images, INPUTS).fractions
    assert left < 480 / 640 and right == 1


@pytest.mark.parametrize(
    "images",
    [
        [small_part(number, noise=40) for number in range(5)],
        [np.full((480, 640, 3), 100, np.uint8)] * 5,
        [small_part(number, width=600, height=420)[150:320, 200:430] for number in range(5)],
    ],
    ids=["a background that is not plain", "nothing at all", "little to gain"],
)
def test_in_doubt_it_is_the_whole_frame(images: list[NDArray[np.uint8]]) -> None:
    left, top, right, bottom = find_region(images, INPUTS).fractions
    assert (right - left) * (bottom - top) > 0.5


def test_a_camera_with_few_pixels_is_not_enlarged() -> None:
    images = [cv2.resize(small_part(number), (160, 120)) for number in range(5)]
    assert find_region([np.asarray(image, np.uint8) for image in images], INPUTS).is_full


def test_the_map_of_the_region_lies_at_its_place_in_the_frame() -> None:
    region = Region(40, 30, 12, 7, 16, 16)
    whole = region.to_frame(np.ones((16, 16), np.float32))
    assert whole.shape == (30, 40) and whole.sum() == 256
    assert whole[7:23, 12:28].all()


@given(width=st.integers(1, 300), height=st.integers(1, 300), left=st.integers(0, 24), top=st.integers(0, 14))
def test_frames_of_any_size_become_inputs(width: int, height: int, left: int, top: int) -> None:
    region = Region(40, 30, left, top, 16, 16)
    assert region.is_sound()
    assert region.to_input(np.zeros((height, width, 3), np.uint8), square(64)).shape == (64, 64, 3)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ImageError, match="a frame must be H×W×3 uint8 BGR"):
        full(square(64), 8).to_input(np.zeros((8, 8), np.uint8), square(64))


def test_a_model_inspects_its_region_only() -> None:
    model = detector.fit([small_part(number) for number in range(10)], image_size=128, coreset_size=200)
    region = model.manifest.region
    assert not region.is_full
    good, inside, outside = small_part(50), small_part(50), small_part(50)
    inside[230:260, 280:310] = (0, 0, 255)
    outside[400:430, 560:590] = (0, 0, 255)
    assert model.detect(inside).score > model.threshold > model.detect(good).score
    assert model.detect(outside).score == model.detect(good).score, "as documented: nothing is seen there"
    found = model.detect(inside).anomaly_map
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert abs(row / found.shape[0] - 245 / 480) < 0.05 and abs(column / found.shape[1] - 295 / 640) < 0.05
    whole = detector.fit([small_part(number) for number in range(10)], image_size=128, coreset_size=200, inspect="full")
    assert whole.manifest.region.is_full and whole.detect(outside).score > whole.threshold


def test_a_region_is_saved(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models") / "small"
    model = detector.fit([small_part(number) for number in range(6)], image_size=64, coreset_size=50)
    model.save(folder)
    assert detector.load_taught(folder).manifest.region == model.manifest.region
