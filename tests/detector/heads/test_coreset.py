from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.heads import coreset
from detector.heads.coreset import greedy_coreset


def cloud(count: int, channels: int, seed: int = 0) -> NDArray[np.float32]:
    """A dense middle and a few far groups, as patches of a part are."""
    random = np.random.default_rng(seed)
    points = random.normal(0, 1, (count, channels))
    points[: count // 10] += random.normal(0, 8, channels)
    return points.astype(np.float32)


def plain_greedy(points: NDArray[np.float32], size: int, first: int) -> list[int]:
    """Algorithm 1 of the paper as it stands there, in float64."""
    exact = points.astype(np.float64)
    chosen, nearest = [first], ((exact - exact[first]) ** 2).sum(1)
    while len(chosen) < size:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((exact - exact[chosen[-1]]) ** 2).sum(1))
    return chosen


def radius(points: NDArray[np.float32], chosen: NDArray[np.intp]) -> float:
    squared = ((points[:, None].astype(np.float64) - points[chosen][None]) ** 2).sum(2)
    return float(np.sqrt(squared.min(1).max()))


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(2, 400),
    channels=st.integers(2, 64),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
    farthest=st.sampled_from([1, 7, 64, 1024]),
)
def test_chooses_what_the_plain_algorithm_chooses(
    count: int, channels: int, share: float, seed: int, farthest: int
) -> None:
    points = cloud(count, channels, seed)
    size = min(count - 1, max(1, int(share * count)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "FARTHEST", farthest)
        chosen = greedy_coreset(points, size, seed=seed)
    expected = plain_greedy(points, size, int(chosen[0]))
    if list(chosen) == expected:
        return
    # Rounding may swap two that are equally far; then each choice is still a farthest one, to rounding.
    exact = points.astype(np.float64)
    rounding = 1e-5 * (exact**2).sum(1).max()
    nearest = ((exact - exact[chosen[0]]) ** 2).sum(1)
    for choice in chosen[1:]:
        assert nearest[choice] >= nearest.max() - rounding
        nearest = np.minimum(nearest, ((exact - exact[choice]) ** 2).sum(1))


def test_the_order_is_that_of_the_plain_algorithm_over_many_rounds() -> None:
    points = cloud(6000, 32)
    chosen = greedy_coreset(points, 1500)
    assert len(set(chosen)) == 1500
    assert np.mean(chosen == plain_greedy(points, 1500, int(chosen[0]))) > 0.99


def test_covers_the_patches_better_than_a_random_choice() -> None:
    points = cloud(2000, 64)
    random = np.random.default_rng(1).choice(2000, 100, replace=False)
    assert radius(points, greedy_coreset(points, 100)) < radius(points, random)


def test_covers_patches_of_many_channels() -> None:
    points = cloud(2000, 152)
    chosen = greedy_coreset(points, 200)
    random = np.random.default_rng(1).choice(2000, 200, replace=False)
    assert len(set(chosen)) == 200
    assert radius(points, chosen) < radius(points, random)


def test_the_same_seed_gives_the_same_choice() -> None:
    points = cloud(3000, 152)
    first, again, other = (greedy_coreset(points, 300, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("size", [5, 6, 1000])
def test_all_are_chosen_when_there_are_no_more(size: int) -> None:
    assert list(greedy_coreset(cloud(5, 152), size)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [1, 2, 29])
def test_equal_patches_are_chosen_once_each(size: int) -> None:
    assert len(set(greedy_coreset(np.ones((30, 152), np.float32), size))) == size


def test_a_random_share_is_considered_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "MAX_CANDIDATES", 100)
    points = cloud(1000, 8)
    chosen = greedy_coreset(points, 50)
    assert len(set(chosen)) == 50 and chosen.max() > 100
    assert len(greedy_coreset(points, 500)) == 100


def test_reports_progress_upwards_and_below_the_end() -> None:
    seen: list[float] = []
    greedy_coreset(cloud(5000, 64), 1500, progress=seen.append)
    assert len(seen) > 1 and seen == sorted(seen) and seen[0] > 0 and seen[-1] < 1
