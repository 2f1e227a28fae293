from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import detector
from detector import TaughtModel, self_contained
from detector.heads import MemoryBanks
from detector.self_contained import FACTS, GRAPH, README, Written, enlarging, smoothing
from tests.detector.parts import draw_part, draw_parts
from tests.detector.runtimes.test_precision import teach

Averages = tuple[NDArray[np.int64], NDArray[np.float32]]


@pytest.fixture(scope="module")
def small_part() -> TaughtModel:
    """Of parts on a plain background that takes most of the picture, so that a region was learned."""
    images = [cv2.copyMakeBorder(part, 200, 120, 300, 100, cv2.BORDER_REPLICATE) for part in draw_parts(8)]
    model = detector.fit(images, image_size=64, coreset_size=100, category="disc")
    assert not model.manifest.region.is_full
    return model


def along_both(distances: NDArray[np.float32], rows: Averages, columns: Averages) -> NDArray[np.float32]:
    """What the graph does with places and their shares, in NumPy."""
    averaged = (distances[rows[0]] * rows[1][..., None]).sum(0)
    return np.asarray((averaged[:, columns[0]] * columns[1][None]).sum(1), np.float32)


@pytest.mark.parametrize("side", [1, 2, 4, 5, 8, 40])
def test_smoothing_is_opencvs(side: int) -> None:
    distances = np.random.default_rng(side).random((side, side), dtype=np.float32)
    both = along_both(distances, smoothing(side), smoothing(side))
    assert both == pytest.approx(detector.score.to_detection(distances).anomaly_map, rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "columns"), [((1, 2), (1, 1)), ((2, 5), (3, 6)), ((10, 20), (9, 19)), ((20, 40), (20, 7))]
)
def test_enlarging_is_opencvs(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    distances = np.random.default_rng(rows[1]).random((rows[0], columns[0]), dtype=np.float32)
    large = cv2.resize(distances, (columns[1], rows[1]), interpolation=cv2.INTER_LINEAR)
    assert along_both(distances, enlarging(*rows), enlarging(*columns)) == pytest.approx(large, rel=1e-5)


@pytest.mark.parametrize(
    ("method", "side", "precision"),
    [(method, 128, precision) for method in ("patchcore", "padim") for precision in ("float32", "bfloat16", "int8")]
    + [("patchcore", 256, precision) for precision in ("float32", "bfloat16")],
)
def test_the_graph_says_what_the_model_says(method: str, side: int, precision: str, tmp_path: Path) -> None:
    """With a coarse scale in two precisions: int8 is compiled as float32 is, and takes long to teach."""
    model = teach(precision, method=method, image_size=side)  # type: ignore[arg-type]
    assert (side == 256) == (isinstance(model.head, MemoryBanks) and model.head.coarse is not None)
    self_contained.write(model, tmp_path / "openvino")
    written = Written(tmp_path / "openvino")
    for defect in (False, True):
        frame = draw_part(70, defect=defect)
        expected, found = model.detect(frame), written.detect(model.input_of(frame))
        assert found.score == pytest.approx(expected.score, rel=1e-4)
        assert found.anomaly_map == pytest.approx(expected.anomaly_map, rel=1e-3, abs=1e-3 * expected.score)


@pytest.mark.parametrize("coreset_size", [1, 130, 700])
def test_memory_banks_of_any_size(coreset_size: int, tmp_path: Path) -> None:
    model = teach("float32", coreset_size=coreset_size)
    self_contained.write(model, tmp_path)
    frame = draw_part(70, defect=True)
    assert Written(tmp_path).detect(frame).score == pytest.approx(model.detect(frame).score, rel=1e-4)


def test_its_input_and_outputs_have_names(small_part: TaughtModel, tmp_path: Path) -> None:
    import openvino as ov

    self_contained.write(small_part, tmp_path)
    model = ov.Core().read_model(tmp_path / GRAPH)
    ports = {port.get_any_name(): (port.get_element_type().get_type_name(), list(port.shape)) for port in model.inputs}
    assert ports == {"frame": ("u8", [1, 64, 64, 3])}
    ports = {port.get_any_name(): (port.get_element_type().get_type_name(), list(port.shape)) for port in model.outputs}
    assert ports == {"score": ("f32", []), "anomaly_map": ("f32", [8, 8])}


def test_the_threshold_is_beside_the_graph_and_not_in_it(small_part: TaughtModel, tmp_path: Path) -> None:
    other = TaughtModel(
        msgspec.structs.replace(small_part.manifest, threshold=77.5),
        small_part.head,
        small_part.backbone,
        small_part._engine,
    )
    for name, model in (("one", small_part), ("other", other)):
        self_contained.write(model, tmp_path / name)
    weights, text, facts = (
        [(tmp_path / name / file).read_bytes() for name in ("one", "other")] for file in ("model.bin", GRAPH, FACTS)
    )
    assert weights[0] == weights[1]
    assert b'<threshold value="77.5" />' in text[1]
    graphs = [one.partition(b"<rt_info>\n\t\t<OpenVINO")[0].partition(b"<defectvision>")[0] for one in text]
    assert len(graphs[0].splitlines()) == len(graphs[1].splitlines()) and b"77.5" not in graphs[1]
    assert [json.loads(one)["threshold"] for one in facts] == [small_part.threshold, 77.5]


def test_what_has_to_be_known_is_in_the_graphs_file_too(small_part: TaughtModel, tmp_path: Path) -> None:
    import openvino as ov

    self_contained.write(small_part, tmp_path)
    facts, model = json.loads((tmp_path / FACTS).read_text()), ov.Core().read_model(tmp_path / GRAPH)
    for name, value in facts.items():
        if name != "check":
            found = str(model.get_rt_info(["defectvision", name]).value)
            assert found == value or json.loads(found) == value
    assert facts["region"] == list(small_part.manifest.region.fractions)
    assert (facts["colour_order"], facts["precision"], facts["model_hash"]) == ("BGR", "float32", small_part.hash)


def test_anyone_can_check_that_their_openvino_computes_the_same(small_part: TaughtModel, tmp_path: Path) -> None:
    self_contained.write(small_part, tmp_path)
    check = json.loads((tmp_path / FACTS).read_text())["check"]
    frame = np.array([i // 97 % 256 for i in range(64 * 64 * 3)], np.uint8).reshape(64, 64, 3)
    assert check["frame"] == "byte i of the frame, counted from 0, is (i // 97) % 256"
    assert Written(tmp_path).detect(frame).score == pytest.approx(check["score"], rel=1e-5)


@pytest.mark.parametrize("defect", [False, True])
def test_the_example_in_its_readme_runs(small_part: TaughtModel, defect: bool, tmp_path: Path) -> None:
    self_contained.write(small_part, tmp_path)
    part = draw_part(80, defect=defect)
    picture = cv2.copyMakeBorder(part, 200, 120, 300, 100, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(tmp_path / "part.png"), picture)
    code = (tmp_path / README).read_text().partition("```python\n")[2].partition("```")[0]
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    verdict, score = answer.stdout.split()
    assert verdict == ("ANOMALY" if defect else "NORMAL")
    assert float(score) == pytest.approx(small_part.detect(picture).score, rel=1e-4)
