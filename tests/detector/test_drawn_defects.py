from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.drawn_defects import covered, draw
from tests.detector.parts import draw_part


@given(seed=st.integers(0, 10_000), width=st.sampled_from([64, 160, 320]), height=st.sampled_from([64, 160]))
def test_what_is_covered_is_what_was_changed(seed: int, width: int, height: int) -> None:
    image, other = (draw_part(number, width=width, height=height) for number in (1, 2))
    before = image.copy()
    drawn = draw(image, other, np.random.default_rng(seed))
    assert np.array_equal(image, before)
    assert drawn.image.shape == image.shape and drawn.image.dtype == np.uint8
    assert drawn.cover.shape == (height, width) and drawn.cover.min() >= 0 and drawn.cover.max() <= 1
    changed = np.abs(drawn.image.astype(int) - image).max(2)
    # A later defect may undo an earlier one; most of what is called covered can be seen.
    assert np.mean(changed[drawn.cover == 1] > 1) > 0.5 if (drawn.cover == 1).any() else True


def test_most_pictures_are_changed_somewhere_and_none_everywhere() -> None:
    image, other = draw_part(1, width=160, height=160), draw_part(2, width=160, height=160)
    shares = [float((draw(image, other, np.random.default_rng(seed)).cover > 0).mean()) for seed in range(60)]
    assert np.mean(np.array(shares) > 0) > 0.8 and max(shares) < 0.4


def test_the_share_of_a_patch_that_is_covered() -> None:
    cover = np.zeros((32, 64), np.float32)
    cover[:8, :4] = 1
    assert covered(cover, (4, 8))[0, 0] == pytest.approx(0.5) and covered(cover, (4, 8)).sum() == pytest.approx(0.5)
