"""Models from elsewhere, tried in a process of their own, for real."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detector import ModelError
from detector.backbones.efficientnet_lite import GraphBackbone, load_backbone
from detector.backbones.openvino_graph import as_ir, backbone_graph
from detector.input_size import square
from detector.quiet_openvino import ops, ov
from server.teaching import trial
from server.teaching.trial import try_out
from tests.detector.anomalib.test_anomalib_export import write as write_export
from tests.detector.test_model_folder import as_graph, written
from tests.server.fakes import until
from tests.server.teaching.test_learner import runs

SAYS_ITS_PID = "import os, sys, time\nopen(sys.argv[1], 'w').write(str(os.getpid()))\n"


def hungry() -> GraphBackbone:
    """Its graph makes 14 GB of one number, on the way to nothing."""
    graph = backbone_graph(load_backbone(), square(128))
    (picture,), taps = graph.get_parameters(), [result.input_value(0) for result in graph.get_results()]
    brightest = ops.reduce_max(picture, ops.constant(np.arange(4)), False)
    many = ops.sqrt(ops.broadcast(brightest, ops.constant(np.array([60_000, 60_000]))))
    nothing = ops.multiply(ops.reduce_max(many, ops.constant(np.arange(2)), False), np.float32(0))
    outputs = [ops.add(taps[0], nothing).output(0), *taps[1:]]
    xml, weights = as_ir(ov.Model(outputs, graph.get_parameters(), "hungry"))
    return as_graph(xml=xml, weights=weights)


@pytest.fixture
def far_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts another program where the far side is."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trial, "_PROGRAM", "a_trial")
    return lambda program: (tmp_path / "a_trial.py").write_text(program) and None


async def test_what_can_be_used_passes(model_folder: Path, tmp_path: Path) -> None:
    await try_out(model_folder, "openvino")
    await try_out(written(tmp_path / "on a graph", as_graph()), "openvino")


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux bounds it")
async def test_a_graph_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="memory") as refused:
        await try_out(written(tmp_path / "hungry", hungry()), "openvino")
    assert "\n" not in str(refused.value)


async def test_what_is_no_model_of_ours_is_refused_in_words(tmp_path: Path) -> None:
    write_export(tmp_path)
    for folder, words in ((tmp_path, "it has no manifest.json"), (tmp_path / "gone", "there is no folder")):
        with pytest.raises(ModelError, match=words):
            await try_out(folder, "openvino")
    with pytest.raises(ModelError, match="its graph has 1 input and 3 outputs, not 1 and 2"):
        few = as_graph(layers=load_backbone().layers[:2])
        await try_out(written(tmp_path / "few", few, sum(layer.channels for layer in few.layers)), "openvino")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os; os.abort()", r"ended the process that it was tried in \(by signal 6\)"),
        ("raise SystemExit(9)", r"\(with status 9\)"),
        ("print('x' * 100_000)", r"\(by saying too much"),
        ("print('its model is none')", "^its model is none$"),
    ],
)
async def test_however_it_ends_that_is_told(
    program: str, words: str, far_side: Callable[[str], None], tmp_path: Path
) -> None:
    far_side(program)
    with pytest.raises(ModelError, match=words):
        await try_out(tmp_path, "openvino")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_one_that_hangs_is_ended(far_side: Callable[[str], None], tmp_path: Path) -> None:
    far_side(SAYS_ITS_PID + "time.sleep(600)")
    pid = tmp_path / "pid"
    with pytest.raises(ModelError, match="took more than 2 s"):
        await try_out(pid, "openvino", seconds=2)
    assert not pid.exists() or not runs(int(pid.read_text()))
    pid.unlink(missing_ok=True)
    trying = asyncio.create_task(try_out(pid, "openvino"))  # and where nobody wants to know any more
    await until(lambda: pid.exists() and bool(pid.read_text()))
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert not runs(int(pid.read_text()))


async def test_where_it_cannot_be_started_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", os.fspath(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=r"cannot be tried .*: free memory, then try again"):
        await try_out(tmp_path, "openvino")
