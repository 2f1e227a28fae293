"""Forgiving and remembering on real parts: what they do to the parts they are meant for, to all others, and how fast.

    python -m benchmarks.corrections FOLDER… [--cache FOLDER] [--at-most N] [--growth N]

Each folder is a data set with labelled pictures. Parts are rejected or pass by the model's default threshold; where
fewer than three good parts are rejected, it is lowered to reject the three that score most; where fewer than six
defects escape, it is raised to the defects' median. Models are kept in the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

import detector
from detector import BadPatches, GoodPatches, ModelError, TaughtModel
from detector.heads import MemoryBanks
from detector.images import BGRImage
from detector.runtimes import Seen
from detector.score import to_detection
from training.data import DataSet, datasets, find_data_set
from training.data.datasets import TestPicture
from training.measure import metrics
from training.reports.markdown import table

T = TypeVar("T")
P = ParamSpec("P")

REJECTED, ESCAPES = 3, 6
"""Parts to correct on a set at the least."""
VIEWS = ((0.0, 0.0, 1.0, 2.0, 92), (1.0, 0.0, 1.0, 2.0, 85), (-1.4, 1.4, 1.02, 3.0, 80), (2.0, 1.0, 0.97, 2.0, 90))
"""How a part is seen again: pixels of the picture to the right and down, brightness, noise in grey levels, quality of
JPEG."""
_SQUARE = 0.05
"""Of a mask's longer side, added round it: a person marks more than the defect."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/defectvision-corrections"))
    parser.add_argument("--at-most", type=int, default=8, help="parts forgiven, and defects remembered, of each set")
    parser.add_argument("--growth", type=int, default=200, help="parts forgiven on the last set")
    arguments = parser.parse_args()
    forgiving, remembering, times = [], [], Times()
    for folder in arguments.folders:
        data_set = find_data_set(folder)
        line = Line(data_set, taught(data_set, arguments.cache), times)
        forgiving.append([data_set.name, *forgive(line, arguments.at_most)])
        remembering.append([data_set.name, *remember(line, arguments.at_most)])
    print("Forgiving false rejects, one by one and then all together:\n")
    heads = ["pictures", "threshold", "forgiven", "pass then", "seen again: before, then"]
    heads += ["patches, median and most", "AUROC of the others: before, then", "taken back"]
    print(table(heads, forgiving))
    print("\nRemembering escapes, one by one; *together*: all of them at once:\n")
    heads = ["pictures", "threshold", "remembered", "found then", "others of the type found, each time"]
    heads += ["false rejects added, each time", "together: others found", "together: false rejects added"]
    print(table(heads, remembering))
    print(f"\n{times.table()}\n\n{growth(line, arguments.growth)}")


def taught(data_set: DataSet, cache: Path) -> TaughtModel:
    """A model of all its good pictures, default settings, seed 0."""
    fingerprint = hashlib.sha256(repr([str(path) for path in data_set.training]).encode()).hexdigest()[:12]
    folder = cache / f"{data_set.name}-{fingerprint}"
    if not folder.is_dir():
        detector.fit(datasets.Pictures(data_set.training), seed=0).save(folder)
    return detector.load_taught(folder)


class Times:
    """Milliseconds of each step."""

    def __init__(self) -> None:
        self._of: dict[str, list[float]] = {}

    def of(self, step: str, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        start = time.perf_counter()
        made = call(*arguments, **options)
        self._of.setdefault(step, []).append((time.perf_counter() - start) * 1000)
        return made

    def table(self) -> str:
        lines = [
            [step, len(ms), f"{np.median(ms):.0f}", f"{np.quantile(ms, 0.95):.0f}"] for step, ms in self._of.items()
        ]
        return table(["ms", "times", "median", "p95"], lines)


@dataclass
class Line:
    """A set's labelled pictures, looked at once by the model as it was taught."""

    data_set: DataSet
    model: TaughtModel
    times: Times

    def __post_init__(self) -> None:
        model, pictures = self.model, self.data_set.test
        distances = model.corrected()._distances
        self.inputs = [model.input_of(datasets.read_picture(picture.path)) for picture in pictures]
        self.seen = [distances.seen(small) for small in self.inputs]
        self.defective = np.array([picture.defective for picture in pictures])
        self.kinds = [picture.defect for picture in pictures]
        self.before = self.scores(model)

    def scores(self, model: TaughtModel) -> NDArray[np.float64]:
        return np.array([score_of(model, seen) for seen in self.seen])

    def auroc(self, scores: NDArray[np.float64], left_out: Sequence[int]) -> float:
        kept = np.setdiff1d(np.arange(len(scores)), left_out)
        found = metrics.auroc(scores[kept], self.defective[kept])
        assert found is not None
        return found


def score_of(model: TaughtModel, seen: Seen) -> float:
    """The score of what was seen by the model as it was taught, with a model's corrections: what its graph computes."""
    head, maps = model.head, seen.maps
    assert isinstance(head, MemoryBanks)
    found = [maps.distances] if maps.coarse is None else [maps.distances, maps.coarse]
    for number, some in enumerate(head.corrections):
        step, own, signatures = float(head.scales[number][1].step[0]), found[number], seen.signatures[number]
        if len(some.good):
            one, other = signatures.astype(np.float32), some.good.astype(np.float32)
            squared = (one**2).sum(1)[:, None] - 2 * one @ other.T + (other**2).sum(1)
            own = np.minimum(own, np.sqrt(np.maximum(squared.min(1), 0)).reshape(own.shape) * np.float32(step))
        found[number] = np.maximum(own, some.bad.says(signatures).reshape(own.shape))
    return to_detection(found[0], found[1] if len(found) > 1 else None, maps.drawn).score


def forgive(line: Line, at_most: int) -> list[str]:
    model, good = line.model, np.flatnonzero(~line.defective)
    by_score = good[np.argsort(-line.before[good])]
    threshold = model.threshold
    if line.before[by_score[REJECTED - 1]] <= threshold:
        threshold = float(line.before[by_score[REJECTED]])
    rejected = [int(one) for one in by_score[:at_most] if line.before[one] > threshold]
    made, passing, again, sizes = list[GoodPatches](), 0, [0, 0], []
    for one in rejected:
        small = line.inputs[one]
        patches = line.times.of("good_of", model.good_of, small, threshold=threshold)
        corrected = line.times.of("corrected", model.corrected, [patches])
        passing += line.times.of("first detect", corrected.detect_input, small).score <= threshold
        line.times.of("detect, corrected", corrected.detect_input, small)
        line.times.of("detect, as taught", model.detect_input, small)
        for view in views(datasets.read_picture(line.data_set.test[one].path)):
            for number, of in enumerate((model, corrected)):
                again[number] += of.detect(view).score <= threshold
        made.append(patches)
        sizes.append(len(patches.fine) + len(patches.coarse))
    together = model.corrected(made)
    after, back = line.scores(together), together.corrected()
    same = all(
        back.detect_input(line.inputs[one]).score == model.detect_input(line.inputs[one]).score for one in rejected
    )
    count = len(rejected)
    return [
        f"{threshold:.2f}{'' if threshold == model.threshold else ' (lowered)'}",
        str(count),
        f"{passing} of {count}",
        f"{again[0]}, {again[1]} of {count * len(VIEWS)}",
        f"{np.median(sizes):.0f}, {max(sizes)}",
        f"{line.auroc(line.before, rejected):.4f}, {line.auroc(after, rejected):.4f}",
        "the same scores" if same else "**other scores**",
    ]


def views(picture: BGRImage) -> Iterator[BGRImage]:
    """A part seen again."""
    random = np.random.default_rng(1)
    height, width = picture.shape[:2]
    for right, down, gain, noise, quality in VIEWS:
        move = np.array([[1, 0, right], [0, 1, down]], np.float64)
        moved = cv2.warpAffine(picture, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        noisy = np.clip(np.rint(moved * gain + random.normal(0, noise, moved.shape)), 0, 255).astype(np.uint8)
        _, coded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, quality])
        yield detector.images.decode(coded.tobytes())


def remember(line: Line, at_most: int) -> list[str]:
    model, defects, threshold = line.model, np.flatnonzero(line.defective), line.model.threshold
    if np.sum(line.before[defects] <= threshold) < ESCAPES:
        threshold = float(np.median(line.before[defects]))
    escapes = [int(one) for one in defects if line.before[one] <= threshold]
    chosen = np.sort(np.random.default_rng(0).permutation(escapes)[:at_most]).tolist()
    made, found, others, rejects = list[BadPatches](), 0, [0, 0], 0
    good = ~line.defective
    for one in chosen:
        small, place = line.inputs[one], place_of(line.data_set.test[one])
        patches = line.times.of("bad_of", model.bad_of, small, threshold, place)
        corrected = model.corrected(bad=[patches])
        found += line.times.of("detect, remembered", corrected.detect_input, small).score > threshold
        after = line.scores(corrected)
        alike = [other for other in escapes if other != one and line.kinds[other] == line.kinds[one]]
        others[0] += int(np.sum(after[alike] > threshold))
        others[1] += len(alike)
        rejects += int(np.sum((after > threshold) & (line.before <= threshold) & good))
        made.append(patches)
    after = line.scores(model.corrected(bad=made))
    left = [other for other in escapes if other not in chosen]
    count, rejected = len(chosen), int(np.sum((after > threshold) & (line.before <= threshold) & good))
    return [
        f"{threshold:.2f}{'' if threshold == model.threshold else ' (raised)'}",
        f"{count} of {len(escapes)}",
        f"{found} of {count}",
        f"{others[0] / max(1, others[1]):.1%} of {others[1]}",
        f"{rejects / max(1, count):.2f} of {int(good.sum())}",
        f"{int(np.sum(after[left] > threshold))} of {len(left)}",
        f"{rejected} of {int(good.sum())}",
    ]


def place_of(picture: TestPicture) -> detector.Polygon | None:
    """The rectangle that a person would draw round a defect; None where nothing is known of its place."""
    if not picture.mask:
        return None
    height, width = datasets.read_picture(picture.path).shape[:2]
    rows, columns = np.nonzero(datasets.mask_of(picture, (height, width)))
    margin = _SQUARE * max(np.ptp(rows), np.ptp(columns)) + 2
    left, right = np.clip([columns.min() - margin, columns.max() + margin], 0, width) / width
    top, bottom = np.clip([rows.min() - margin, rows.max() + margin], 0, height) / height
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def growth(line: Line, most: int) -> str:
    """Many different parts of a set forgiven one after the other, defective ones too: each alarms a little."""
    made, lines, refused = list[GoodPatches](), [], 0
    order = np.argsort(line.before)[: most + 1]
    for count, one in enumerate(order[:most], 1):
        try:
            made.append(line.model.good_of(line.inputs[one], threshold=0.97 * float(line.before[one])))
            corrected = line.times.of("corrected, many", line.model.corrected, made)
        except ModelError as error:
            refused += 1
            lines.append([count, "–", "–", f"refused: {error}"])
            break
        if count % 25 == 0 or count == len(order[:most]):
            head = corrected.head
            assert isinstance(head, MemoryBanks)
            kept = [len(some.good) for some in head.corrections]
            ms = []
            for _ in range(15):
                start = time.perf_counter()
                corrected.detect_input(line.inputs[one])
                ms.append((time.perf_counter() - start) * 1000)
            given = sum(len(part.fine) + len(part.coarse) for part in made)
            lines.append([count, given, " + ".join(map(str, kept)), f"{np.median(ms):.0f}"])
    heads = ["forgiven", "patches given", "in the bank, fine + coarse", "frame, ms"]
    return f"Forgiving one part after the other of *{line.data_set.name}*:\n\n{table(heads, lines)}"


if __name__ == "__main__":
    main()
