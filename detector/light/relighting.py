"""Pictures under another light, by simulation: to teach a model what light does, and to test what it does to a model.

Light is changed where it adds up: pixels are decoded from sRGB (IEC 61966-2-1) to linear light, multiplied, given the
noise of a sensor, clipped at white, encoded again and rounded to 8 bits. All of it is simulation: reflections,
penumbras and the automatic controls of a real camera are not in it.

Noise model: shot noise of a sensor with 10,000 electrons at white and 5 electrons of read noise; a gain of g means that
a g-th of the light was amplified g times, so the shot noise's variance is g times as large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage

Kind = Literal["overexposed", "underexposed", "gain", "warm", "cool", "gradient", "shadow"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Severity = Literal[1, 2]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

_STOPS: dict[Kind, tuple[float, float]] = {"overexposed": (0.5, 1.0), "underexposed": (-1.0, -2.0)}
_GAIN = (8.0, 32.0)
_KELVIN: dict[Kind, tuple[float, float]] = {"warm": (4000.0, 3000.0), "cool": (7000.0, 9000.0)}
_TAUGHT_KELVIN = 5500.0
_GRADIENT = (0.3, 0.6)
_SHADOW = (0.4, 0.7)
_SHADOW_EDGE = 0.04
_ELECTRONS, _READ_NOISE = 10_000.0, 5.0
_WAVELENGTHS = (464e-9, 549e-9, 611e-9)
"""Dominant wavelengths of sRGB's blue, green and red, in metres."""


@dataclass(frozen=True)
class Light:
    """How the light differs from that under which a picture was taken. The default changes nothing but the noise.

    ``colour``: linear multipliers of blue, green and red, exposure included. ``gain``: of the sensor, noise only.
    ``gradient``: from 1 + gradient at one end of the picture to 1 − gradient at the other. ``shadow``: share of the
    light that a soft-edged shadow takes. ``angle``: direction of gradient and shadow, radians. ``edge``: where the
    shadow begins, −1..1 from one end of the picture to the other.
    """

    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gain: float = 1.0
    gradient: float = 0.0
    shadow: float = 0.0
    angle: float = 0.0
    edge: float = 0.0


def draw_light(kind: Kind, severity: Severity, random: np.random.Generator) -> Light:
    """A light of that kind. Only direction and place are random: gradient and shadow; other kinds are always alike."""
    level = severity - 1
    angle, edge = float(random.uniform(0, 2 * math.pi)), float(random.uniform(0, 0.5))
    if kind in _STOPS:
        exposure = 2 ** _STOPS[kind][level]
        return Light(colour=(exposure, exposure, exposure))
    if kind in _KELVIN:
        return Light(colour=black_body_colour(_KELVIN[kind][level]))
    if kind == "gain":
        return Light(gain=_GAIN[level])
    if kind == "gradient":
        return Light(gradient=_GRADIENT[level], angle=angle)
    return Light(shadow=_SHADOW[level], angle=angle, edge=edge)


def relit(picture: BGRImage, light: Light, random: np.random.Generator) -> BGRImage:
    """The picture (H×W×3 uint8 BGR) under another light; ``random`` gives the noise."""
    linear = np.asarray(_decoding()[picture] * np.asarray(light.colour, np.float32), np.float32)
    if light.gradient or light.shadow:
        linear *= _field(light, picture.shape[0], picture.shape[1])[..., None]
    variance = linear * np.float32(light.gain / _ELECTRONS) + np.float32((light.gain * _READ_NOISE / _ELECTRONS) ** 2)
    linear += np.sqrt(variance) * random.standard_normal(linear.shape, np.float32)
    levels = np.asarray(np.clip(linear, 0, 1) * np.float32(65535) + np.float32(0.5), np.uint16)
    return np.asarray(_encoding()[levels], np.uint8)


def random_light(random: np.random.Generator, kinds: Sequence[Kind] = KINDS) -> Light:
    """A light of any of these kinds and any severity, all as likely."""
    kind = kinds[int(random.integers(len(kinds)))]
    return draw_light(kind, SEVERITIES[int(random.integers(len(SEVERITIES)))], random)


def black_body_colour(kelvin: float) -> tuple[float, float, float]:
    """Linear blue, green and red of a black body's light against that of 5500 K, green held at 1.

    Planck's law at the channels' dominant wavelengths: what a camera sees whose white balance is fixed (von Kries).
    """

    def radiance(wavelength: float, temperature: float) -> float:
        return wavelength**-5 / math.expm1(0.014387769 / (wavelength * temperature))

    ratios = [radiance(wavelength, kelvin) / radiance(wavelength, _TAUGHT_KELVIN) for wavelength in _WAVELENGTHS]
    return ratios[0] / ratios[1], 1.0, ratios[2] / ratios[1]


def _field(light: Light, height: int, width: int) -> NDArray[np.float32]:
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    across, down = math.cos(light.angle), math.sin(light.angle)
    place = (x * across + y * down) / (abs(across) + abs(down))  # −1..1 from corner to corner
    dark = 1 / (1 + np.exp(-(place - light.edge) / _SHADOW_EDGE))
    return np.asarray((1 + light.gradient * place) * (1 - light.shadow * dark), np.float32)


@cache
def _decoding() -> NDArray[np.float32]:
    """sRGB level → linear light, 0..1."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _encoding() -> NDArray[np.uint8]:
    """Linear light in 65,535ths → sRGB level."""
    value = np.arange(65536) / 65535
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)
