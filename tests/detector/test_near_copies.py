from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import detector
from detector import ModelError
from detector.near_copies import Album, groups, look_of, show_one_part
from detector.teaching.folds import folds_of
from tests.detector.test_region import small_part
from tests.running import DATA

SIDE = 128
SETS = (
    "ballscrew",
    "bottle",
    "circuitboard",
    "cookie",
    "cubes",
    "fabric_gray",
    "fabric_twill",
    "hazelnut",
    "kolektorsdd",
    "magnetic_tile",
    "pcb_traces_a",
    "solar_mono",
)

Picture = NDArray[np.uint8]


def part(number: int) -> Picture:
    """A disc with a grain of its own, as cast, sawn and grown parts have."""
    random = np.random.default_rng(number)
    grain = cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 3)
    picture = np.full((SIDE, SIDE), 40, np.float32)
    cv2.circle(picture, (SIDE // 2, SIDE // 2), 50, 140, -1)
    picture += (picture > 100) * 40 * grain / grain.std()
    return np.clip(cv2.merge([picture, picture * 0.95, picture * 0.9]), 0, 255).astype(np.uint8)


def frame(of: Picture, number: int) -> Picture:
    """As a camera sees the part a moment later: other noise, a little other light, half a pixel beside."""
    random = np.random.default_rng([number, 7])
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), random.uniform(-0.3, 0.3), 1.0)
    turn[:, 2] += random.uniform(-0.5, 0.5, 2)
    moved = cv2.warpAffine(of, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    lit = moved * random.uniform(0.97, 1.03) + random.normal(0, 3, moved.shape)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


def found(pictures: list[Picture], chosen: list[int] | None = None) -> list[list[int]]:
    looks = [look_of(picture) for picture in pictures]
    return [sorted(group) for group in groups(looks, chosen or list(range(len(pictures))))]


def test_different_parts_are_no_copies() -> None:
    assert found([part(number) for number in range(8)]) == [[number] for number in range(8)]


def test_frames_of_a_part_belong_together_and_so_do_those_not_chosen() -> None:
    pictures = [frame(part(number % 3), number) for number in range(18)]
    by_part = [[number for number in range(18) if number % 3 == one] for one in range(3)]
    assert found(pictures) == by_part
    assert found(pictures, [0, 4, 5]) == by_part


def test_an_album_knows_a_part_that_was_there_before() -> None:
    album = Album()
    assert not album.copies_of(look_of(part(0)))
    for number in (0, 1, 2, 1):
        album.add(look_of(frame(part(number), number)))
    assert album.copies_of(look_of(frame(part(1), 50))) == [1, 3]
    assert not album.copies_of(look_of(part(5)))
    album.remove(1)
    assert len(album) == 3
    assert album.copies_of(look_of(frame(part(1), 50))) == [2]
    assert album.copies_of(look_of(frame(part(2), 51))) == [1]


def test_parts_in_a_precise_fixture_are_no_copies_however_near() -> None:
    """They are near each other at all distances: held out together, the bank would know nothing like them."""
    random = np.random.default_rng(3)
    grain = [cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)), (0, 0), 3) for _ in range(12)]
    own = [2.5 * one / one.std() for one in grain]
    at_rest = [part(0) + (share * one)[..., None] for one, share in zip(own, np.linspace(0.2, 1, 12), strict=True)]
    elsewhere = [part(number) for number in range(20, 32)]
    pictures = [np.clip(one, 0, 255).astype(np.uint8) for one in (*at_rest, *elsewhere)]
    assert found(pictures) == [[number] for number in range(24)]


def test_the_same_picture_twice_is_found_among_many() -> None:
    pictures = [part(number) for number in range(8)]
    assert found([*pictures, pictures[2]]) == [[0], [1], [2, 8], *([number] for number in range(3, 8))]


@pytest.mark.parametrize(
    "pictures",
    [
        [frame(part(0), number) for number in range(6)],
        [frame(part(0), number) for number in range(5)] + [part(1), part(2)],
        [part(0)],
        [np.full((SIDE, SIDE, 3), 90, np.uint8)] * 4,
    ],
    ids=["one part", "mostly one part", "one picture", "nothing in them"],
)
def test_what_would_leave_too_little_beside_it_is_no_group(pictures: list[Picture]) -> None:
    assert found(pictures) == [[number] for number in range(len(pictures))]


@pytest.mark.parametrize(
    ("learned", "new"),
    [
        ([frame(part(number % 3), number) for number in range(60)], [frame(part(n), n) for n in range(100, 108)]),
        ([part(number % 8) for number in range(16)], [part(number) for number in range(100, 108)]),
    ],
    ids=["3 parts, 20 frames of each", "each picture twice"],
)
def test_copies_do_not_make_a_threshold_that_rejects_good_parts(learned: list[Picture], new: list[Picture]) -> None:
    """With folds by chance 8 of 8 were rejected: the bank knew a copy of every picture that was held out."""
    model = detector.fit(learned, image_size=64, coreset_size=200)
    scores = [model.detect(picture).score for picture in new]
    assert np.mean(model.manifest.held_out_scores) == pytest.approx(np.mean(scores), rel=0.15)
    assert sum(score > model.threshold for score in scores) <= 2


def test_of_near_copies_one_is_scored_for_the_threshold() -> None:
    """Six scores of two parts are worth two: a threshold of six would promise too much."""
    pictures = [frame(part(number % 3), number) for number in range(12)]
    assert len(detector.fit(pictures, image_size=64, coreset_size=50).manifest.held_out_scores) == 3
    again = detector.fit([part(number % 2) for number in range(6)], image_size=64, coreset_size=50)
    assert len(again.manifest.held_out_scores) == 2


@pytest.mark.parametrize(
    "pictures",
    [
        [part(0) + np.random.default_rng(n).integers(-2, 3, (SIDE, SIDE, 3)) for n in range(8)],
        [frame(part(0), n) for n in range(8)],
    ],
    ids=["noise", "another light, moved a little"],
)
def test_one_part_lying_still_cannot_be_learned_from(pictures: list[NDArray[np.int64]]) -> None:
    """Every other part would be an ANOMALY."""
    frames = [np.clip(picture, 0, 255).astype(np.uint8) for picture in pictures]
    with pytest.raises(ModelError, match="one part lying still: take pictures of different good parts"):
        detector.fit(frames, image_size=64, coreset_size=50)


def test_different_parts_small_ones_and_noise_are_not_one_part() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(90, 110, (SIDE, SIDE, 3), np.uint8) for _ in range(8)]
    small = [small_part(number) for number in range(8)]
    for pictures in ([part(number) for number in range(8)], noise, [part(0)] * 2, small):
        assert not show_one_part([look_of(picture) for picture in pictures])


@pytest.mark.parametrize("name", SETS)
def test_pictures_of_real_parts_do_not_show_one_part(name: str) -> None:
    folder = DATA / name / "train" / "good"
    if not folder.is_dir():
        pytest.skip(f"no pictures in {folder}")
    pictures = [cv2.imread(str(path)) for path in sorted(folder.iterdir())[:60:5]]
    assert not show_one_part([look_of(np.asarray(picture, np.uint8)) for picture in pictures])


def test_folds_without_copies_are_those_of_chance_alone() -> None:
    kept = list(range(25))
    order = np.random.default_rng(0).permutation(25).tolist()
    found = folds_of([{number} for number in kept], kept, 25, 0.2, np.random.default_rng(0))
    expected = [set(order[start : start + 5]) for start in range(0, 25, 5)]
    assert [fold.scored for fold in found] == [fold.without for fold in found] == expected


@given(st.lists(st.integers(0, 6), min_size=5, max_size=60), st.integers(0, 9), st.floats(0.05, 0.95))
def test_folds_are_sound(parts: list[int], unkept: int, holdout: float) -> None:
    """Whatever is copied: each fold scores something kept and of near-copies one, no image on both sides, the bank has
    some left."""
    total = len(parts) + unkept
    copies = [{number for number, one in enumerate(parts) if one == of} for of in dict.fromkeys(parts)]
    copies = [part for one in copies for part in ([one] if 2 * len(one) <= total else [{number} for number in one])]
    folds = folds_of(copies, range(len(parts)), total, holdout, np.random.default_rng(1))
    for fold in folds:
        assert fold.scored and fold.scored <= fold.without
        assert all(group <= fold.without or not group & fold.without for group in copies)
        assert total - len(fold.without) >= (0 if unkept else 2)
    scored = [number for fold in folds for number in fold.scored]
    assert len(scored) == len(set(scored)) and len(scored) >= max(2, min(len(copies), 30))
    assert all(len(group & set(scored)) == 1 for group in copies) or len(copies) == 1 or len(scored) >= 30
