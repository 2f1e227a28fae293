"""calibration.json: whose it is, and what becomes of a damaged one."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

import msgspec
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


def test_whole_numbers_are_found_again(tmp_path: Path) -> None:
    Calibrations(tmp_path).put("hash", "openvino", Calibration(4, 2, 1, 3, 2))
    assert Calibrations(tmp_path).get("hash", "openvino") is not None


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


ENTRY = {"threshold": 1.3, "mean": 1.0, "std": 0.1, "n_images": 2, "k": 3.0, "created": "2026-01-01"}


def _file(**changes: object) -> bytes:
    """A file of version 1, which had no checksum."""
    return json.dumps({"version": 1, "calibrations": {"hash:openvino": ENTRY | changes}}).encode()


def test_a_file_of_version_1_is_read_and_made_one_of_version_2(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(_file())
    for _ in range(2):
        file = Calibrations(tmp_path)
        assert file.warning is None
        stored = file.get("hash", "openvino")
        assert stored is not None and (stored.threshold, stored.n_images, stored.created) == (1.3, 2, "2026-01-01")
        assert json.loads((tmp_path / FILE).read_bytes())["version"] == 2
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_on_a_disk_that_cannot_be_written_version_1_is_in_force_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_bytes(_file())

    def read_only(path: Path, data: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(calibrations, "write_atomically", read_only)
    file = Calibrations(tmp_path)
    assert file.warning is None and file.get("hash", "openvino") is not None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with two calibrations."""
    folder = tmp_path_factory.mktemp("data")
    file = Calibrations(folder)
    file.put("a" * 64, "openvino", Calibration(9.8765, 7.1, 0.9255, 20, 3.0))
    file.put("b" * 64, "torch", CALIBRATION)
    return (folder / FILE).read_bytes()


def test_every_flipped_bit_is_found_or_changes_nothing(whole: bytes, tmp_path: Path) -> None:
    """Before, one in thirty set another threshold, and the others dropped it without a word."""
    (tmp_path / FILE).write_bytes(whole)
    meant = Calibrations(tmp_path)._calibrations
    for position in range(8 * len(whole)):
        data = bytearray(whole)
        data[position // 8] ^= 1 << position % 8
        try:
            assert calibrations._decode(bytes(data)) == (2, meant), position
        except (msgspec.MsgspecError, ValueError) as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"version":2,"calibrations":', b'{"version":1,"x":['])
def test_nesting_without_end_is_damage_and_not_the_end_of_the_start(opening: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(opening * 200_000)
    file = Calibrations(tmp_path)
    assert file.warning is not None and "calibration.json was damaged" in file.warning
    assert "the model's default threshold is in force" in file.warning


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(1 << 36)
    warning = Calibrations(tmp_path).warning
    assert warning is not None and "larger than 10 MB" in warning


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"version": 2}',
        b'{"version": 3, "calibrations": {}}',
        b'{"calibrations": {}}',
        b'{"version": 1}',
        b'{"version": 1, "calibratioms": {}}',
        _file()[:-9],
        _file().replace(b'"version": 1', b'"version": 2'),
        _file(threshold=0),
        _file(threshold=-1),
        _file(threshold="1"),
        _file(threshold=float("inf")),
        _file(threshold=float("nan")),
        _file(threshold=1.2),
        _file(mean=1.1),
        _file(n_images=1),
        _file(k=1e308),
        _file(k=101.0, threshold=11.1),
        _file(k=-1.0, threshold=0.9),
        _file(std=-0.1, threshold=0.7),
        _file(another=1),
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
        file.put("hash", "openvino", Calibration(4.0, 1.0, 1.0, 2, 3.0))
    with pytest.raises(OSError, match="No space"):
        file.delete("hash", "openvino")
    assert file.get("hash", "openvino") == before
    assert (tmp_path / FILE).read_bytes() == data


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_the_file_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "calibration.json")
    warning = Calibrations(tmp_path).warning
    assert warning is not None and "no file" in warning
