from __future__ import annotations

import numpy as np
import pytest

from detector.heads import drawn


def clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal patches, and some that lie to one side in two of forty channels of very different units."""
    random = np.random.default_rng(seed)
    units = random.uniform(0.01, 100, 40)
    normal, defective = random.normal(5, 1, (3000, 40)), random.normal(5, 1, (400, 40))
    defective[:, :2] += 3
    return (normal * units).astype(np.float32), (defective * units).astype(np.float32)


def test_tells_defective_patches_it_has_not_seen() -> None:
    learned = drawn.learn(*clouds())
    normal, defective = (patches @ learned.weights + learned.offset for patches in clouds(seed=0))
    assert np.mean(normal < 0) > 0.98 and np.mean(defective > np.quantile(normal, 0.98)) > 0.9


def test_the_same_patches_give_the_same_classifier() -> None:
    one, other = drawn.learn(*clouds()), drawn.learn(*clouds())
    assert np.array_equal(one.weights, other.weights) and np.array_equal(one.offset, other.offset)


def test_no_more_is_believed_than_it_is_quiet_on_good_pictures() -> None:
    distances = [5.0, 5.5, 6.0, 5.2]
    quiet = drawn.trusted(distances, [-3.0, -2.9, -3.1, -3.0])
    noisy = drawn.trusted(distances, [-3.0, 0.0, -6.0, 2.0])
    assert quiet is not None and noisy is not None
    assert quiet.gain > 10 * noisy.gain and quiet.silent < noisy.silent
    assert quiet.raised_by(np.array([-3.0], np.float32)) < 0 < quiet.raised_by(np.array([-2.5], np.float32))


def test_a_trusted_classifier_says_what_was_believed_of_it() -> None:
    learned, (normal, _) = drawn.learn(*clouds()), clouds()
    trust = drawn.Trust(0.5, -1.5)
    of = trust.of(learned)
    expected = trust.raised_by(normal[:50] @ learned.weights + learned.offset)
    assert normal[:50] @ of.weights + of.offset == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("odds", [[], [1.0, 2.0], [1.0, 1.0, 1.0]])
def test_where_good_pictures_cannot_tell_it_is_not_heard(odds: list[float]) -> None:
    assert drawn.trusted([float(number) for number in range(len(odds))], odds) is None
