"""What the drift tests promise, and how soon they find what changed: simulated parts, and real pictures.

    python -m benchmarks.drift [PICTURES]

Simulated parts go through the product's own tests. Real pictures are relit, defocused, moved or enlarged, all of it
simulated, from the 101st part on, one part every two seconds. PICTURES is a folder of data sets; without it there is no
table of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage
from detector.light.relighting import Light, relit
from detector.thresholds import independent_parts
from server.drift.conditions import MATTERS, Pictures
from server.drift.scores import TOLERATED, WINDOW, WINDOWS, Scores, ranks
from server.drift.sequential import ENOUGH, Evidence, rank_limit, share_limit
from server.drift.thinning import Thinning
from server.inspection import Condition, baseline_of, condition_of
from training.data import datasets

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]

RUNS, PARTS = 20, 100_000
CALIBRATED = 50
"""Parts that a calibration is made from."""
EVERY_S = 2.0
_SEED = 0


def normal(random: np.random.Generator, count: int) -> Array:
    return random.standard_normal(count)


def skewed(random: np.random.Generator, count: int) -> Array:
    return random.gamma(2, 1, count)


def heavy(random: np.random.Generator, count: int) -> Array:
    return random.standard_t(3, count)


def alike(correlation: float) -> Draw:
    """Neighbours that are correlated: an autoregressive process of first order."""

    def draw(random: np.random.Generator, count: int) -> Array:
        drawn = random.standard_normal(count) * (1 - correlation**2) ** 0.5
        drawn[0] /= (1 - correlation**2) ** 0.5
        for number in range(1, count):
            drawn[number] += correlation * drawn[number - 1]
        return drawn

    return draw


def daylight(swing: float) -> Draw:
    """Up and down once in 86,400 s, one part every two seconds, from any time of day on."""

    def draw(random: np.random.Generator, count: int) -> Array:
        phase = np.arange(count) * EVERY_S / 86_400 + random.random()
        return random.standard_normal(count) + swing * np.sin(2 * np.pi * phase)

    return draw


def warned(draw: Draw, runs: int = RUNS, parts: int = PARTS) -> float:
    """Share of runs in control with a warning about their scores."""
    random = np.random.default_rng(_SEED)
    already, places, limits, worths = np.zeros(runs, bool), [], [], []
    for run in range(runs):
        values = draw(random, parts + CALIBRATED)
        test = Scores(values[:CALIBRATED], CALIBRATED)
        rest = values[CALIBRATED:]
        number = 0
        while not test.stands:  # part by part until the baseline stands, then all at once: the same arithmetic
            already[run] |= test.see(rest[number])
            number += 1
        place = ranks(test.baseline, rest[number:])
        places.append(np.pad(place, (0, number), constant_values=0.5))
        limits.append(min(0.5 + TOLERATED + rank_limit(test.worth), 0.95))
        worths.append(_worths(rest, number, parts))
    evidence, limit = Evidence(runs, 2), np.repeat(np.array(limits)[:, None], 2, 1)
    for place, worth in zip(np.array(places).T, np.array(worths).T, strict=True):
        found = evidence.see(np.stack([place, 1 - place], 1), limit, np.repeat(worth[:, None], 2, 1))
        already |= found.max(1) >= ENOUGH
    return float(already.mean())


def _worths(rest: Array, begun: int, parts: int) -> Array:
    """What one part is worth in independent ones, part by part, as the test measures it."""
    found = [independent_parts(rest[start : start + WINDOW]) / WINDOW for start in range(0, parts - WINDOW + 1, WINDOW)]
    of_window = [float(np.median(found[max(0, end - WINDOWS) : end])) for end in range(1, len(found) + 1)]
    worth = np.repeat([of_window[0], *of_window], WINDOW)[:parts]
    worth = np.pad(worth, (0, parts - len(worth)), mode="edge")
    return np.asarray(np.concatenate([worth[begun:], worth[-1:].repeat(begun)]), np.float64)


def warned_of_pictures(swing: float, runs: int = RUNS, parts: int = PARTS) -> float:
    """Share of runs in control with a warning about how pictures are taken: six figures, none of them normal, whose
    parts differ by more than what matters, or, with a swing of daylight, by less.

    Args:
        swing: of the light, as a share of it.
    """
    random = np.random.default_rng(_SEED)
    spread = MATTERS * (0.3 if swing else 1.0)
    already, evidence = np.zeros(runs, bool), Evidence(runs, 2, 6)
    worth = 30
    phase = random.random(runs)

    def at(number: int) -> Array:
        drawn = (random.gamma(2, 1, (runs, 6)) - 2) / 2**0.5 * spread
        drawn[:, 0] += np.log2(1 + swing * np.sin(2 * np.pi * (number * EVERY_S / 86_400 + phase)))
        return drawn

    first = np.stack([at(number) for number in range(worth)])
    low = np.minimum(first.min(0), np.median(first, 0) - MATTERS)
    high = np.maximum(first.max(0), np.median(first, 0) + MATTERS)
    limit = np.full((runs, 2, 6), share_limit(worth))
    for number in range(worth, parts):
        figures = at(number)
        beyond = np.stack([figures > high, figures < low], 1).astype(np.float64)
        already |= evidence.see(beyond, limit).max((1, 2)) >= ENOUGH
    return float(already.mean())


def still(runs: int = 20, parts: int = 1000) -> float:
    """Share of runs in control with a warning where each part lies still for 0.2 to 60 s, at 10 frames/s, and is told
    apart by its picture alone."""
    random, found = np.random.default_rng(_SEED), 0
    for _ in range(runs):
        thinning, scores, pictures = Thinning(), Scores(), Pictures()
        at, warning = 0.0, False
        for _ in range(parts):
            cells = random.normal(0, 10, (16, 16)).astype(np.float32)
            edges = random.integers(-60, 60, (32, 32)).astype(np.int8)
            figures, score = random.standard_normal(3) * MATTERS[:3], float(random.standard_normal())
            for _ in range(int(random.integers(2, 600) if random.random() < 0.1 else random.integers(2, 30))):
                at += 0.1
                light, contrast, focus = figures + random.standard_normal(3) * MATTERS[:3] / 20
                condition = Condition(light, contrast, focus, edges, cells)
                counted = thinning.see(at, None, condition, score + float(random.normal(0, 0.1)))
                if counted is not None:
                    warning |= pictures.see(counted.condition)
                    warning |= counted.score is not None and scores.see(counted.score)
        found += warning
    return found / runs


def parts_until_found(draw: Draw, shift: float, calibrated: int, before: int, runs: int = 50) -> tuple[float, float]:
    """Median and 90th percentile of parts from a shift by so many standard deviations to its warning.

    Args:
        calibrated: parts the calibration was made from; ``before``: parts in control between it and the shift.
    """
    random = np.random.default_rng(_SEED)
    deviation = float(draw(random, 200_000).std())
    found = []
    for _ in range(runs):
        values = draw(random, calibrated + before + 2000)
        values[calibrated + before :] += shift * deviation
        test = Scores(values[:calibrated], calibrated)
        took = 2000
        for number, value in enumerate(values[calibrated:]):
            if test.see(value):
                took = number + 1 - before
                break
        found.append(took)
    return float(np.median(found)), float(np.quantile(found, 0.9))


CHANGES: dict[str, tuple[str, Callable[[BGRImage, np.random.Generator], BGRImage]]] = {
    "as before": ("", lambda picture, random: picture),
    "light −30 %": ("light", lambda picture, random: relit(picture, Light(colour=(0.7, 0.7, 0.7)), random)),
    "light −20 %": ("light", lambda picture, random: relit(picture, Light(colour=(0.8, 0.8, 0.8)), random)),
    "defocus": ("focus", lambda picture, random: _blurred(picture)),
    "moved by 5 %": ("position", lambda picture, random: _moved(picture, 0.05)),
    "10 % larger": ("size", lambda picture, random: _larger(picture, 1.1)),
}


def _moved(picture: BGRImage, share: float) -> BGRImage:
    """By a share of the width; what was not seen before is as the edge is."""
    height, width = picture.shape[:2]
    matrix = np.array([[1, 0, share * width], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _larger(picture: BGRImage, times: float) -> BGRImage:
    height, width = picture.shape[:2]
    rows, columns = round(height / times), round(width / times)
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.asarray(cv2.resize(picture[top : top + rows, left : left + columns], (width, height)), np.uint8)


def _blurred(picture: BGRImage) -> BGRImage:
    """Out of focus by a hundredth of the shorter side, in diameter."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), min(picture.shape[:2]) / 200), np.uint8)


def real(folder: Path) -> list[str]:
    """A row: seconds from each change of one data set's pictures to its name, and what else was named."""
    random = np.random.default_rng(_SEED)
    pictures = list(datasets.read_all(list(datasets.find_data_set(folder).training[:80])))
    looked = {name: [condition_of(change(one, random)) for one in pictures] for name, (_, change) in CHANGES.items()}
    row = [folder.name]
    for name, (what, _) in CHANGES.items():
        order = random.permutation(len(pictures))
        known = [looked["as before"][number] for number in order[:CALIBRATED]]
        baseline = baseline_of([0.0] * len(known), known, len(known))
        assert baseline is not None
        test, named = Pictures(baseline), dict[str, int]()
        parts = 2000 if not what else 400
        for number in range(parts):
            seen = looked["as before" if number < 100 else name][random.integers(len(pictures))]
            if test.see(seen):
                for one in test.whats:
                    named.setdefault(one, number - 100)
        others = ", ".join(sorted(set(named) - {what}))
        if not what:
            row.append(others or "–")
        else:
            took = f"{(named[what] + 1) * EVERY_S:.0f}" if what in named else "never"
            row.append(took + (f" ({others})" if others else ""))
    return row


def main() -> None:
    print(f"False warnings of {RUNS} runs of {PARTS:,} parts in control, in % of the runs; promised: 1 %\n")
    print("| scores | warned, % |\n| --- | --- |")
    draws: dict[str, Draw] = {
        "normal": normal,
        "skewed (gamma)": skewed,
        "heavy tails (t, 3)": heavy,
        "neighbours correlated by 0.5": alike(0.5),
        "by 0.9": alike(0.9),
        "by 0.98": alike(0.98),
        "daylight that moves them by ±0.2 standard deviations": daylight(0.2),
        "by ±0.3": daylight(0.3),
    }
    for name, draw in draws.items():
        print(f"| {name} | {100 * warned(draw):.0f} |", flush=True)
    print(f"| parts that lie still for up to 60 s, 20 runs of 1,000 | {100 * still():.0f} |", flush=True)
    print("\n| how pictures are taken | warned, % |\n| --- | --- |")
    print(f"| parts that differ, all six figures | {100 * warned_of_pictures(0):.0f} |", flush=True)
    print(f"| daylight that moves the light by ±10 % | {100 * warned_of_pictures(0.1):.0f} |", flush=True)
    print("\nParts from a shift of the scores by one standard deviation to the warning, median and 90 % of 50 runs\n")
    print("| calibration | shift after | normal | skewed, up | skewed, down |\n| --- | --- | --- | --- | --- |")
    for calibrated, before in ((20, 0), (20, 1000), (50, 0), (50, 1000), (100, 0), (100, 1000)):
        cells = [parts_until_found(*one, calibrated, before) for one in ((normal, 1), (skewed, 1), (skewed, -1))]
        words = " | ".join(f"{median:.0f} ({most:.0f})" for median, most in cells)
        print(f"| {calibrated} parts | {before} parts | {words} |", flush=True)
    if len(sys.argv) > 1:
        print(f"\nSeconds until it is named, one part every {EVERY_S:g} s; in brackets what else was named\n")
        print("| set | 2,000 parts as before |" + "".join(f" {name} |" for name in [*CHANGES][1:]))
        print("| --- |" + " --- |" * len(CHANGES))
        for folder in sorted(one for one in Path(sys.argv[1]).iterdir() if one.is_dir()):
            print("| " + " | ".join(real(folder)) + " |", flush=True)


if __name__ == "__main__":
    main()
