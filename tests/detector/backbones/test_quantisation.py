from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detector.quiet_openvino  # noqa: F401  turns openvino's telemetry off, so it comes first
from detector import ModelError
from detector.backbones.efficientnet_lite import GraphBackbone, load_backbone
from detector.backbones.openvino_graph import as_ir, backbone_graph
from detector.backbones.quantisation import quantise
from detector.extras import to_install
from detector.input_size import InputSize, square
from detector.runtimes.runtime import runtime
from tests.detector.parts import draw_part, draw_parts

SIZE = 128


@pytest.fixture(scope="module")
def quantised() -> GraphBackbone:
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    return quantise(load_backbone(), draw_parts(6))


def test_it_is_another_backbone_with_the_same_layers(quantised: GraphBackbone) -> None:
    plan = load_backbone()
    assert quantised.name == "efficientnet-lite0, int8"
    assert quantised.sha256 != plan.sha256
    assert (quantised.layers, quantised.grid_stride, quantised.size_multiple) == (plan.layers, 8, 16)


def test_its_features_are_nearly_those_of_float32(quantised: GraphBackbone) -> None:
    engine = runtime("openvino")
    exact, found = (engine.features(plan, square(SIZE))(draw_part(9)) for plan in (load_backbone(), quantised))
    assert found.shape == exact.shape
    assert 0.001 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 0.1


def test_openvino_really_computes_in_8_bits_but_for_the_start(quantised: GraphBackbone) -> None:
    import openvino as ov

    core = ov.Core()
    model = core.read_model(quantised.xml, quantised.weights)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    information = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    precisions = [
        info["runtimePrecision"].astype(str) for info in information if "Convolution" in info["layerType"].astype(str)
    ]
    assert precisions[:3] == ["f32"] * 3
    assert len(precisions) == 33 and set(precisions[3:]) <= {"i8", "u8"}


def test_the_same_frames_give_the_same_graph(quantised: GraphBackbone) -> None:
    assert quantise(load_backbone(), draw_parts(6)) == quantised
    tall = InputSize(160, 96)
    frames = [draw_part(number, width=tall.width, height=tall.height) for number in range(6)]
    other = quantise(load_backbone(), frames)
    assert other.sha256 != quantised.sha256
    exact, *both = (runtime("openvino").features(one, tall)(frames[0]) for one in (load_backbone(), other, quantised))
    for found in both:  # whatever shape it was quantised with
        assert 0.001 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 0.1


def test_a_backbone_that_is_a_graph_can_be_quantised_too(quantised: GraphBackbone) -> None:
    plan = load_backbone()
    xml, weights = as_ir(backbone_graph(plan, square(SIZE)))
    graph = GraphBackbone("a graph", "0" * 64, plan.layers, xml, weights, size_multiple=16, torch_form=b"of float32")
    result = quantise(graph, draw_parts(6))
    assert (result.name, result.size_multiple, result.torch_form) == ("a graph, int8", 16, b"")
    ours, theirs = (runtime("openvino").features(one, square(SIZE))(draw_part(9)) for one in (quantised, result))
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_what_is_quantised_stays_as_it_is(quantised: GraphBackbone) -> None:
    with pytest.raises(ModelError, match="int8 is quantised already: start from the float32 one"):
        quantise(quantised, draw_parts(2))


def test_nothing_to_quantise_with() -> None:
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    with pytest.raises(ModelError, match="there are no frames"):
        quantise(load_backbone(), [])


def test_without_nncf_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ModelError, match=re.escape(f"{to_install('int8')}, or use bfloat16 or float32")):
        quantise(load_backbone(), draw_parts(1))


def test_nothing_is_printed(capfd: Any) -> None:
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    quantise(load_backbone(), [draw_part(0, width=64, height=64)])
    assert capfd.readouterr().out == ""


def test_nncf_reports_nothing_to_anyone(tmp_path: Path) -> None:
    """Its telemetry is openvino's client, which would leave its traces in the home folder before it sends anything; and
    it is another in a test, so this runs in a process of its own."""
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    code = (
        "import sys, socket\n"
        "def refuse(*arguments): raise SystemExit(f'called out: {arguments}')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import numpy as np\n"
        "from detector.backbones.efficientnet_lite import load_backbone\n"
        "from detector.backbones.quantisation import quantise\n"
        "quantise(load_backbone(), [np.full((64, 64, 3), 90, np.uint8)])\n"
        "from nncf.telemetry import wrapper\n"
        "assert 'pytest' not in sys.modules\n"
        "assert isinstance(wrapper.telemetry, wrapper.NNCFTelemetryStub), wrapper.telemetry\n"
        "assert not hasattr(wrapper, 'Telemetry')\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]\n"
    )
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], env=environment, check=True)
    assert not list(tmp_path.iterdir())
