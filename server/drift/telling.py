"""What changed, in words, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.drift.conditions import What
from server.drift.sequential import Values
from server.words import DriftWhat

OTHER_REGIONS = (
    "what accepted parts score is compared with nothing, for the calibration was made in other regions than are "
    "inspected now: calibrate again, or go back to those regions"
)


@dataclass(frozen=True)
class Words:
    """``change``: as a share of what it was, or of the picture's sides; ``say``: what changed; ``do``: what to do."""

    change: float
    say: str
    do: str


def words_of(what: What, off: Values, than: str) -> Words:
    """Of how pictures are taken.

    Args:
        off: how far the six figures are from what they were.
        than: what they are compared with.
    """
    light, contrast, focus, across, down, size = (float(value) for value in off)
    match what:
        case "light":
            change = 2**light - 1
            say = f"the picture is {_percent(change)} {'brighter' if change > 0 else 'darker'} {than}"
            do = "look at the lamp, the exposure and what stands in the light"
        case "contrast":
            change = 2**contrast - 1
            say = f"the picture has {_percent(change)} {'more' if change > 0 else 'less'} contrast {than}"
            do = "clean the lens and its window, and look for stray light"
        case "focus":
            change = 2 ** (focus / 2) - 1
            say = f"fine edges are {_percent(change)} {'stronger' if change > 0 else 'weaker'} {than}"
            do = "focus the lens, clean it, and look at its mount" if change < 0 else "look at gain, exposure and focus"
        case "position":
            change = float(np.hypot(across, down))
            say = f"what the camera sees lies {_where(across, down)} {than}"
            do = "look whether the camera or the fixture was moved, and set it back"
        case "size":
            change = 2**size - 1
            say = f"what the camera sees is {_percent(change)} {'larger' if change > 0 else 'smaller'} {than}"
            do = "look at the camera's distance and zoom, and set it back"
    return Words(change, say, do)


def words_of_scores(place: float, than: str) -> Words:
    """Of scores of accepted parts.

    Args:
        place: their mean rank among those they are compared with, 0..1.
    """
    higher = place > 0.5
    say = (
        f"accepted parts score {'higher' if higher else 'lower'} {than}: {'above' if higher else 'below'} "
        f"{_percent(place if higher else 1 - place)} of those, where half is usual"
    )
    do = (
        "look at the parts and at what makes them before good ones are rejected"
        if higher
        else "look at the picture, since defects may score lower too"
    )
    return Words(place - 0.5, say, do)


def sentence(words: Words) -> str:
    """All of it, for an operator."""
    return f"{words.say}; {words.do}; if it is to stay so, calibrate again"


def back_words(what: DriftWhat, than: str) -> str:
    """That it is as it was."""
    return f"{_NAMES[what]} as it was again, compared with {than}"


_NAMES: dict[DriftWhat, str] = {
    "score": "what accepted parts score is",
    "light": "the light is",
    "contrast": "the contrast is",
    "focus": "the focus is",
    "position": "the position is",
    "size": "the size is",
}


def _percent(share: float) -> str:
    return f"{100 * abs(share):.0f} %"


def _where(across: float, down: float) -> str:
    found = []
    if abs(across) >= max(0.01, abs(down) / 3):
        found.append(f"{_percent(across)} of its width further {'right' if across > 0 else 'left'}")
    if abs(down) >= max(0.01, abs(across) / 3):
        found.append(f"{_percent(down)} of its height further {'down' if down > 0 else 'up'}")
    return " and ".join(found) or "elsewhere"
