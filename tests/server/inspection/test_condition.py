"""Figures of a frame: each follows what it is named after, and little else."""

from __future__ import annotations

from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.images import BGRImage
from detector.light.relighting import Light, relit
from server.inspection import NAMES, Condition, baseline_of, condition_of
from server.inspection.baseline import MOST_SCORES, Baseline, Span
from server.inspection.lying import Lying


@pytest.fixture(scope="module")
def part() -> BGRImage:
    """A part with fine marks on a plain ground, at 640×480."""
    random = np.random.default_rng(0)
    picture = np.full((480, 640, 3), 90, np.uint8)
    cv2.ellipse(picture, (320, 240), (120, 90), 20, 0, 360, (170, 160, 150), -1)
    for _ in range(60):
        x, y = random.integers(240, 400), random.integers(190, 290)
        cv2.circle(picture, (int(x), int(y)), 3, (60, 60, 60), -1)
    return np.asarray(np.clip(picture + random.normal(0, 2, picture.shape), 0, 255), np.uint8)


def changes(one: BGRImage, other: BGRImage) -> dict[str, float]:
    here, there = condition_of(one), condition_of(other)
    lying = Lying(here.edges)
    return dict(zip(NAMES, there.figures(lying) - here.figures(lying), strict=True))


def test_less_light_is_less_light_and_nothing_else(part: BGRImage) -> None:
    found = changes(part, relit(part, Light(colour=(0.7, 0.7, 0.7)), np.random.default_rng(0)))
    assert 2 ** found["light"] == pytest.approx(0.7, abs=0.02)
    assert max(abs(found[name]) for name in NAMES if name != "light") < 0.15


def test_a_lens_out_of_focus_takes_the_fine_edges(part: BGRImage) -> None:
    found = changes(part, np.asarray(cv2.GaussianBlur(part, (0, 0), 2.4), np.uint8))
    assert found["focus"] < -0.7 and abs(found["light"]) < 0.05 and abs(found["across"]) < 0.01


def test_a_moved_camera_moves_what_it_sees(part: BGRImage) -> None:
    matrix = np.array([[1, 0, 32], [0, 1, -24]], np.float32)
    moved = cv2.warpAffine(part, matrix, (640, 480), borderMode=cv2.BORDER_REPLICATE)
    found = changes(part, np.asarray(moved, np.uint8))
    assert (found["across"], found["down"]) == pytest.approx((0.05, -0.05), abs=0.01)


def test_a_nearer_camera_sees_larger(part: BGRImage) -> None:
    nearer = cv2.resize(part[22:458, 29:611], (640, 480))
    assert changes(part, np.asarray(nearer, np.uint8))["size"] == pytest.approx(np.log2(1.1), abs=0.04)


def test_haze_takes_contrast(part: BGRImage) -> None:
    assert changes(part, np.asarray(part // 2 + 100, np.uint8))["contrast"] < -0.5


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 255), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_picture_has_finite_figures(height: int, width: int, level: int, noisy: bool) -> None:
    picture = np.full((height, width, 3), level, np.uint8)
    if noisy:
        picture = np.random.default_rng(level).integers(0, 256, picture.shape, np.uint8)
    found = condition_of(picture)
    assert np.isfinite(found.figures(Lying(found.edges))).all() and np.isfinite(found.cells).all()
    assert found.cells.shape == (16, 16) and found.cells.dtype == np.float32


def conditions(count: int) -> list[Condition]:
    edges, cells = np.eye(32, dtype=np.int8), np.zeros((16, 16), np.float32)
    return [Condition(float(number), 0.0, 0.0, edges, cells) for number in range(count)]


def test_a_baseline_is_bounded_and_says_its_spans() -> None:
    made = baseline_of([float(number) for number in range(200)], conditions(200), 150.3)
    assert made is not None and made.fault is None and len(made.scores) == MOST_SCORES
    assert made.scores[0] == 0 and made.scores[-1] == 199 and made.spans["light"] == Span(0.0, 99.5, 199.0)
    assert baseline_of([1.0], [], 1) is None and baseline_of([], [], 1) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"worth": 0.0},
        {"scores": (1.0,) * (MOST_SCORES + 1)},
        {"scores": (float("inf"),)},
        {"spans": {"colour": Span(0, 0, 0)}},
        {"spans": {name: Span(2, 1, 3) for name in NAMES}},
        {"edges": b"short"},
    ],
)
def test_what_cannot_be_one_is_said(damage: dict[str, Any]) -> None:
    made = baseline_of([1.0] * 5, conditions(5), 5)
    assert isinstance(made, Baseline) and msgspec.structs.replace(made, **damage).fault is not None
