from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import detector
from detector import ImageError, ModelError
from detector.backbones.efficientnet_lite import CHANNELS, Layer, load_backbone
from detector.heads import MemoryBanks, patchcore
from detector.heads.head import NearestNeighbour
from detector.heads.projection import learn_projection
from detector.runtimes.runtime import runtime
from detector.teaching import HELD_OUT_ENOUGH, HOLDOUT, coarse_size, folds, kept, learner, teach
from detector.teaching.kept import MAX_FRAMES, MIN_IMAGES
from tests.detector.parts import draw_part, draw_parts
from tests.running import DATA

SMALL: dict[str, Any] = {"image_size": 64, "coreset_size": 50}


def test_the_same_pictures_and_seed_give_the_same_model() -> None:
    first, again = (detector.fit(draw_parts(8), **SMALL) for _ in range(2))
    assert first.hash == again.hash
    assert first.threshold == again.threshold
    assert first.detect(draw_part(50)).score == again.detect(draw_part(50)).score


def test_the_number_of_workers_does_not_change_the_model() -> None:
    assert detector.fit(draw_parts(8), **SMALL, workers=3).hash == detector.fit(draw_parts(8), **SMALL).hash


def test_another_seed_or_another_picture_gives_another_model() -> None:
    models = (
        detector.fit(draw_parts(8), **SMALL),
        detector.fit(draw_parts(8), **SMALL, seed=1),
        detector.fit([*draw_parts(7), draw_part(99)], **SMALL),
    )
    assert len({model.hash for model in models}) == 3


def test_the_manifest_says_how_the_model_was_made(model: detector.TaughtModel) -> None:
    manifest = model.manifest
    assert (manifest.category, manifest.dataset_fingerprint) == ("disc", "drawn")
    assert (manifest.image_size, manifest.coreset_size, manifest.n_images, manifest.seed) == (128, 200, 12, 0)
    assert len(manifest.held_out_scores) == 9, "of the 12 discs some are near-copies"
    assert model.threshold == detector.calibrate(manifest.held_out_scores).threshold


def test_a_planted_defect_scores_above_the_threshold_and_the_map_peaks_at_it(model: detector.TaughtModel) -> None:
    for number in range(100, 106):
        good, bad = model.detect(draw_part(number)), model.detect(draw_part(number, defect=True))
        assert good.score < model.threshold < bad.score
        row, column = np.unravel_index(bad.anomaly_map.argmax(), bad.anomaly_map.shape)
        assert abs(row - 6) <= 1 and abs(column - 10) <= 1, "the square is at 3/8 of 16 rows and 5/8 of 16 columns"


def test_the_score_is_the_maximum_of_the_map(model: detector.TaughtModel) -> None:
    detection = model.detect(draw_part(200, defect=True))
    assert detection.score == detection.anomaly_map.max()
    assert detection.anomaly_map.shape == (16, 16) and detection.anomaly_map.dtype == np.float32


@pytest.mark.parametrize(("width", "height"), [(128, 128), (640, 480), (480, 640), (1920, 1080), (100, 90), (257, 128)])
def test_frames_of_any_size(width: int, height: int, model: detector.TaughtModel) -> None:
    bad = model.detect(draw_part(300, defect=True, width=width, height=height))
    assert bad.anomaly_map.shape == (16, 16)
    assert bad.score > model.threshold
    row, column = np.unravel_index(bad.anomaly_map.argmax(), bad.anomaly_map.shape)
    assert abs(row - 6) <= 1 and abs(column - 10) <= 1


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
    ],
    ids=lambda frame: f"{frame.shape} {frame.dtype}",
)
def test_what_is_not_a_frame_is_refused(frame: NDArray[Any], model: detector.TaughtModel) -> None:
    with pytest.raises(ImageError, match="a frame must be H×W×3 uint8 BGR, not "):
        model.detect(frame)


def test_eight_threads_get_what_one_gets(model: detector.TaughtModel) -> None:
    frames = [draw_part(number, defect=number % 2 == 1, width=150) for number in range(8)]
    alone = [model.detect(frame).score for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda frame: model.detect(frame).score, frames * 4)) == alone * 4


def test_saved_and_loaded_it_scores_the_same(model: detector.TaughtModel, tmp_path: Path) -> None:
    model.save(tmp_path / "disc")
    loaded = detector.load(str(tmp_path / "disc"))
    assert (loaded.hash, loaded.threshold, loaded.manifest) == (model.hash, model.threshold, model.manifest)
    frame = draw_part(5, defect=True)
    assert np.array_equal(loaded.detect(frame).anomaly_map, model.detect(frame).anomaly_map)


@pytest.mark.parametrize("count", [0, 1, MIN_IMAGES - 1])
def test_too_few_images_are_refused(count: int) -> None:
    with pytest.raises(
        ModelError, match=f"{count} normal images? (is|are) too few .* at least 5, 30 or more are better"
    ):
        detector.fit(draw_parts(count), **SMALL)


def test_five_images_are_enough() -> None:
    model = detector.fit(draw_parts(MIN_IMAGES), **SMALL)
    assert len(model.manifest.held_out_scores) == MIN_IMAGES
    assert model.threshold > 0


def test_the_same_picture_again_and_again_is_refused() -> None:
    """A frozen camera: every distance would be 0 but for rounding, and any other frame an ANOMALY."""
    with pytest.raises(ModelError, match="all the same picture: take different ones"):
        detector.fit([draw_part(0) for _ in range(6)], **SMALL)


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 63},
        {"image_size": 48},
        {"image_size": 4096},
        {"coreset_size": 0},
        {"holdout": 0},
        {"holdout": 1},
        {"holdout": float("nan")},
        {"seed": -1},
        {"seed": 1 << 64},
        {"category": "x" * 1001},
        {"runtime_name": "cuda"},
    ],
    ids=str,
)
def test_sizes_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"cannot be used: take|there is no runtime"):
        detector.fit(draw_parts(5), **(SMALL | options))


def test_a_bank_is_no_larger_than_the_patches_there_are() -> None:
    model = detector.fit(draw_parts(5), image_size=64, coreset_size=10_000)
    assert model.manifest.coreset_size == 5 * 8 * 8


def test_many_images_each_give_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_PATCHES", 110)
    model = detector.fit(draw_parts(10), image_size=64, coreset_size=10_000)
    assert 80 <= model.manifest.coreset_size <= 110


def test_wide_features_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_NUMBERS", 110 * CHANNELS)
    model = detector.fit(draw_parts(10), image_size=64, coreset_size=10_000)
    assert 80 <= model.manifest.coreset_size <= 110


def test_the_packaged_backbone_is_limited_by_patches_alone() -> None:
    assert kept.MAX_NUMBERS // CHANNELS > kept.MAX_PATCHES


def folds_of_different(
    kept: Sequence[int], count: int, holdout: float, random: np.random.Generator
) -> list[folds.Fold]:
    """The folds of images of which none is a near-copy of another."""
    return folds.folds_of([{number} for number in kept], kept, count, holdout, random)


@given(count=st.integers(MIN_IMAGES, 400), holdout=st.floats(0.001, 0.999), seed=st.integers(0, 100))
@example(count=5, holdout=HOLDOUT, seed=0)
@example(count=60, holdout=HOLDOUT, seed=0)
def test_folds_are_disjoint_and_leave_enough_to_learn_from(count: int, holdout: float, seed: int) -> None:
    kept = list(range(0, count, -(-count // MAX_FRAMES)))
    folds = [fold.scored for fold in folds_of_different(kept, count, holdout, np.random.default_rng(seed))]
    held_out = [index for fold in folds for index in fold]
    assert len(held_out) == len(set(held_out)) and set(held_out) <= set(kept)
    assert all(1 <= len(fold) <= count - 2 for fold in folds)
    assert len(held_out) >= min(len(kept), HELD_OUT_ENOUGH) or len(folds) == 1
    assert len(held_out) >= 2, "a standard deviation needs two"


def test_no_held_out_image_was_in_the_bank_that_scores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bank of every patch, an image that was in it has distance 0 everywhere."""
    banks: list[NearestNeighbour] = []
    learn = patchcore.learn

    def spy(*arguments: Any) -> NearestNeighbour:
        banks.append(learn(*arguments))
        return banks[-1]

    divided: list[set[int]] = []
    divide = folds.folds_of

    def seen(*arguments: Any) -> list[folds.Fold]:
        made = divide(*arguments)
        divided.extend(fold.without for fold in made)
        return made

    monkeypatch.setattr(patchcore, "learn", spy)
    monkeypatch.setattr(teach, "folds_of", seen)
    monkeypatch.setattr(learner, "AT_ONCE", 0)  # one after the other, that of all images first
    images = draw_parts(9)
    model = detector.fit(images, image_size=64, coreset_size=10_000, seed=3)
    assert set().union(*divided) == set(range(9))
    assert len(banks) == len(divided) + 1
    for fold, bank in zip(divided, banks[1:], strict=True):
        assert len(bank.memory_bank) == (9 - len(fold)) * 64
        scorer = detector.TaughtModel(model.manifest, MemoryBanks(bank), load_backbone(), runtime("openvino"))
        inside = [scorer.detect(image).score for number, image in enumerate(images) if number not in fold]
        outside = [scorer.detect(images[number]).score for number in fold]
        assert max(inside) < 0.2 < min(outside)
    assert min(model.manifest.held_out_scores) > 0.2
    assert max(model.detect(image).score for image in images) < 0.2


def test_features_are_standardised_per_channel_and_layers_weighted() -> None:
    random = np.random.default_rng(0)
    patches = (random.normal(size=(3000, 152)) * random.uniform(0.1, 9, 152) + 5).astype(np.float32)
    patches[:, 7] = 3
    layers = (Layer("fine", 40, 8, 1, 1.0), Layer("coarse", 112, 16, 3, 0.5))
    projection = learn_projection(patches, layers, None)
    assert projection.mean == pytest.approx(patches.mean(0), rel=1e-4)
    spread = np.delete(projection.apply(patches).std(0), 7)
    assert spread[:39] == pytest.approx(1, rel=1e-3) and spread[39:] == pytest.approx(0.5, rel=1e-3)
    assert np.isfinite(projection.matrix).all(), "a channel that never varies does not divide by zero"


def test_the_first_dimensions_of_the_bank_hold_most(model: detector.TaughtModel) -> None:
    assert isinstance(model.head, MemoryBanks)
    lengths = (model.head.fine.memory_bank**2).sum(0)
    assert np.all(np.diff(lengths) <= 1e-3 * lengths[0])


@pytest.fixture(scope="module")
def coarse() -> detector.TaughtModel:
    """With a coarse scale: 256² averaged down twofold."""
    return detector.fit(
        [draw_part(n, width=256, height=256) for n in range(8)], image_size=256, coreset_size=300, inspect="full"
    )


def test_a_coarse_scale_is_learned_beside_the_fine_one(coarse: detector.TaughtModel) -> None:
    assert isinstance(coarse.head, MemoryBanks) and coarse.head.coarse is not None
    assert (coarse.manifest.shrink, len(coarse.head.fine.memory_bank)) == (2, 300)
    assert len(coarse.head.coarse.memory_bank) == coarse_size(300) == 100
    patches = coarse.patches(draw_part(1))
    assert (len(patches.fine), len(patches.coarse)) == (32 * 32, 16 * 16)


def test_sizes_that_cannot_be_averaged_down_have_no_coarse_scale() -> None:
    for size in (128, 272):
        assert detector.fit(draw_parts(5), image_size=size, coreset_size=20).manifest.shrink == 1


def test_progress_rises_to_1_through_every_stage() -> None:
    seen: list[tuple[str, float]] = []
    detector.fit(iter(draw_parts(8)), **SMALL, total=8, progress=lambda *step: seen.append(step))
    fractions = [fraction for _, fraction in seen]
    assert list(dict.fromkeys(stage for stage, _ in seen)) == ["features", "memory bank"]
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_a_detector_taught_with_torch_agrees(model: detector.TaughtModel) -> None:
    pytest.importorskip("torch", reason="torch is an extra and not installed")
    other = detector.fit(draw_parts(12), image_size=128, coreset_size=200, runtime_name="torch")
    assert other.threshold == pytest.approx(model.threshold, rel=0.05)


@pytest.mark.skipif(not (DATA / "bottle").is_dir(), reason=f"no real pictures at {DATA / 'bottle'}")
def test_real_bottles() -> None:
    """15 good bottles to learn from; of 5 unseen good ones and 9 broken ones, every broken one scores higher."""

    def some(kind: str, count: int) -> list[NDArray[np.uint8]]:
        return [detector.images.read(path) for path in islice(sorted((DATA / "bottle" / kind).iterdir()), count)]

    model = detector.fit(some("train/good", 15), image_size=256, coreset_size=500)
    good = [model.detect(frame).score for frame in some("test/good", 5)]
    kinds = ("broken_large", "broken_small", "contamination")
    broken = [model.detect(frame).score for kind in kinds for frame in some(f"test/{kind}", 3)]
    assert max(good) < min(broken)
    assert np.mean([score > model.threshold for score in broken]) > 0.8
