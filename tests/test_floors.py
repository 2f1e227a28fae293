"""The arrow of imports only points down: between the floors (server → training → detector), and inside each of them.

A floor has rooms: folders with a face, the ``__init__.py`` that hands out what others may use, and single modules. Here
stands which room lies above which; a room imports from rooms of lower levels only, and nothing but what their faces
hand out. Tests and benchmarks may look inside.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("detector", "training", "server")
"""From the bottom."""

LEVELS: dict[str, tuple[set[str], ...]] = {
    "detector": (
        {
            "counted",
            "errors",
            "files",
            "folder_lock",
            "input_size",
            "memory_limit",
            "score",
            "quiet_openvino",
            "version",
        },
        {"extras", "images"},
        {"model", "region", "registration", "near_copies", "drawn_defects", "backbones"},
        {"heads", "thresholds"},
        {"light"},
        {"runtimes"},
        {"model_folder", "corrections", "showing"},
        {"anomalib"},
        {"taught_model"},
        {"teaching", "self_contained"},
    ),
    "training": (
        {"data", "machine"},
        {"measure"},
        {"train", "benchmark", "anomalib"},
        {"export"},
        {"reports"},
        {"compare"},
        {"commands"},
    ),
    "server": (
        {"words", "ground", "logs", "shifts"},
        {"cameras", "simulated_line", "access", "https", "plant"},
        {"settings", "camera_process"},
        {"recipes", "kept_cameras", "backup"},
        {"parts"},
        {"inspection"},
        {"streams", "replicas"},
        {"teaching"},
        {"records"},
        {"archive"},
        {"sinks", "drift"},
        {"metrics"},
        {"ingest", "web", "cannot_serve"},
        {"app"},
        {"serve", "healthcheck", "access_commands", "original", "plant_commands"},
        {"doctor"},
        {"cli"},
    ),
}
"""The rooms of each floor, from the bottom."""

INNER_ROOMS = (
    "server.ingest.webrtc",
    "server.cameras.genicam",
    "server.sinks.modbus",
    "server.sinks.mqtt",
    "server.sinks.mqtt.sparkplug",
)
"""Folders with a face inside of a room."""

NOT_IN_THE_DETECTOR = {"asyncio", "socket", "starlette", "uvicorn", "aiortc", "av", "websockets", "httpx", "requests"}
HEAVY = {"torch", "torchvision", "anomalib", "lightning", "timm", "huggingface_hub"}
IMPORT_TORCH = (
    "detector/runtimes/torch_runtime.py",
    "detector/backbones/timm_network.py",
    "detector/backbones/timm_weights.py",
)


@dataclass(frozen=True)
class Import:
    """``names`` from ``module``, on a line of the file at ``path``; no names where the module itself is imported."""

    path: Path
    line: int
    module: str
    names: tuple[str, ...] = ()

    @property
    def importer(self) -> str:
        """The module that imports, by its dotted name."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def targets(self) -> Iterator[str]:
        """What it means, by dotted names: ``from server import logs`` means ``server.logs``."""
        if not self.names:
            yield self.module
        for name in self.names:
            yield f"{self.module}.{name}" if is_module(f"{self.module}.{name}") else self.module

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module} ({', '.join(self.names)})"


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports_of(path: Path) -> list[Import]:
    """Everything a module imports, at its top or inside of functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(), path)):
        if isinstance(node, ast.Import):
            found += [Import(path, node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write where it comes from"
            found.append(Import(path, node.lineno, str(node.module), tuple(alias.name for alias in node.names)))
    return found


def imports(floor: str) -> list[Import]:
    found = [one for path in sorted((ROOT / floor).rglob("*.py")) for one in imports_of(path)]
    assert found
    return found


def packages(path: Path) -> set[str]:
    return {one.module.split(".")[0] for one in imports_of(path)}


def room(module: str) -> str:
    """``server.web.uploads`` → ``web``; nothing for a floor's own face."""
    return [*module.split("."), ""][1]


def level(floor: str, name: str) -> int:
    found = [number for number, names in enumerate(LEVELS[floor]) if name in names]
    assert len(found) == 1, f"{floor}/{name} has no level of its own: say in tests/test_floors.py where it stands"
    return found[0]


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_one_above_it(floor: str) -> None:
    above = {*FLOORS[FLOORS.index(floor) + 1 :], "tests", "benchmarks"}
    assert not [str(one) for one in imports(floor) if one.module.split(".")[0] in above]


@pytest.mark.parametrize("floor", FLOORS)
def test_no_room_imports_one_above_or_beside_it(floor: str) -> None:
    wrong = []
    for one in imports(floor):
        here = room(one.importer)
        if not here:
            continue  # the floor's own face hands out what any of its rooms has
        for target in one.targets:
            there = room(target)
            if target.split(".")[0] != floor or there == here:
                continue
            assert there, f"{one}: a room imports from the room it needs, not from the face of its own floor"
            if level(floor, there) >= level(floor, here):
                wrong.append(str(one))
    assert not wrong


@pytest.mark.parametrize("floor", FLOORS)
def test_nothing_reaches_past_a_face(floor: str) -> None:
    rooms = [f"{name}.{one}" for name in FLOORS for level_ in LEVELS[name] for one in level_]
    faces = [name for name in (*rooms, *INNER_ROOMS) if (ROOT / name.replace(".", "/")).is_dir()]
    wrong = []
    for one in imports(floor):
        for face in faces:
            inside = one.importer == face or one.importer.startswith(f"{face}.")
            if not inside and (one.module.startswith(f"{face}.") or (one.module == face and not handed_out(one, face))):
                # The room around an inner room hands it on; it is that room's face that others may not reach past.
                wrong.append(str(one))
    assert not wrong


def handed_out(one: Import, face: str) -> bool:
    """Whether a face lists all that is taken from it."""
    tree = ast.parse((ROOT / face.replace(".", "/") / "__init__.py").read_text())
    listed: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed |= set(ast.literal_eval(node.value))
    return set(one.names) <= listed


@pytest.mark.parametrize("floor", FLOORS)
def test_every_room_is_there_and_every_module_has_a_room(floor: str) -> None:
    there = {path.stem for path in (ROOT / floor).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__"} == set().union(*LEVELS[floor])


def test_the_detector_knows_no_sockets_and_no_event_loop() -> None:
    wrong = {path.name: packages(path) & NOT_IN_THE_DETECTOR for path in (ROOT / "detector").rglob("*.py")}
    assert not {path: names for path, names in wrong.items() if names}


def test_cameras_are_pure() -> None:
    """Nothing of the server in them, so that they can be used, and tested, without one."""
    server = [one for one in imports("server/cameras") if one.module.split(".")[0] == "server"]
    assert not [str(one) for one in server if room(one.module) != "cameras"]


def test_only_the_torch_runtime_imports_torch() -> None:
    """And what makes backbones of timm's networks, and what runs anomalib's own models: their faces import it inside of
    functions."""
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            allowed = path.parent == ROOT / "training" / "anomalib" or str(path.relative_to(ROOT)) in IMPORT_TORCH
            assert allowed or not packages(path) & HEAVY, path


@pytest.mark.parametrize(
    "module",
    ["detector", "detector.quiet_openvino", "detector.anomalib", "training", "training.anomalib"],
)
def test_importing_pulls_in_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(output.split()) & {"torch", "nncf", "anomalib", "starlette", "uvicorn", "aiortc", "av", "server"}


def test_the_camera_process_starts_with_nothing_heavy() -> None:
    """It runs on the smallest computer of the line, beside a camera: what a kind of camera needs comes with that."""
    code = "import sys, server.camera_process; print(*{name.split('.')[0] for name in sys.modules})"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(output.split()) & {"detector", "openvino", "torch", "starlette", "uvicorn", "aiortc", "sqlalchemy"}


def test_openvino_is_imported_in_one_place() -> None:
    """Which turns the telemetry off first."""
    importing = {
        str(path.relative_to(ROOT))
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*.py")
        if "openvino" in packages(path)
    }
    assert importing == {"detector/quiet_openvino.py"}


DECODERS = {"PIL", "simplejpeg", "tifffile", "imageio", "imagecodecs", "skimage"}
DECODING = {"imdecode", "imdecodemulti", "imdecodeanimation", "imread", "imreadmulti", "imreadanimation"}
"""What turns bytes into pixels: packages, and functions of OpenCV. Video has ways of its own (server/cameras)."""


def test_nothing_but_its_room_turns_bytes_into_pixels() -> None:
    """It alone is bounded by what the decoder itself reads, and survives what the bytes may do."""
    wrong = []
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            if (ROOT / "detector" / "images") in path.parents:
                continue
            used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            named = {name for one in imports_of(path) for name in one.names}
            if packages(path) & DECODERS or (used | named) & DECODING:
                wrong.append(str(path.relative_to(ROOT)))
    assert not wrong
