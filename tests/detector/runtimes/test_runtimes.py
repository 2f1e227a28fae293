from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import detector
from detector import ModelError
from detector.backbones.efficientnet_lite import CHANNELS, load_backbone
from detector.extras import to_install
from detector.heads import DIRECTIONS, LEVELS, DrawnDefects, Gaussians, MemoryBanks, NearestNeighbour, fitting_step
from detector.images import BGRImage
from detector.input_size import InputSize, square
from detector.runtimes import openvino_runtime
from detector.runtimes.runtime import RUNTIMES, Runtime, runtime
from tests.detector.parts import draw_part

SIZE = 128
FEATURE_TOLERANCE = 1e-3
"""Of the runtimes' patch features, which reach 100: 1.3e-4 was seen."""
FLIPPED = 0.03
"""Share by which a distance may change when a number lies between two steps and the runtimes' rounding decides."""


@pytest.fixture(params=RUNTIMES)
def engine(request: pytest.FixtureRequest) -> Runtime:
    if request.param == "torch":
        pytest.importorskip("torch", reason="torch is an extra and not installed")
    return runtime(request.param, workers=2)


def scale(seed: int = 0, dimensions: int = CHANNELS) -> NearestNeighbour:
    random = np.random.default_rng(seed)
    bank = random.normal(0, 8, (300, dimensions)).astype(np.float32)
    projection = (np.eye(CHANNELS, dimensions) / random.uniform(0.5, 2, (CHANNELS, 1))).astype(np.float32)
    mean = random.normal(0, 1, CHANNELS).astype(np.float32)
    return NearestNeighbour(mean, projection, bank, fitting_step(bank))


def learned(seed: int = 0) -> MemoryBanks:
    return MemoryBanks(scale(seed))


def whole(seed: int = 0, shrink: int = 2) -> MemoryBanks:
    """With all there may be."""
    weights = np.random.default_rng(seed).normal(0, 0.1, CHANNELS).astype(np.float32)
    return MemoryBanks(scale(seed), scale(seed + 1), shrink, DrawnDefects(weights, np.array([0.25], np.float32)))


def projected(engine: Runtime, head: NearestNeighbour, frame: BGRImage) -> NDArray[np.float64]:
    features = engine.features(load_backbone(), square(SIZE))(frame)
    return ((features - head.mean) @ head.projection).astype(np.float64)


def nearest(patches: NDArray[np.float64], bank: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(((patches[:, None] - bank[None]) ** 2).sum(2)).min(1))


def test_shapes(engine: Runtime) -> None:
    features = engine.features(load_backbone(), square(SIZE))(draw_part(0))
    assert features.shape == (16 * 16, CHANNELS) and features.dtype == np.float32
    distances, coarse, drawn = engine.distances(load_backbone(), square(SIZE), learned())(draw_part(0))
    assert coarse is None and drawn is None
    assert distances.shape == (16, 16) and distances.dtype == np.float32


@pytest.mark.parametrize("dimensions", [40, CHANNELS])
def test_distances_are_those_of_rounded_signatures(engine: Runtime, dimensions: int) -> None:
    head = scale(dimensions=dimensions)
    frame = draw_part(0, defect=True)
    patches = projected(engine, head, frame)
    if dimensions > DIRECTIONS + 1:
        patches = np.c_[patches[:, :DIRECTIONS], np.linalg.norm(patches[:, DIRECTIONS:], axis=1)]
    rounded = np.clip(np.rint(patches / head.step), -LEVELS, LEVELS)
    expected = nearest(rounded, head.signatures().astype(np.float64)) * head.step
    distances = engine.distances(load_backbone(), square(SIZE), MemoryBanks(head))(frame).distances.ravel()
    assert distances == pytest.approx(expected, rel=FLIPPED)
    assert np.mean(np.abs(distances / expected - 1) < 1e-6) > 0.9, "rounding seldom decides"


def test_signatures_lose_little(engine: Runtime) -> None:
    """A bank as it is taught: most of its length lies in its first directions."""
    frames = [draw_part(number, width=SIZE, height=SIZE) for number in range(6)]
    model = detector.fit(frames, image_size=SIZE, coreset_size=500, inspect="full")
    assert isinstance(model.head, MemoryBanks)
    head = model.head.fine
    for frame in (draw_part(9), draw_part(9, defect=True)):
        exact = nearest(projected(engine, head, frame), head.memory_bank.astype(np.float64))
        distances = engine.distances(load_backbone(), square(SIZE), MemoryBanks(head))(frame).distances.ravel()
        far = exact > np.median(exact)
        assert np.mean(np.abs(distances / exact - 1)[far]) < 0.05


def test_more_entries_than_are_compared_at_once(engine: Runtime) -> None:
    """The nearest may be in any part of the bank, and room that is not filled is never near."""
    frame, head = draw_part(0), scale()
    far = np.full((1300, CHANNELS), 30, np.float32)
    distances = engine.distances(load_backbone(), square(SIZE), MemoryBanks(head))
    alone = distances(frame).distances
    for entries in (
        np.r_[far, head.memory_bank],
        np.r_[head.memory_bank, far],
        np.r_[far[:700], head.memory_bank, far],
    ):
        with_more = MemoryBanks(dataclasses.replace(head, memory_bank=entries))
        assert np.array_equal(engine.distances(load_backbone(), square(SIZE), with_more)(frame).distances, alone)


def test_without_8_bit_arithmetic_the_distances_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert openvino_runtime.exact_int8() in (True, False)
    engine, frame = runtime("openvino"), draw_part(0, defect=True)
    found = []
    for exact in (True, False) if openvino_runtime.exact_int8() else (False, False):
        monkeypatch.setattr(openvino_runtime, "exact_int8", lambda exact=exact: exact)
        found.append(engine.distances(load_backbone(), square(SIZE), learned())(frame).distances)
    assert np.array_equal(*found)


def test_mahalanobis_distances(engine: Runtime) -> None:
    random = np.random.default_rng(1)
    head = Gaussians(
        random.normal(0, 1, CHANNELS).astype(np.float32),
        random.normal(0, 0.1, (CHANNELS, 8)).astype(np.float32),
        random.normal(0, 1, (256, 8)).astype(np.float32),
        random.normal(0, 1, (256, 8, 8)).astype(np.float32),
    )
    frame = draw_part(0)
    patches = (engine.features(load_backbone(), square(SIZE))(frame) - head.mean) @ head.projection - head.centres
    precision = head.whitening @ head.whitening.transpose(0, 2, 1)
    expected = np.sqrt(np.einsum("nd,nde,ne->n", patches, precision, patches)).reshape(16, 16)
    assert engine.distances(load_backbone(), square(SIZE), head)(frame).distances == pytest.approx(expected, rel=1e-3)


def test_a_frame_in_the_memory_bank_has_distance_0(engine: Runtime) -> None:
    features = engine.features(load_backbone(), square(SIZE))(draw_part(0))
    mean, std = features.mean(0), features.std(0)
    bank = (features - mean) @ np.diag(1 / std)
    distances = engine.distances(
        load_backbone(), square(SIZE), MemoryBanks(NearestNeighbour(mean, np.diag(1 / std), bank, fitting_step(bank)))
    )
    found = distances(draw_part(0)).distances
    assert np.mean(found == 0) > 0.9 and found.max() < 0.3, "but for numbers that lie between two steps"


def test_openvino_and_torch_agree() -> None:
    pytest.importorskip("torch", reason="torch is an extra and not installed")
    engines = [runtime(name) for name in RUNTIMES]
    plan = load_backbone()
    for size, shrink in ((square(64), 2), (square(144), 3), (InputSize(224, 512), 2), (InputSize(640, 160), 2)):
        frame = draw_part(1, defect=True, width=size.width, height=size.height)
        for scale in (1, shrink):
            one, other = (engine.features(plan, size, scale)(frame) for engine in engines)
            assert np.abs(one - other).max() < FEATURE_TOLERANCE
        ours, theirs = (engine.distances(plan, size, whole(shrink=shrink))(frame) for engine in engines)
        for one, other in ((ours.distances, theirs.distances), (ours.coarse, theirs.coarse)):
            assert one is not None and one == pytest.approx(other, rel=FLIPPED)
            assert np.mean(np.abs(one / other - 1) < 1e-6) > 0.9
        assert ours.drawn == pytest.approx(theirs.drawn, abs=1e-3)


def test_the_coarse_scale_is_that_of_the_frame_averaged_down(engine: Runtime) -> None:
    frame = np.repeat(np.repeat(draw_part(0, width=SIZE // 2, height=SIZE // 2), 2, 0), 2, 1)
    small = draw_part(0, width=SIZE // 2, height=SIZE // 2)
    head = whole()
    assert head.coarse is not None
    expected = engine.distances(load_backbone(), square(SIZE // 2), MemoryBanks(head.coarse))(small).distances
    found = engine.distances(load_backbone(), square(SIZE), head)(frame).coarse
    assert found is not None and found.shape == (8, 8)
    assert found == pytest.approx(expected, rel=FLIPPED)


def test_what_drawn_defects_say_is_linear_in_the_features(engine: Runtime) -> None:
    head, frame = whole(), draw_part(3, defect=True)
    assert head.drawn is not None
    features = engine.features(load_backbone(), square(SIZE))(frame)
    expected = (features @ head.drawn.weights + head.drawn.offset).reshape(16, 16)
    assert engine.distances(load_backbone(), square(SIZE), head)(frame).drawn == pytest.approx(expected, abs=1e-3)


def test_a_model_scores_the_same_on_both(model: detector.TaughtModel) -> None:
    pytest.importorskip("torch", reason="torch is an extra and not installed")
    other = model.on(runtime("torch"))
    assert (model.runtime, other.runtime) == RUNTIMES
    assert model.hash == other.hash
    for defect in (False, True):
        frame = draw_part(77, defect=defect, width=200, height=150)
        assert model.detect(frame).score == pytest.approx(other.detect(frame).score, rel=1e-3), "a release gate"


def test_eight_threads_get_what_one_gets(engine: Runtime) -> None:
    distances = engine.distances(load_backbone(), square(SIZE), learned())
    frames = [draw_part(number, defect=number % 2 == 1) for number in range(4)]
    alone = [distances(frame).distances for frame in frames]

    def check(number: int) -> bool:
        return np.array_equal(distances(frames[number % 4]).distances, alone[number % 4])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(48)))


def test_a_result_is_not_overwritten_by_the_next(engine: Runtime) -> None:
    distances = engine.distances(load_backbone(), square(SIZE), learned())
    first = distances(draw_part(0)).distances
    kept = first.copy()
    distances(draw_part(1, defect=True))
    assert np.array_equal(first, kept)


@pytest.mark.filterwarnings("error")
def test_frames_that_are_views_or_read_only(engine: Runtime) -> None:
    distances = engine.distances(load_backbone(), square(SIZE), learned())
    large = draw_part(0, width=300, height=200)
    for view in (large[:SIZE, :SIZE], large[SIZE - 1 :: -1, 50 : 50 + SIZE], large[:SIZE, :SIZE, ::-1]):
        assert np.array_equal(distances(view).distances, distances(view.copy()).distances)
    constant = draw_part(0)
    constant.flags.writeable = False
    assert np.array_equal(distances(constant).distances, distances(constant.copy()).distances)


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(ModelError, match="there is no runtime 'cuda': use one of openvino, torch"):
        runtime("cuda")


def test_torch_rounds_no_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen on a GPU only; there it is the default."""
    torch = pytest.importorskip("torch", reason="torch is an extra and not installed")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    runtime("torch")
    assert not torch.backends.cudnn.allow_tf32


def test_without_torch_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "detector.runtimes.torch_runtime", raising=False)
    with pytest.raises(ModelError, match=re.escape(f"{to_install('torch')}, or use RUNTIME=openvino")):
        runtime("torch")


def test_openvino_reports_nothing_to_anyone(tmp_path: Path) -> None:
    """Its telemetry client would leave its traces in the home folder before it sends anything."""
    code = (
        "import sys, detector.quiet_openvino, openvino.tools.ovc.telemetry_utils as used;"
        "assert used.tm.__name__.endswith('telemetry_stub'), used.tm;"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], env=environment, check=True)
    assert not list(tmp_path.iterdir())
