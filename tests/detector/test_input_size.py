from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import detector
from detector import self_contained
from detector.input_size import FAR_FROM_SQUARE, LONGEST, InputSize, is_sound, shaped, square
from detector.near_copies import groups, look_of
from detector.region import Inputs, inspected
from tests.detector.parts import draw_parts


def tall(number: int, *, crack: bool = False, width: int = 160, height: int = 400) -> NDArray[np.uint8]:
    """A wall of fine grain under uneven light; perhaps with a thin crack along it."""
    random = np.random.default_rng(number)
    grain = cv2.resize(random.normal(0, 10, (height // 4, width // 4)), (width, height))
    picture = 110 + grain + np.linspace(-15, 15, height)[:, None] + random.normal(0, 2, (height, width))
    if crack:
        cv2.line(picture, (60, 120), (75, 200), 30, 2)
    return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, 2)


@given(
    multiple=st.sampled_from([14, 16, 32]),
    times=st.integers(8, 40),
    shape=st.floats(0.1, 10),
)
def test_an_input_keeps_the_shape_and_the_number_of_pixels(multiple: int, times: int, shape: float) -> None:
    size = shaped(multiple * times, multiple, shape)
    assert size.height % multiple == size.width % multiple == 0
    assert size.height * size.width == pytest.approx((multiple * times) ** 2, rel=0.3)
    kept = min(max(shape, 1 / LONGEST), LONGEST)
    if max(shape, 1 / shape) < FAR_FROM_SQUARE:
        assert size == square(multiple * times)
    else:
        assert size.width / size.height == pytest.approx(kept, rel=0.3), "as near as multiples come"
    assert is_sound(size, multiple * times, multiple) == (64 <= multiple * times <= 2048)


def test_of_an_upright_and_a_lying_part_one_is_the_others_turned() -> None:
    assert shaped(320, 16, 0.4) == InputSize(496, 208) == InputSize(*reversed(shaped(320, 16, 2.5)))
    assert [str(shaped(320, 16, shape)) for shape in (1, 1.33, 2.5)] == ["320²", "320²", "496×208"]


def test_the_median_shape_of_the_pictures_decides() -> None:
    inputs = Inputs(128, 16, 8)
    mixed = [tall(0), tall(1), tall(2, width=400)]
    for choice in ("auto", "full"):
        assert inspected(mixed, inputs, choice).input_size(8) == shaped(128, 16, 0.4)
        assert inspected(mixed[::-2], inputs, choice).input_size(8) == square(128), "the median of two lies between"
        assert inspected([], inputs, choice).input_size(8) == square(128)


@pytest.fixture(scope="module")
def model() -> detector.TaughtModel:
    return detector.fit([tall(number) for number in range(10)], image_size=128, coreset_size=200)


def test_a_tall_part_is_seen_in_its_shape(
    model: detector.TaughtModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert (model.image_size, model.input_size) == (128, shaped(128, 16, 0.4)) and model.manifest.region.is_full
    good, cracked = model.detect(tall(50)), model.detect(tall(50, crack=True))
    assert cracked.score > model.threshold > good.score
    assert cracked.anomaly_map.shape == model.input_size.grid(8)
    row, column = np.unravel_index(cracked.anomaly_map.argmax(), cracked.anomaly_map.shape)
    assert 120 / 400 - 0.05 < row / cracked.anomaly_map.shape[0] < 200 / 400 + 0.05
    assert 60 / 160 - 0.1 < column / cracked.anomaly_map.shape[1] < 75 / 160 + 0.1
    folder = tmp_path_factory.mktemp("models") / "tall"
    model.save(folder)
    again = detector.load_taught(folder)
    assert again.input_size == model.input_size and again.detect(tall(50)).score == good.score


def test_a_tall_part_is_forgiven(model: detector.TaughtModel) -> None:
    cracked = tall(50, crack=True)
    assert model.detect(cracked).score > model.threshold
    assert model.corrected([model.good_of(model.input_of(cracked))]).detect(cracked).score <= model.threshold


@pytest.mark.parametrize("options", [{"method": "padim"}, {"light_blind": True}])
def test_every_kind_of_model_can_be_tall(options: dict[str, object]) -> None:
    made = detector.fit([tall(number) for number in range(8)], image_size=64, coreset_size=100, **options)  # type: ignore[arg-type]
    assert made.input_size == shaped(64, 16, 0.4)
    assert made.detect(tall(50, crack=True)).score > made.detect(tall(50)).score


def test_a_tall_model_is_one_graph_too(
    model: detector.TaughtModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    self_contained.write(model, tmp_path)
    frame = tall(50, crack=True)
    found = self_contained.Written(tmp_path).detect(model.manifest.region.to_input(frame, model.input_size))
    assert found.score == pytest.approx(model.detect(frame).score, rel=1e-3)
    cv2.imwrite(str(tmp_path / "part.png"), frame)
    monkeypatch.chdir(tmp_path)
    said: list[object] = []
    exec(self_contained.USAGE, {"print": lambda *words: said.extend(words)})
    assert said[0] == "ANOMALY" and said[1] == pytest.approx(found.score, rel=1e-3)


def test_a_tall_part_turned_a_little_is_a_near_copy() -> None:
    pictures = [cv2.GaussianBlur(tall(number, width=320, height=1200), (0, 0), 9) for number in range(6)]
    turned = cv2.warpAffine(
        pictures[0], cv2.getRotationMatrix2D((160, 600), 0.4, 1), (320, 1200), borderMode=cv2.BORDER_REFLECT_101
    )
    looks = [look_of(np.asarray(picture, np.uint8)) for picture in (*pictures, turned)]
    found = groups(looks, range(len(looks)))
    assert {0, 6} in found and len(found) == 6


def test_a_square_part_stays_square() -> None:
    made = detector.fit(draw_parts(5), image_size=64, coreset_size=50)
    assert made.input_size == square(64)
