from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import detector
from detector import ModelError
from detector.backbone import CHANNELS, load_backbone
from detector.heads import Gaussians, NearestNeighbour
from detector.runtimes import RUNTIMES, Runtime, runtime
from tests.detector.parts import draw_part

SIZE = 128
FEATURE_TOLERANCE = 1e-3
"""Of the runtimes' patch features, which reach 100: 1.3e-4 was seen."""
DISTANCE_TOLERANCE = 0.02
"""Of the runtimes' patch distances, which are 1 to 20. Both take |a|² + |b|² − 2ab in float32, so a distance near 0,
which no threshold is near, carries the square root of the rounding error."""


@pytest.fixture(params=RUNTIMES)
def engine(request: pytest.FixtureRequest) -> Runtime:
    if request.param == "torch":
        pytest.importorskip("torch", reason="torch is an extra and not installed")
    return runtime(request.param, workers=2)


def learned(seed: int = 0, dimensions: int = CHANNELS) -> NearestNeighbour:
    random = np.random.default_rng(seed)
    bank = random.normal(0, 1, (300, dimensions)).astype(np.float32)
    projection = np.eye(CHANNELS, dimensions) / random.uniform(0.5, 2, (CHANNELS, 1))
    return NearestNeighbour(random.normal(0, 1, CHANNELS).astype(np.float32), projection.astype(np.float32), bank)


def test_shapes(engine: Runtime) -> None:
    features = engine.features(load_backbone(), SIZE)(draw_part(0))
    assert features.shape == (16 * 16, CHANNELS) and features.dtype == np.float32
    distances = engine.distances(load_backbone(), SIZE, learned())(draw_part(0))
    assert distances.shape == (16, 16) and distances.dtype == np.float32


@pytest.mark.parametrize("dimensions", [40, CHANNELS])
def test_the_distances_that_decide_are_the_exact_ones(engine: Runtime, dimensions: int) -> None:
    head = learned(dimensions=dimensions)
    frame = draw_part(0, defect=True)
    patches = ((engine.features(load_backbone(), SIZE)(frame) - head.mean) @ head.projection).astype(np.float64)
    expected = np.sqrt(((patches[:, None] - head.memory_bank[None].astype(np.float64)) ** 2).sum(2)).min(1)
    distances = engine.distances(load_backbone(), SIZE, head)(frame).ravel()
    exact = np.abs(distances - expected) < 2e-3
    assert exact.all() if not head.screened else exact[np.argsort(distances)[-16:]].all()
    assert (distances < expected + 2e-3).all(), "the others are lower bounds"


def test_mahalanobis_distances(engine: Runtime) -> None:
    random = np.random.default_rng(1)
    head = Gaussians(
        random.normal(0, 1, CHANNELS).astype(np.float32),
        random.normal(0, 0.1, (CHANNELS, 8)).astype(np.float32),
        random.normal(0, 1, (256, 8)).astype(np.float32),
        random.normal(0, 1, (256, 8, 8)).astype(np.float32),
    )
    frame = draw_part(0)
    patches = (engine.features(load_backbone(), SIZE)(frame) - head.mean) @ head.projection - head.centres
    precision = head.whitening @ head.whitening.transpose(0, 2, 1)
    expected = np.sqrt(np.einsum("nd,nde,ne->n", patches, precision, patches)).reshape(16, 16)
    assert engine.distances(load_backbone(), SIZE, head)(frame) == pytest.approx(expected, rel=1e-3)


def test_a_frame_in_the_memory_bank_has_distance_0(engine: Runtime) -> None:
    features = engine.features(load_backbone(), SIZE)(draw_part(0))
    mean, std = features.mean(0), features.std(0)
    head = NearestNeighbour(mean, np.diag(1 / std), (features - mean) / std)
    distances = engine.distances(load_backbone(), SIZE, head)(draw_part(0))
    assert distances.max() < 0.05 and (distances >= 0).all()


def test_openvino_and_torch_agree() -> None:
    pytest.importorskip("torch", reason="torch is an extra and not installed")
    engines = [runtime(name) for name in RUNTIMES]
    plan = load_backbone()
    for size in (64, 144, 320):
        frame = draw_part(1, defect=True, width=size, height=size)
        one, other = (engine.features(plan, size)(frame) for engine in engines)
        assert np.abs(one - other).max() < FEATURE_TOLERANCE
        one, other = (engine.distances(plan, size, learned())(frame) for engine in engines)
        assert np.abs(one - other).max() < DISTANCE_TOLERANCE


def test_a_model_scores_the_same_on_both(model: detector.TaughtModel) -> None:
    pytest.importorskip("torch", reason="torch is an extra and not installed")
    other = model.on(runtime("torch"))
    assert (model.runtime, other.runtime) == RUNTIMES
    assert model.hash == other.hash
    for defect in (False, True):
        frame = draw_part(77, defect=defect, width=200, height=150)
        assert model.detect(frame).score == pytest.approx(other.detect(frame).score, rel=1e-3), "a release gate"


def test_eight_threads_get_what_one_gets(engine: Runtime) -> None:
    distances = engine.distances(load_backbone(), SIZE, learned())
    frames = [draw_part(number, defect=number % 2 == 1) for number in range(4)]
    alone = [distances(frame) for frame in frames]

    def check(number: int) -> bool:
        return np.array_equal(distances(frames[number % 4]), alone[number % 4])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(48)))


def test_a_result_is_not_overwritten_by_the_next(engine: Runtime) -> None:
    distances = engine.distances(load_backbone(), SIZE, learned())
    first = distances(draw_part(0))
    kept = first.copy()
    distances(draw_part(1, defect=True))
    assert np.array_equal(first, kept)


@pytest.mark.filterwarnings("error")
def test_frames_that_are_views_or_read_only(engine: Runtime) -> None:
    distances = engine.distances(load_backbone(), SIZE, learned())
    large = draw_part(0, width=300, height=200)
    for view in (large[:SIZE, :SIZE], large[SIZE - 1 :: -1, 50 : 50 + SIZE], large[:SIZE, :SIZE, ::-1]):
        assert np.array_equal(distances(view), distances(view.copy()))
    constant = draw_part(0)
    constant.flags.writeable = False
    assert np.array_equal(distances(constant), distances(constant.copy()))


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(ModelError, match="there is no runtime 'cuda': use one of openvino, torch"):
        runtime("cuda")


def test_without_torch_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "detector.torch_runtime", raising=False)
    with pytest.raises(ModelError, match=r"pip install 'defectvision\[torch\]' .*, or use RUNTIME=openvino"):
        runtime("torch")


def test_openvino_reports_nothing_to_anyone(tmp_path: Path) -> None:
    """Its telemetry client would leave its traces in the home folder before it sends anything."""
    code = (
        "import sys, detector.openvino_runtime, openvino.tools.ovc.telemetry_utils as used;"
        "assert used.tm.__name__.endswith('telemetry_stub'), used.tm;"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], env=environment, check=True)
    assert not list(tmp_path.iterdir())
