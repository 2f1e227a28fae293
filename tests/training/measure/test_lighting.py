from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.images import BGRImage
from detector.light.illumination import light_blind_projection, light_scatter
from detector.light.relighting import KINDS, SEVERITIES, Kind, Light, black_body_colour, draw_light, random_light, relit
from tests.training.conftest import draw_part
from training.measure.lighting import CONDITIONS, MIXED, ORIGINAL, Lamp, moved


def grey(level: int = 100) -> BGRImage:
    return np.full((64, 64, 3), level, np.uint8)


def under(light: Light, picture: BGRImage) -> NDArray[np.float64]:
    return relit(picture, light, np.random.default_rng(0)).astype(np.float64)


def drawn(kind: Kind, severity: int = 2, seed: int = 0) -> Light:
    return draw_light(kind, SEVERITIES[severity - 1], np.random.default_rng(seed))


def test_the_same_light_gives_the_picture_back_but_for_a_level_of_noise() -> None:
    picture = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 64, 3))
    again = under(Light(), picture)
    assert np.abs(again.mean(1) - picture.mean(1)).max() < 1
    assert np.abs(again - picture).max() <= 12  # near black, sRGB stretches the read noise


def test_exposure_is_counted_in_stops_of_linear_light() -> None:
    """sRGB 188 is half of white's light, 137 a quarter."""
    assert under(drawn("overexposed"), grey(137)).mean() == pytest.approx(188, abs=1)
    assert under(drawn("underexposed"), grey(255)).mean() == pytest.approx(137, abs=1)
    assert (under(drawn("overexposed"), grey(230)) == 255).mean() > 0.99  # clipped at white


def test_gain_is_noise_and_leaves_brightness() -> None:
    mild, strong = under(drawn("gain", 1), grey()), under(drawn("gain", 2), grey())
    assert strong.mean() == pytest.approx(100, abs=1)
    assert 1 < mild.std() < strong.std() < 15


def test_colour_temperature_turns_blue_and_red_about_green() -> None:
    blue, green, red = under(drawn("warm"), grey()).mean((0, 1))
    assert blue < green < red
    blue, green, red = under(drawn("cool"), grey()).mean((0, 1))
    assert blue > green > red
    assert green == pytest.approx(100, abs=1)
    assert black_body_colour(5500) == pytest.approx((1, 1, 1))


def test_gradient_and_shadow_are_dark_on_their_side() -> None:
    right = under(Light(gradient=0.6, angle=np.pi), grey())  # brightest on the left
    assert right[:, 0].mean() > 115 > 80 > right[:, -1].mean()
    half = under(Light(shadow=0.7, angle=0, edge=0), grey())
    assert half[:, :28].mean() == pytest.approx(100, abs=1)
    assert half[:, 36:].mean() < 70


@pytest.mark.parametrize("kind", KINDS)
def test_a_severe_light_changes_more_than_a_mild_one(kind: Kind) -> None:
    picture = draw_part(0)
    mild, severe = (np.abs(under(drawn(kind, severity), picture) - picture).mean() for severity in (1, 2))
    assert 0.5 < mild < severe


def test_a_lamp_is_the_same_for_every_picture_and_every_run() -> None:
    for condition in CONDITIONS:
        lamp = Lamp(condition, 2, seed=3)
        assert np.array_equal(lamp(grey(), 7), lamp(grey(), 7))
    one, other = (Lamp("shadow", 2)(grey(), number).astype(int) for number in (1, 2))
    assert not np.array_equal(one, other)  # the noise
    assert np.abs(one - other).mean() < 2  # the same shadow
    assert np.array_equal(Lamp(ORIGINAL, 2)(grey(), 0), grey())


def test_mixed_light_differs_from_picture_to_picture() -> None:
    means = {round(float(Lamp(MIXED, 2)(grey(), number).mean())) for number in range(30)}
    assert len(means) > 4
    assert 100 in means


def test_moving_keeps_what_is_in_the_picture() -> None:
    picture = draw_part(0)
    turned = moved(picture, np.random.default_rng(1))
    assert turned.shape == picture.shape
    assert turned.dtype == np.uint8
    assert not np.array_equal(turned, picture)
    assert turned.mean() == pytest.approx(picture.mean(), rel=0.1)


def brightness(frame: BGRImage) -> NDArray[np.float32]:
    """Two made-up features of 8×8 patches: their brightness, which light moves, and their relative contrast."""
    patches = frame.mean(2).reshape(8, frame.shape[0] // 8, 8, -1).transpose(0, 2, 1, 3).reshape(64, -1)
    return np.stack([patches.mean(1), 100 * patches.std(1) / patches.mean(1)], 1).astype(np.float32)


def test_the_direction_that_light_moves_is_dropped() -> None:
    frames = [draw_part(number)[:64, :64] for number in range(6)]
    std = np.concatenate([brightness(frame) for frame in frames]).std(0)
    scatter = light_scatter(frames, brightness, kinds=["underexposed"])
    projection = light_blind_projection(scatter, std, dropped=0.5)
    assert projection.shape == (2, 1)
    assert projection.dtype == np.float32
    assert np.linalg.norm(projection) == pytest.approx(1)
    of_brightness, of_contrast = np.abs(projection[:, 0])
    assert of_brightness < 0.5 < of_contrast


def test_distances_stay_what_they_were_where_nothing_is_dropped() -> None:
    patches = brightness(draw_part(0)[:64, :64])
    projection = light_blind_projection(light_scatter([draw_part(1)[:64, :64]], brightness), patches.std(0), dropped=0)
    moved_patches = patches @ projection
    assert np.linalg.norm(moved_patches[0] - moved_patches[9]) == pytest.approx(
        np.linalg.norm(patches[0] - patches[9]), rel=1e-4
    )


def test_the_same_pictures_and_seed_give_the_same_scatter() -> None:
    frames = [draw_part(number)[:64, :64] for number in range(3)]
    scatter = light_scatter(frames, brightness)
    assert np.array_equal(scatter, light_scatter(frames, brightness))
    assert not np.array_equal(scatter, light_scatter(frames, brightness, seed=1))


def test_random_lights_are_of_the_kinds_asked_for() -> None:
    random = np.random.default_rng(0)
    assert all(random_light(random, ["gain"]).gain > 1 for _ in range(10))
    assert len({random_light(random) for _ in range(60)}) > 10
