"""Recipe files that were damaged on their way, and by people who mean harm."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import msgspec
import pytest

from server.recipes import Decision, ModelVersion, RecipeError, Regions, StreamOptions, ThresholdRule
from server.teaching.recipe_file import ABOUT, About, _read

MANIFEST = b'{"name": "a model"}' * 3


def packed(compression: int) -> bytes:
    """A recipe file with a model of one file."""
    files = {"model/manifest.json": hashlib.sha256(MANIFEST).hexdigest()}
    rules = Regions(), ThresholdRule(one_in=30), Decision(), StreamOptions()
    about = msgspec.json.encode(About(1, "bottle", ModelVersion("a" * 64), *rules, files))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr(ABOUT, about)
        file.writestr("model/manifest.json", MANIFEST)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_whatever_byte_is_another_the_file_is_refused_or_the_same(compression: int, tmp_path: Path) -> None:
    def read(data: bytes) -> tuple[About, dict[str, bytes]]:
        shutil.rmtree(tmp_path / "there", ignore_errors=True)
        (tmp_path / "there").mkdir()
        about = _read(data, tmp_path / "there", lambda size: None)
        return about, {path.name: path.read_bytes() for path in (tmp_path / "there" / "model").iterdir()}

    whole = packed(compression)
    meant = read(whole)
    assert meant[1] == {"manifest.json": MANIFEST}
    for position in range(len(whole)):
        for other in (0xFF, whole[position] ^ 1 << position % 8):
            data = bytearray(whole)
            data[position] = other
            with contextlib.suppress(RecipeError):
                assert read(bytes(data)) == meant, position
    for length in range(len(whole)):
        with pytest.raises(RecipeError):
            read(whole[:length])
