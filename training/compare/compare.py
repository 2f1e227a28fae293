"""Models × data sets: every model learns from the same pictures and is measured on the same others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.images import BGRImage
from detector.input_size import InputSize
from training.compare.candidates import Candidate, Fitted, Progress, TrainingData
from training.compare.exhibits import Exhibits, worst
from training.data import DataSet, DataSetError, TestPicture, datasets
from training.measure import Evaluation, evaluate, interleaved_latencies, sentence

LATENCY_PICTURES = 20
LATENCY_BYTES = 250_000_000
"""Of the whole pictures held for that: 20 of up to 4 megapixels."""


@dataclass(frozen=True)
class Measured:
    """One model on one data set."""

    name: str
    description: str
    runtime: str
    input_size: InputSize
    hash: str
    fit_seconds: float
    """From reading the first picture to a model that can inspect, its default threshold included. One run."""
    size_bytes: int
    """On disk, the backbone's weights included."""
    latency_median_ms: float
    """Of ``detect`` alone, without reading the file, interleaved with the other models."""
    latency_p95_ms: float
    evaluation: Evaluation | None
    """``None`` without labelled pictures. Its latencies are those above."""
    exhibits: Exhibits | None


@dataclass(frozen=True)
class Failed:
    """A model that could not be measured, and why: one sentence for the operator."""

    name: str
    description: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A data set to compare on, checked; ``title`` names it among the others."""

    title: str
    data_set: DataSet


@dataclass(frozen=True)
class Section:
    """All models on one data set, in the order in which they were asked for."""

    title: str
    data_set: DataSet
    fingerprint: str
    """SHA-256 over the pictures that were learned from."""
    rows: tuple[Measured | Failed, ...]

    @property
    def measured(self) -> tuple[Measured, ...]:
        return tuple(row for row in self.rows if isinstance(row, Measured))

    @property
    def failed(self) -> tuple[Failed, ...]:
        return tuple(row for row in self.rows if isinstance(row, Failed))


def prepare(
    folders: Sequence[Path], *, strict: bool = False, progress: Callable[[int, int], None] | None = None
) -> tuple[Entry, ...]:
    """Find and read every data set before the first model is fitted: a slip must not cost an hour.

    A data set without labelled pictures is taken: fit time, size and latency can be measured.

    Args:
        folders: at least one.
        strict: refuse data sets with files that cannot be used.
        progress: called with how many files of a folder are checked, and of how many.

    Raises:
        DataSetError: all that is wrong with any of the folders; none is compared then.
    """
    twice = [path for path, count in Counter(folder.resolve() for folder in folders).items() if count > 1]
    if twice:
        raise DataSetError(f"{twice[0]} is given twice. Give each folder once.")
    problems = []
    found = []
    for folder in folders:
        try:
            data_set = datasets.find_data_set(folder)
            found.append(
                datasets.check(data_set, training=True, test=bool(data_set.test), strict=strict, progress=progress)
            )
        except DataSetError as error:
            problems.append(str(error))
    if problems:
        raise DataSetError("\n".join([*problems, "Nothing was compared."]))
    return tuple(map(Entry, titles([data_set.folder for data_set in found]), found))


def titles(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart: ``bottle``, or ``old/bottle`` and ``new/bottle``."""
    parts = [folder.resolve().parts for folder in folders]
    ends = [1] * len(parts)
    while True:
        names = [Path(*own[-end:]).as_posix() for own, end in zip(parts, ends, strict=True)]
        taken = Counter(names)
        longer = [end + (taken[name] > 1 and end < len(own)) for name, end, own in zip(names, ends, parts, strict=True)]
        if longer == ends:
            return names
        ends = longer


def compare(
    entries: Sequence[Entry], candidates: Sequence[Candidate], *, progress: Progress | None = None
) -> Iterator[Section]:
    """Yield each data set's section as soon as it is finished.

    Whatever a candidate raises becomes its row; Ctrl-C ends the comparison.

    Args:
        progress: called with what is being done and the fraction of the whole that is done, 0..1.
    """
    report = progress or (lambda stage, fraction: None)
    for index, entry in enumerate(entries):

        def part(stage: str, fraction: float, index: int = index, title: str = entry.title) -> None:
            report(f"{title}: {stage}", (index + fraction) / len(entries))

        yield _section(entry, candidates, part)


@dataclass(frozen=True)
class _Learned:
    fitted: Fitted
    seconds: float
    size_bytes: int
    evaluation: Evaluation | None
    exhibits: Exhibits | None


def _section(entry: Entry, candidates: Sequence[Candidate], report: Progress) -> Section:
    data = TrainingData(entry.data_set.name, entry.data_set.training, datasets.fingerprint(entry.data_set.training))
    learned: dict[str, _Learned] = {}
    failures: dict[str, str] = {}
    shares = len(candidates) + 0.5  # the latencies take about as long as half a candidate
    for index, candidate in enumerate(candidates):

        def part(stage: str, fraction: float, index: int = index, name: str = candidate.name) -> None:
            report(f"{name}, {stage}", (index + fraction) / shares)

        try:
            learned[candidate.name] = _learn(candidate, data, entry.data_set.test, part)
        except Exception as error:  # a library may fail in any way there is, and must not cost the others their rows
            failures[candidate.name] = sentence(error)
    report("latency", len(candidates) / shares)
    frames = _latency_frames(entry.data_set)
    latencies = interleaved_latencies(
        {name: of_candidate.fitted.model for name, of_candidate in learned.items()},
        frames,
        failures=failures,
        progress=lambda fraction: report("latency", (len(candidates) + 0.5 * fraction) / shares),
    )
    rows = tuple(
        Failed(candidate.name, candidate.description, failures[candidate.name])
        if candidate.name in failures
        else _measured(candidate, learned[candidate.name], latencies[candidate.name])
        for candidate in candidates
    )
    return Section(entry.title, entry.data_set, data.fingerprint, rows)


def _learn(candidate: Candidate, data: TrainingData, pictures: Sequence[TestPicture], report: Progress) -> _Learned:
    start = time.perf_counter()
    fitted = candidate.fit(data, lambda stage, fraction: report(stage, 0.7 * fraction))
    seconds = time.perf_counter() - start
    evaluation = exhibits = None
    if pictures:
        evaluation = evaluate(
            fitted.model,
            pictures,
            progress=lambda done: report("inspecting", 0.7 + 0.3 * done / len(pictures)),
        )
        exhibits = worst(fitted.model, pictures, evaluation)
    return _Learned(fitted, seconds, fitted.size_bytes(), evaluation, exhibits)


def _measured(candidate: Candidate, learned: _Learned, latency_ms: Sequence[float]) -> Measured:
    median, p95 = float(np.median(latency_ms)), float(np.percentile(latency_ms, 95))
    model, evaluation = learned.fitted.model, learned.evaluation
    return Measured(
        name=candidate.name,
        description=candidate.description,
        runtime=model.runtime,
        input_size=model.input_size,
        hash=model.hash,
        fit_seconds=learned.seconds,
        size_bytes=learned.size_bytes,
        latency_median_ms=median,
        latency_p95_ms=p95,
        evaluation=evaluation and replace(evaluation, latency_median_ms=median, latency_p95_ms=p95),
        exhibits=learned.exhibits,
    )


def _latency_frames(data_set: DataSet) -> list[BGRImage]:
    """Evenly spread over the labelled pictures, or over those learned from where there are no others; fewer where they
    are so large that memory would suffer."""
    paths = [picture.path for picture in data_set.test] or list(data_set.training)
    count = min(LATENCY_PICTURES, len(paths))
    frames = [datasets.read_picture(paths[0])]
    count = max(1, min(count, LATENCY_BYTES // frames[0].nbytes))
    return frames + [datasets.read_picture(paths[index * len(paths) // count]) for index in range(1, count)]
