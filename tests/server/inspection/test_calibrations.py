"""calibration.json: whose it is, and what becomes of a damaged one."""

from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import Calibration
from server.inspection import calibrations
from server.inspection.calibrations import FILE, Calibrations

CALIBRATION = Calibration(threshold=12.5, mean=10.0, std=0.5, n_images=20, k=5.0)


def test_a_calibration_is_found_again_after_a_restart(tmp_path: Path) -> None:
    stored = Calibrations(tmp_path / "new" / "folder").put("hash", "openvino", CALIBRATION)
    again = Calibrations(tmp_path / "new" / "folder")
    assert again.get("hash", "openvino") == stored
    assert (stored.threshold, stored.mean, stored.std, stored.n_images, stored.k) == (12.5, 10.0, 0.5, 20, 5.0)
    assert again.warning is None


def test_it_belongs_to_one_model_on_one_runtime(tmp_path: Path) -> None:
    file = Calibrations(tmp_path)
    file.put("hash", "openvino", CALIBRATION)
    assert file.get("hash", "torch") is None
    assert file.get("other", "openvino") is None
    file.put("hash", "torch", CALIBRATION)
    file.delete("hash", "openvino")
    assert file.get("hash", "openvino") is None
    assert Calibrations(tmp_path).get("hash", "torch") is not None


def test_deleting_what_is_not_there_writes_nothing(tmp_path: Path) -> None:
    Calibrations(tmp_path).delete("hash", "openvino")
    assert list(tmp_path.iterdir()) == []


def _file(**changes: object) -> bytes:
    entry = {"threshold": 1.0, "mean": 1.0, "std": 0.0, "n_images": 2, "k": 3.0, "created": "2026-01-01"} | changes
    return json.dumps({"version": 1, "calibrations": {"hash:openvino": entry}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"version": 2}',
        _file()[:-9],
        _file(threshold=0),
        _file(threshold=-1),
        _file(threshold="1"),
        _file(threshold=float("inf")),
        _file(threshold=float("nan")),
    ],
)
def test_a_damaged_file_is_set_aside_with_a_warning(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    file = Calibrations(tmp_path)
    assert file.get("hash", "openvino") is None
    assert file.warning is not None and "calibrate again" in file.warning
    assert (tmp_path / "calibration.json.damaged-1").read_bytes() == data
    assert not (tmp_path / FILE).exists()
    file.put("hash", "openvino", CALIBRATION)
    assert Calibrations(tmp_path).warning is None


def test_nothing_set_aside_is_overwritten(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        (tmp_path / FILE).write_bytes(data)
        Calibrations(tmp_path)
    assert (tmp_path / "calibration.json.damaged-1").read_bytes() == b"first"
    assert (tmp_path / "calibration.json.damaged-2").read_bytes() == b"second"


@settings(max_examples=50)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x)).map(lambda x: json.dumps(x).encode()))  # fmt: skip  # noqa: E501
def test_no_file_stops_the_start(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(data)
        assert Calibrations(Path(folder)).get("hash", "openvino") is None


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    file = Calibrations(tmp_path)
    assert file.warning is not None and "cannot be read" in file.warning
    assert (tmp_path / FILE).is_dir()


def test_a_damaged_file_that_cannot_be_set_aside_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_bytes(b"{")

    def full(path: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(calibrations, "set_aside", full)
    file = Calibrations(tmp_path)
    assert file.get("hash", "openvino") is None
    assert file.warning is not None and "damaged" in file.warning


def test_what_cannot_be_stored_is_not_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Calibrations(tmp_path)
    before = file.put("hash", "openvino", CALIBRATION)
    data = (tmp_path / FILE).read_bytes()

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(calibrations, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        file.put("hash", "openvino", Calibration(99.0, 1.0, 1.0, 2, 3.0))
    with pytest.raises(OSError, match="No space"):
        file.delete("hash", "openvino")
    assert file.get("hash", "openvino") == before
    assert (tmp_path / FILE).read_bytes() == data
