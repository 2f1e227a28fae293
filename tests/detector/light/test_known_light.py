from __future__ import annotations

import numpy as np
import pytest

from detector.light import known_light
from detector.light.known_light import NUMBERS, KnownLight, light_of
from detector.light.relighting import KINDS, Kind, Light, draw_light, relit
from tests.detector.parts import draw_part, draw_parts


@pytest.fixture(scope="module")
def known() -> KnownLight:
    return known_light.learn(draw_parts(20))


def test_six_numbers_say_what_the_light_did() -> None:
    picture = draw_part(0)
    here = light_of(picture)
    assert here.shape == (NUMBERS,) and here.dtype == np.float32

    def change(light: Light) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return light_of(relit(picture, light, np.random.default_rng(0))) - here

    assert (change(Light(colour=(0.5, 0.5, 0.5)))[:3] < -0.15).all()
    blue, green, red = change(Light(colour=(0.5, 1, 2)))[:3]
    assert blue < -0.15 and abs(green) < 0.05 and red > 0.15
    assert change(Light(gradient=0.5, angle=0))[3] > 0.2 > abs(change(Light(gradient=0.5, angle=0))[4])
    assert change(Light(gradient=0.5, angle=np.pi / 2))[4] > 0.2
    assert change(Light(gain=32))[5] > 0.2


def test_the_light_that_was_taught_is_known(known: KnownLight) -> None:
    assert not any(known.is_new(draw_part(number)) for number in range(20)), "no normal image is new"
    assert sum(known.is_new(draw_part(number)) for number in range(100, 140)) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_light_is_new(kind: Kind, known: KnownLight) -> None:
    random = np.random.default_rng(1)
    frames = [relit(draw_part(number), draw_light(kind, 2, random), random) for number in range(200, 210)]
    assert sum(known.is_new(frame) for frame in frames) >= 9


def test_pictures_of_one_moment_do_not_make_the_next_one_new() -> None:
    burst = [np.roll(draw_part(0), shift, 0) for shift in (0, 1)] * 3
    assert not known_light.learn(burst).is_new(np.roll(draw_part(0), 2, 0))
