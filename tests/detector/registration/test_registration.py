from __future__ import annotations

from functools import cache

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.registration import Alignment, Laid, Motions, Reference, Unregistrable, lay, learn, small_picture
from tests.detector.parts import draw_bracket, draw_lying_freely, draw_part

Picture = NDArray[np.uint8]


@cache
def motions() -> Motions:
    """Of sixteen brackets that lie freely."""
    found = learn([small_picture(picture) for picture in draw_lying_freely(16)])
    assert found is not None
    return found


def reference() -> Reference:
    return motions().reference


def belt(number: int = 0) -> Picture:
    noise = np.random.default_rng(number).normal(0, 3, (240, 320, 3))
    return np.clip(40 + noise, 0, 255).astype(np.uint8)


def apart(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)


def test_how_parts_lie_is_learned_from_their_pictures() -> None:
    found = motions()
    assert all(found.sure) and found.reference.is_turning and found.reference.is_sound()
    assert found.turn > 90 and 0.05 < found.shift < 0.2
    assert found.reference.turns == pytest.approx((-180, 180))  # processors round differently
    assert str(found).startswith("turned up to 1") and "shifted up to" in str(found)


@pytest.mark.parametrize("turn", [0.0, 31.0, 90.0, -135.0, 180.0])
def test_turn_and_shift_are_told(turn: float) -> None:
    straight = reference().align(draw_bracket(50))
    found = reference().align(draw_bracket(50, turn=turn, shift=(0.07, -0.04)))
    assert found.is_sure and found.quality > 0.9
    assert apart(found.turn - straight.turn, turn) < 1
    back = cv2.invertAffineTransform(straight.matrix) @ (159.5, 119.5, 1)
    assert found.matrix @ (*back, 1) == pytest.approx((159.5 + 0.07 * 320, 119.5 - 0.04 * 320), abs=1.5)


@settings(max_examples=12)
@given(turn=st.floats(-180, 180), across=st.floats(-0.1, 0.1), down=st.floats(-0.05, 0.05))
def test_a_part_that_was_laid_lies_like_the_others(turn: float, across: float, down: float) -> None:
    laid = lay(draw_bracket(51, turn=turn, shift=(across, down)), reference())
    assert laid.alignment is not None and laid.alignment.is_sure
    again = reference().align(laid.frame)
    assert apart(again.turn, 0) < 1 and again.matrix @ (159.5, 119.5, 1) == pytest.approx((159.5, 119.5), abs=2)
    expected = lay(draw_bracket(51), reference()).frame
    assert np.abs(laid.frame.astype(np.float32) - expected).mean() < 5


def test_frames_of_another_size_are_laid_as_well() -> None:
    large = draw_bracket(52, turn=40, width=960, height=720)
    small = draw_bracket(52, turn=40)
    assert apart(reference().align(large).turn, reference().align(small).turn) < 1
    assert lay(large, reference()).frame.shape == large.shape


@pytest.mark.parametrize(
    "frame",
    [
        belt(),
        draw_part(0, width=320, height=240),
        draw_bracket(3)[:, :130],
        draw_bracket(3, shift=(-0.35, 0)),
        np.ascontiguousarray(draw_bracket(3, turn=20)[:, ::-1]),
        np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ],
    ids=["an empty belt", "another part", "another shape", "cut off", "its other side", "noise", "a pixel"],
)
def test_in_doubt_nothing_is_moved(frame: Picture) -> None:
    laid = lay(frame, reference())
    assert laid.alignment is not None and not laid.alignment.is_sure
    assert (laid.alignment.matrix == np.eye(2, 3)).all()
    assert laid.frame is frame
    anomalies = np.ones((3, 4), np.float32)
    assert laid.as_seen(anomalies) is anomalies


def test_a_defect_is_laid_and_stays_what_it_is() -> None:
    laid = lay(draw_bracket(53, turn=75, defect=True), reference())
    assert laid.alignment is not None and laid.alignment.is_sure
    whole, spoiled = (lay(draw_bracket(53, defect=defect), reference()).frame for defect in (False, True))
    near, far = (np.abs(laid.frame.astype(np.float32) - other).mean() for other in (spoiled, whole))
    assert near < far


def test_parts_turned_farther_than_those_taught_are_not_laid() -> None:
    found = learn([small_picture(picture) for picture in draw_lying_freely(12, most_turn=20)])
    assert found is not None and -80 < found.reference.turns[0] < -10 < 10 < found.reference.turns[1] < 80
    straight = found.reference.align(draw_bracket(54))
    assert straight.is_sure and abs(straight.turn) < 15
    upside_down = found.reference.align(draw_bracket(54, turn=180))
    assert not upside_down.is_sure and upside_down.quality > 0.9, "known, and not as taught: it has to alarm"


def test_parts_that_look_the_same_from_all_sides_are_shifted_only() -> None:
    discs = []
    for number in range(12):
        flat = cv2.circle(np.zeros((240, 320), np.float32), (160 + 4 * (number % 5), 120), 60, 110, -1)
        discs.append(np.clip(belt(number) + flat[..., None], 0, 255).astype(np.uint8))
    motions = learn([small_picture(disc) for disc in discs])
    assert motions is not None and not motions.reference.is_turning and motions.turn == 0
    found = motions.reference.align(discs[3])
    assert found.is_sure and found.turn == 0


def test_parts_that_hardly_move_are_worth_no_reference() -> None:
    still = [draw_bracket(number, turn=number % 4, shift=(0.004 * (number % 3), 0)) for number in range(12)]
    smalls = [small_picture(picture) for picture in still]
    assert learn(smalls, still=False) is None
    assert learn(smalls) is not None, "unless it is asked for"


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        ([], "there are no pictures"),
        ([draw_part(0), draw_part(1, width=200)], "different shapes"),
        ([belt(number) for number in range(5)], "5 of 5 pictures show no whole part"),
        ([draw_part(number)[20:100, 20:100] for number in range(5)], "5 of 5 pictures show no whole part"),
        ([draw_bracket(number) // 16 for number in range(5)], "5 of 5 pictures show no whole part"),
    ],
    ids=["none", "shapes", "nothing", "parts that fill the frame", "too dark"],
)
def test_what_cannot_be_registered_is_said(pictures: list[Picture], reason: str) -> None:
    with pytest.raises(Unregistrable, match=reason):
        learn([small_picture(np.ascontiguousarray(picture)) for picture in pictures])


def test_parts_of_different_sizes_cannot_be_registered() -> None:
    smalls = []
    for number in range(10):
        frame, side = belt(number), 240 - 12 * number
        part = cv2.resize(draw_bracket(number), (side * 4 // 3, side), interpolation=cv2.INTER_AREA)
        frame[: part.shape[0], : part.shape[1]] = part
        smalls.append(small_picture(frame))
    with pytest.raises(Unregistrable, match="different sizes"):
        learn(smalls)


def test_parts_that_do_not_look_alike_cannot_be_registered() -> None:
    random = np.random.default_rng(0)
    pictures = []
    for number in range(10):
        frame = belt(number) + np.uint8(90)
        stripes = random.integers(0, 2, (12, 16, 1), np.uint8) * np.uint8(250)  # on average as bright as the belt
        frame[60:180, 80:240] = np.repeat(np.repeat(stripes, 10, 0), 10, 1)
        pictures.append(small_picture(frame))
    with pytest.raises(Unregistrable, match="do not look alike"):
        learn(pictures)


def test_the_map_is_turned_back() -> None:
    frame = draw_bracket(55, turn=90, shift=(0.05, 0))
    laid = lay(frame, reference())
    assert laid.alignment is not None
    anomalies = np.zeros((30, 40), np.float32)
    anomalies[12:15, 20:23] = 1
    anomalies[13, 21] = 2
    seen = laid.as_seen(anomalies)
    x, y = laid.alignment.matrix @ (21 * 8 + 3.5, 13 * 8 + 3.5, 1)
    assert seen.max() == 2 and seen.shape == (30, 40)
    row, column = np.unravel_index(seen.argmax(), seen.shape)
    assert (column * 8 + 3.5, row * 8 + 3.5) == pytest.approx((x, y), abs=8)


@settings(max_examples=30)
@given(row=st.integers(0, 14), column=st.integers(0, 19), turn=st.floats(-180, 180), shift=st.floats(-500, 500))
def test_the_largest_value_is_never_lost(row: int, column: int, turn: float, shift: float) -> None:
    """Also where it lies beyond the frame's edge."""
    matrix = cv2.getRotationMatrix2D((160, 120), turn, 1)
    matrix[0, 2] += shift
    laid = Laid(np.zeros((240, 320, 3), np.uint8), Alignment(np.asarray(matrix), turn, 1.0, is_sure=True))
    anomalies = np.random.default_rng(0).random((15, 20), np.float32)
    anomalies[row, column] = 3
    assert laid.as_seen(anomalies).max() == 3


def test_a_reference_is_kept_as_json() -> None:
    again = msgspec.json.decode(msgspec.json.encode(reference()), type=Reference)
    frame = draw_bracket(56, turn=-50)
    assert again == reference()
    assert (again.align(frame).matrix == reference().align(frame).matrix).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 1 << 40, "height": 1 << 40},
        {"top": -1},
        {"left": 120},
        {"rows": 2},
        {"columns": 10**9},
        {"grey": b""},
        {"part": b""},
        {"pivot": (-1.0, 3.0)},
        {"pivot": (float("nan"), 3.0)},
        {"turns": (10.0, -10.0)},
        {"turns": (-400.0, 0.0)},
        {"turns": (float("nan"), 0.0)},
        {"quality": 1.0},
        {"quality": float("nan")},
    ],
    ids=str,
)
def test_damage_is_seen(fields: dict[str, object]) -> None:
    assert reference().is_sound()
    damaged = msgspec.structs.replace(reference(), **fields)
    assert not damaged.is_sound()


def test_a_template_that_shows_nothing_is_not_sound() -> None:
    size = len(reference().part)
    assert not msgspec.structs.replace(reference(), part=bytes(size)).is_sound()


@settings(max_examples=12)
@given(grey=st.binary(min_size=1, max_size=64), quality=st.floats(0.01, 0.99))
def test_any_sound_reference_aligns_without_errors(grey: bytes, quality: float) -> None:
    of = reference()
    filled = (grey * (len(of.grey) // len(grey) + 1))[: len(of.grey)]
    odd = msgspec.structs.replace(of, grey=filled, quality=quality)
    assert odd.is_sound()
    found = odd.align(draw_bracket(57, turn=10))
    assert np.isfinite(found.matrix).all()
