"""Handing a model out: as one OpenVINO graph, and if asked in another precision, for which it is taught again.

A threshold found with one precision says nothing about scores of another. So nothing is carried over: the same pictures
are learned again, and what comes out is compared with what there was before anybody gets it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

import detector
from detector import PRESETS, TaughtModel, self_contained
from detector.files import remove_leftovers, sync_folder, temporary_beside
from detector.heads import MemoryBanks
from detector.light import AnyHead
from detector.model_folder import GRAPH_FOLDER
from detector.runtimes import Precision
from detector.teaching import FitOptions, Method, coarse_size
from training import benchmark
from training.benchmark import Latency
from training.data import DataSet, datasets
from training.measure import Evaluation, evaluate
from training.train import OutputError, require_model_or_nothing

TOLERANCE = 0.02
"""Share of the verdicts that may differ."""
GRAPH_TOLERANCE = 1e-3
"""Difference of a graph's score from the model's, relative to that: they compute the same, but for rounding."""
MAP_TOLERANCE = 1e-2
"""Of any place of its map, relative to the score. Where a number lies between two steps of the search, rounding
decides, and one place may come out otherwise in a graph that computes just as well."""
_NORMALS = 30
"""Pictures of those learned on which the graph is compared with the model."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Verdict:
    """What two models say of one picture: each one's score in shares of its own threshold, an anomaly above 1."""

    picture: str
    original: float
    exported: float

    @property
    def differs(self) -> bool:
        return (self.original > 1) != (self.exported > 1)

    @property
    def shift(self) -> float:
        """How far the share moved, relative."""
        return abs(self.exported / self.original - 1)


@dataclass(frozen=True)
class Measured:
    """A model, what it takes on disk, what it says of the labelled pictures (``None`` without any), and how fast."""

    model: TaughtModel
    folder_bytes: int
    evaluation: Evaluation | None
    latency: Latency


@dataclass(frozen=True)
class Export:
    """What was made, and how it compares.

    Attributes:
        original, exported: the same where no other precision was asked for.
        verdicts: of held-out normal pictures and labelled ones; empty where no other precision was asked for.
        graph_bytes: what the graph takes on disk.
        score_difference, map_difference: the largest between the graph and the exported model, relative to the score.
        compared: on how many pictures that was seen.
        tolerance: share of the verdicts that may differ.
    """

    original: Measured
    exported: Measured
    verdicts: tuple[Verdict, ...]
    graph_bytes: int
    score_difference: float
    map_difference: float
    compared: int
    tolerance: float

    @property
    def differing(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.differs)

    @property
    def refusal(self) -> str | None:
        """Why it must not be handed out, in one sentence."""
        differences = {
            "score": (self.score_difference, GRAPH_TOLERANCE),
            "anomaly map": (self.map_difference, MAP_TOLERANCE),
        }
        for name, (difference, tolerance) in differences.items():
            if not difference <= tolerance:  # nan must not pass
                return (
                    f"the graph differs from the model by {difference:.2g} in its {name}, more than {tolerance:g}: "
                    "this OpenVINO computes something else than it should, so try another version of it"
                )
        if len(self.differing) > self.tolerance * len(self.verdicts):
            return (
                f"{len(self.differing)} of {len(self.verdicts)} verdicts differ, more than {self.tolerance:.1%}: use "
                "another precision, or a larger --tolerance if these pictures may be judged either way"
            )
        return None


class ExportRefusedError(Exception):
    """The exported model does not say what the original does. Nothing was written. ``export``: what was compared."""

    def __init__(self, export: Export) -> None:
        super().__init__(export.refusal)
        self.export = export


def export(
    folder: Path,
    data_set: DataSet,
    output: Path,
    *,
    precision: Precision | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
) -> Export:
    """Write a model folder that holds the model as one OpenVINO graph too.

    Args:
        folder: of the model.
        data_set: what it was taught on; its labelled pictures, where there are any, are judged by both models.
        output: must not exist, or be empty, or be another model folder, which is replaced at the very end.
        precision: ``bfloat16`` or ``int8``: the model is taught again in it, in every other respect as before.
        tolerance: share of the verdicts that may differ, 0..1.
        progress: called with a stage and 0..1 of the whole.

    Raises:
        ExportRefusedError: graph and model, or the two precisions, do not say the same. Nothing is left behind.
        OutputError: ``output`` is something else than a model folder, or the model itself.
        datasets.DataSetError: the pictures are not those the model was taught on.
        detector.DetectorError: the model cannot be read, or cannot be taught in this precision.
    """
    require_model_or_nothing(output)
    if output.resolve() == folder.resolve():
        raise OutputError(f"{output} is the model itself. Give another --output: the original stays as it is.")
    report = progress or (lambda stage, fraction: None)
    original = detector.load_taught(folder)
    self_contained.single_head(original)
    if datasets.fingerprint(data_set.training) != original.manifest.dataset_fingerprint:
        raise datasets.DataSetError(
            f"{folder} was taught on other pictures than those of {data_set.folder}. Give the data set it was taught "
            "on, or teach it again with defectvision train."
        )
    exported = original
    if precision is not None and precision != original.manifest.precision:
        exported = _taught_again(original, data_set, precision, lambda stage, done: report(stage, 0.7 * done))
    place = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    remove_leftovers(place, of=output.name)
    fresh = temporary_beside(place / output.name)
    try:
        exported.save(fresh)
        self_contained.write(exported, fresh / GRAPH_FOLDER)
        result = _compare((original, folder), (exported, fresh), data_set, tolerance, report)
        if result.refusal:
            raise ExportRefusedError(result)
        _put_in_place(exported, fresh, output)
    except OSError as error:
        raise OutputError(
            f"The model cannot be written to {output}: {error.strerror}. Make room, or give another --output."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return result


def _taught_again(original: TaughtModel, data_set: DataSet, precision: Precision, progress: Progress) -> TaughtModel:
    manifest = original.manifest
    if manifest.precision == "int8":
        raise detector.ModelError(
            f"an int8 model cannot become {precision}, its backbone is quantised: start from the float32 model"
        )
    options = FitOptions(
        method=cast(Method, manifest.method),
        preset=next(name for name, preset in PRESETS.items() if preset.shrink == manifest.shrink),
        image_size=manifest.image_size,
        coreset_size=_coreset_size(original.head),
        inspect="full" if manifest.region.is_full else "auto",
        register="off",
        backbone=original.backbone,
        precision=precision,
        seed=manifest.seed,
    )
    taught = detector.fit(
        datasets.Pictures(data_set.training),
        category=manifest.category,
        fingerprint=manifest.dataset_fingerprint,
        progress=progress,
        **options,
    )
    # Held-out pictures are compared one by one, so they must be the same ones, and show the same.
    same = all(
        getattr(taught.manifest, name) == getattr(manifest, name) for name in ("region", "shrink", "coreset_size")
    )
    if not same or len(taught.manifest.held_out_scores) != len(manifest.held_out_scores):
        raise detector.ModelError(
            "this software would not teach the model as it was taught: teach it again with defectvision train, then "
            "export that"
        )
    return taught


def _coreset_size(head: AnyHead) -> int | None:
    """What the memory banks of a head come from; None where it has none."""
    if not isinstance(head, MemoryBanks):
        return None
    size, coarse = len(head.fine.memory_bank), 0 if head.coarse is None else len(head.coarse.memory_bank)
    while coarse_size(size) < coarse:  # the fine one has all the patches there were, fewer than it might have had
        size += 1
    return size


def _compare(
    one: tuple[TaughtModel, Path],
    other: tuple[TaughtModel, Path],
    data_set: DataSet,
    tolerance: float,
    report: Progress,
) -> Export:
    (original, folder), (exported, fresh) = one, other
    again = exported is not original
    report("comparing", 0.7)
    differences = _graph_differences(exported, fresh / GRAPH_FOLDER, data_set)
    report("comparing", 0.8)
    before = evaluate(original, data_set.test) if data_set.test else None
    report("comparing", 0.9)
    after = evaluate(exported, data_set.test) if again and data_set.test else before
    models = {"original": original} | ({"exported": exported} if again else {})
    latencies = benchmark.latencies(models, datasets.read_picture(data_set.training[0]))
    measured = Measured(original, _bytes(folder), before, latencies["original"])
    return Export(
        original=measured,
        exported=Measured(exported, _bytes(fresh), after, latencies["exported"]) if again else measured,
        verdicts=_verdicts(original, exported, before, after) if again else (),
        graph_bytes=_bytes(fresh / GRAPH_FOLDER),
        score_difference=float(differences[:, 0].max()),
        map_difference=float(differences[:, 1].max()),
        compared=len(differences),
        tolerance=tolerance,
    )


def _graph_differences(model: TaughtModel, graph: Path, data_set: DataSet) -> NDArray[np.float64]:
    """Pictures×2: of the score, and of the map where it differs most."""
    written, region = self_contained.Written(graph), model.manifest.region
    learned = data_set.training
    indices = np.unique(np.linspace(0, len(learned) - 1, min(_NORMALS, len(learned))).astype(int))
    paths = [learned[int(index)] for index in indices] + [picture.path for picture in data_set.test]
    differences = []
    for frame in datasets.read_all(paths):
        expected = model.detect(frame)
        found = written.detect(region.to_input(frame, model.input_size))
        apart = float(np.abs(region.to_frame(found.anomaly_map) - expected.anomaly_map).max())
        # A score of 0 is that of a picture known by heart.
        differences.append(np.array([abs(found.score - expected.score), apart]) / max(expected.score, 1e-6))
    return np.array(differences, np.float64)


def _verdicts(
    original: TaughtModel, exported: TaughtModel, before: Evaluation | None, after: Evaluation | None
) -> tuple[Verdict, ...]:
    held_out = zip(original.manifest.held_out_scores, exported.manifest.held_out_scores, strict=True)
    pairs = [(f"held-out picture {number}", *scores) for number, scores in enumerate(held_out, 1)]
    if before is not None and after is not None:
        judged = zip(before.pictures, after.pictures, strict=True)
        pairs += [(one.path, one.score, other.score) for one, other in judged]
    return tuple(Verdict(name, one / original.threshold, other / exported.threshold) for name, one, other in pairs)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _put_in_place(model: TaughtModel, fresh: Path, output: Path) -> None:
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        fresh.rename(output)
        sync_folder(output.parent)
        return
    # A folder is written into and a model there replaced as train does it, in one step, and its graph goes with it.
    model.save(output)
    (fresh / GRAPH_FOLDER).rename(output / GRAPH_FOLDER)
