"""The server's own files after a disk, or an editor, had its way with them: a sentence, never the end of the start.

Each bit of them that may flip is tried where the file has its tests; here it is many at once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from detector import model_folder
from server.https import ensure
from server.inspection import Calibrations
from server.kept_cameras.cameras_file import encode
from server.settings import PulledCamera
from tests.fuzz.fuzzing import fuzz
from tests.server.inspection.test_calibrations import put, stored

NESTED = [opening * 100_000 for opening in (b"[", b'{"a":', b'{"version":3,"contents":', b'{"format_version":3,"x":[')]
JSON = [b"1e308", b"-1", b"NaN", b"null", b"[[[[", b'{"version":', b'"k":', b"\xff", b"\\ud800", b"9" * 400]
PEM = [b"-----BEGIN CERTIFICATE-----\n", b"-----END PRIVATE KEY-----\n", b"\n\n", b"MII", b"=", b"\0"]


def test_calibration_json(tmp_path: Path) -> None:
    file = Calibrations(tmp_path)
    put(file, stored("a" * 64))
    put(file, stored("b" * 64, "torch", k=None, one_in=50, promise=None, no_promise="too few"))
    put(file, stored("a" * 64, created="later"))
    entry = b'{"threshold":4.0,"mean":1.0,"std":1.0,"n_images":2,"k":3.0,"created":""}'
    first = b'{"version":1,"calibrations":{"a:torch":' + entry + b"}}"
    seeds = [(tmp_path / "calibration.json").read_bytes(), first, *NESTED]
    assert fuzz("tests.fuzz.targets:calibration_file", seeds, tokens=JSON, seconds=4) > 100


def test_cameras_json() -> None:
    cameras = (PulledCamera("press", "rtsp://operator:s3cret@camera/live", width=640), PulledCamera("side", "0"))
    seeds = [encode(cameras), encode(()), *NESTED]
    assert fuzz("tests.fuzz.targets:cameras_file", seeds, tokens=JSON, seconds=4) > 100


def test_manifests(model_folder_with_a_manifest: bytes) -> None:
    assert fuzz("tests.fuzz.targets:manifest", [model_folder_with_a_manifest, *NESTED], tokens=JSON, seconds=4) > 100


def test_authorities(tmp_path: Path) -> None:
    ensure(tmp_path / "certificates", ["press-4", "127.0.0.1"])
    seeds = [
        (tmp_path / "certificates" / name).read_bytes() for name in ("authority.pem", "server.pem", "authority.crt")
    ]
    assert fuzz("tests.fuzz.targets:certificate_file", seeds, tokens=PEM, seconds=4) > 100


def test_access_codes() -> None:
    seeds = [b"7KQ2-M9XR-4TBD\n", b"correct horse battery", b"\0" * 100_000]
    assert fuzz("tests.fuzz.targets:access_code_file", seeds, tokens=[b"\n", b"\xff\xfe", b" "], seconds=4) > 100


@pytest.fixture
def model_folder_with_a_manifest(tmp_path: Path) -> bytes:
    from tests.detector.test_model_folder import learned

    model_folder.write(tmp_path / "bottle", *learned(patches=2))
    return (tmp_path / "bottle" / model_folder.MANIFEST).read_bytes()
