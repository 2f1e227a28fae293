"""Recipe files, as this software exports them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import msgspec

from detector.model_folder import read_manifest
from server.recipes import Decision, ModelVersion, Regions, StreamOptions, ThresholdRule
from server.teaching.recipe_file import ABOUT, About


def recipe_file(model: Path, name: str, taught: str = "") -> bytes:
    """The file of a recipe with the model of a folder, without corrections; ``taught``: where that has no manifest."""
    files = {f"model/{path.name}": path.read_bytes() for path in model.iterdir() if path.is_file()}
    rules = Regions(), ThresholdRule(one_in=30), Decision(), StreamOptions()
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    about = About(1, name, ModelVersion(taught or read_manifest(model).hash), *rules, digests)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(ABOUT, msgspec.json.encode(about))
    return buffer.getvalue()
