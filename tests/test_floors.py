"""The arrow of imports only points down: server → training → detector."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ABOVE = {"detector": {"training", "server", "tests", "benchmarks"}, "training": {"server", "tests", "benchmarks"}}
NOT_IN_THE_DETECTOR = {"asyncio", "socket", "starlette", "uvicorn", "aiortc", "av", "websockets", "httpx", "requests"}


def imported(path: Path) -> set[str]:
    """First parts of everything a module imports, at its top or inside of functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write where it comes from"
            names.add(str(node.module))
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("floor", ABOVE)
def test_no_floor_imports_one_above_it(floor: str) -> None:
    modules = sorted((ROOT / floor).rglob("*.py"))
    assert modules
    wrong = {str(path.relative_to(ROOT)): imported(path) & ABOVE[floor] for path in modules}
    assert not {path: names for path, names in wrong.items() if names}


def test_the_detector_knows_no_sockets_and_no_event_loop() -> None:
    wrong = {path.name: imported(path) & NOT_IN_THE_DETECTOR for path in (ROOT / "detector").rglob("*.py")}
    assert not {path: names for path, names in wrong.items() if names}


def test_only_the_torch_runtime_imports_torch() -> None:
    """And what makes backbones of timm's networks, and what runs anomalib's own models: their faces import it inside of
    functions."""
    in_the_detector = {"torch_runtime.py", "timm_network.py", "timm_weights.py"}
    for floor in ("detector", "training", "server"):
        for path in (ROOT / floor).rglob("*.py"):
            allowed = path.parent == ROOT / "training" / "anomalib" or (
                path.parent == ROOT / "detector" and path.name in in_the_detector
            )
            heavy = {"torch", "torchvision", "anomalib", "lightning", "timm", "huggingface_hub"}
            assert allowed or not imported(path) & heavy, path


@pytest.mark.parametrize(
    "module",
    ["detector", "detector.openvino_runtime", "detector.anomalib_export", "training", "training.anomalib_models"],
)
def test_importing_pulls_in_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(output.split()) & {"torch", "nncf", "anomalib", "starlette", "uvicorn", "aiortc", "av", "server"}


def test_only_the_openvino_runtime_imports_openvino() -> None:
    """It turns the telemetry off first; what reads anomalib's exports or timm's networks imports it, for that, before
    openvino."""
    for floor in ("detector", "training", "server"):
        for path in (ROOT / floor).rglob("*.py"):
            if path.name in {"anomalib_graph.py", "self_contained.py", "timm_backbone.py"}:
                text = path.read_text()
                assert -1 < text.index(" detector.openvino_runtime") < text.index("import openvino as ov")
            else:
                assert path.name == "openvino_runtime.py" or "openvino" not in imported(path), path
