from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detector import ImageError, ModelError
from detector.showing import LAST, Coverage, Shown, coverage

SIDE = 96


def part(number: int, *, defect: bool = False) -> NDArray[np.uint8]:
    """A disc with a grain of its own; the defect is a bright square on it."""
    random = np.random.default_rng(number)
    grain = cv2.GaussianBlur(random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 3)
    picture = np.full((SIDE, SIDE), 40, np.float32)
    cv2.circle(picture, (SIDE // 2, SIDE // 2), 38, 140, -1)
    picture += (picture > 100) * 25 * grain / grain.std()
    if defect:
        picture[40:56, 40:56] = 250
    return np.clip(cv2.merge([picture, picture * 0.95, picture * 0.9]), 0, 255).astype(np.uint8)


def again(picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """The same part a moment later: other noise, a little other light."""
    random = np.random.default_rng([number, 7])
    return np.clip(picture * random.uniform(0.98, 1.02) + random.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def without_numbers(pictures: list[Shown]) -> list[object]:
    return [(one.new, one.outlier, one.why, one.score, one.copy_of is None, one.place) for one in pictures]


def test_a_hundred_copies_count_once_and_change_nothing() -> None:
    with_copies, plain = Coverage(), Coverage()
    for number in range(3):
        plain.add(part(number))
        with_copies.add(part(number))
        for turn in range(4):
            assert with_copies.is_copy(again(part(number), turn))
            assert with_copies.add(again(part(number), turn)).copy_of == 5 * number
    assert not with_copies.is_copy(part(50))
    assert with_copies.summary() == plain.summary()
    alone = [one for one in with_copies.pictures() if one.copy_of is None]
    assert without_numbers(alone) == without_numbers(list(plain.pictures()))


def test_the_defect_among_good_ones_is_struck_out_and_removing_it_leaves_no_trace() -> None:
    shown, never = Coverage(), Coverage()
    for number in range(12):
        shown.add(part(number, defect=number == 5))
        if number != 5:
            never.add(part(number))
    assert [one.number for one in shown.pictures() if one.outlier] == [5]
    assert shown.summary().outliers == 1
    left, top, right, bottom = shown.pictures()[5].place or (1, 1, 0, 0)
    assert 0.2 < left < 40 / SIDE < 56 / SIDE < right < 0.8 and 0.2 < top < 40 / SIDE < 56 / SIDE < bottom < 0.8
    shown.remove(5)
    assert without_numbers(list(shown.pictures())) == without_numbers(list(never.pictures()))
    assert shown.summary() == never.summary()
    assert shown.add(part(5)) == replace(never.add(part(5)), number=12)
    with pytest.raises(KeyError):
        shown.remove(5)


def test_what_a_person_keeps_is_not_struck_out_again() -> None:
    shown = Coverage()
    for number in range(12):
        shown.add(part(number, defect=number == 5))
    shown.keep(5)
    assert not any(one.outlier for one in shown.pictures())


def test_a_copy_takes_the_place_of_what_it_copied() -> None:
    shown, never = Coverage(), Coverage()
    first = shown.add(part(0))
    for own in (shown, never):
        own.add(again(part(0), 1))
        own.add(part(1))
    assert shown.summary().parts == 2
    shown.remove(first.number)
    assert without_numbers(list(shown.pictures())) == without_numbers(list(never.pictures()))


def test_nothing_was_shown_yet() -> None:
    shown = Coverage()
    assert not shown.pictures()
    assert not shown.is_copy(part(0))
    assert shown.summary().sentence == "no part shown yet: show a good one"
    assert shown.add(part(0)).place is None  # it is unlike nothing
    assert shown.summary().sentence.startswith("1 of 1 part brought something new")
    shown.remove(0)
    assert not shown.pictures()
    assert shown.summary().parts == 0


def test_enough_is_said_after_twenty_that_brought_nothing_new() -> None:
    said = [coverage._summary([True] * few + [False] * LAST, 0) for few in (0, 1, 11)]
    assert [one.enough for one in said] == [False, True, True]
    assert said[2].sentence == (
        "of the last 20 parts, none brought anything new: enough. At most 14 % of parts to come are unlike these (95 % "
        "confidence)"
    )
    more = coverage._summary([True] * 11 + [False] * 18 + [True, True], 0)
    assert more.sentence == "of the last 20 parts, 2 brought something new: show more"
    assert more.at_most == 1


def test_pictures_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "MOST", 2)
    shown = Coverage()
    for number in range(2):
        shown.add(part(number))
    with pytest.raises(ModelError, match="2 pictures are the most"):
        shown.add(part(2))
    shown.remove(0)
    shown.add(part(2))


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3))])
def test_what_is_no_frame_is_refused(frame: NDArray[np.uint8]) -> None:
    shown = Coverage()
    with pytest.raises(ImageError):
        shown.add(frame)
    with pytest.raises(ImageError):
        shown.is_copy(frame)


def test_frames_of_any_shape_fit_the_first() -> None:
    shown = Coverage()
    shown.add(cv2.resize(part(0), (32, 200)).astype(np.uint8))
    shown.add(part(1))
    shown.add(np.zeros((1, 1, 3), np.uint8))
    assert shown.summary().parts == 3
