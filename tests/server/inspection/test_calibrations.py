"""calibration.json: whose it is, and what becomes of a damaged one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.thresholds import Promise
from server.ground import kept_file
from server.inspection import calibration_file, calibrations
from server.inspection.calibration_file import LARGEST_FILE, Change, Contents, StoredCalibration
from server.inspection.calibrations import FILE, Calibrations, Step

STEP = Step("set", "me", "a test", "websocket", "press", 100.0, 12.5)


def stored(model_hash: str = "hash", runtime: str = "openvino", **changes: Any) -> StoredCalibration:
    one = StoredCalibration(
        model_hash=model_hash,
        runtime=runtime,
        transport="websocket",
        stream="press",
        alone=False,
        threshold=12.5,
        mean=10.0,
        std=0.5,
        n_images=20,
        k=5.0,
        one_in=None,
        lowest_defect=None,
        promise=Promise(0.001, 0.01, 0.95, 20, 19.5),
        no_promise=None,
        created="2026-01-01T00:00:00.000+00:00",
        who="a page at 127.0.0.1",
    )
    return msgspec.structs.replace(one, **changes)


def put(file: Calibrations, *calibrations: StoredCalibration, step: Step = STEP) -> None:
    (place,) = {(one.model_hash, one.runtime) for one in calibrations}
    file.replace(*place, calibrations, step)


def test_a_calibration_is_found_again_after_a_restart(tmp_path: Path) -> None:
    put(Calibrations(tmp_path / "new" / "folder"), stored())
    again = Calibrations(tmp_path / "new" / "folder")
    assert again.of("hash", "openvino") == (stored(),)
    assert again.warning is None
    (change,) = again.history("hash", "openvino")
    assert (change.was, change.became, change.who, change.after) == (100.0, 12.5, "me", (stored(),))


def test_it_belongs_to_one_model_on_one_runtime(tmp_path: Path) -> None:
    file = Calibrations(tmp_path)
    put(file, stored())
    assert file.of("hash", "torch") == file.of("other", "openvino") == ()
    put(file, stored(runtime="torch"))
    file.replace("hash", "openvino", (), STEP)
    assert file.of("hash", "openvino") == ()
    assert Calibrations(tmp_path).of("hash", "torch") == (stored(runtime="torch"),)


def test_the_history_and_all_calibrations_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "write_atomically", lambda path, data, mode: path.write_bytes(data))  # no disk waits
    monkeypatch.setattr(calibrations, "MOST", 5)
    monkeypatch.setattr(calibrations, "MOST_IN_STEPS", 30)
    file = Calibrations(tmp_path)
    for number in range(120):
        put(file, stored(model_hash=str(number % 7), created=f"{number:03}"))
    kept = file._contents
    assert [one.created for one in kept.calibrations] == [f"{number:03}" for number in range(115, 120)]
    assert sum(len(step.before) + len(step.after) for step in kept.history) <= 30
    monkeypatch.setattr(calibrations, "MOST_IN_STEPS", 10_000)
    for number in range(120, 300):
        put(file, stored(created=f"{number:03}"))
    assert len(file._contents.history) == calibrations.MOST_STEPS
    assert Calibrations(tmp_path)._contents == file._contents


def test_what_is_kept_at_the_most_is_read_again(tmp_path: Path) -> None:
    file = Calibrations(tmp_path)
    many = [stored(stream="s" * 60 + str(number), alone=True) for number in range(calibrations.MOST)]
    for _ in range(3):
        put(file, *many)
        file.replace("hash", "openvino", (), STEP)
    put(file, *many)
    assert (tmp_path / FILE).stat().st_size < LARGEST_FILE / 2
    assert Calibrations(tmp_path)._contents == file._contents


ENTRY = {"threshold": 1.3, "mean": 1.0, "std": 0.1, "n_images": 2, "k": 3.0, "created": "2026-01-01"}


def _file(**changes: object) -> bytes:
    """A file of version 1, which had no checksum."""
    return json.dumps({"version": 1, "calibrations": {"hash:openvino": ENTRY | changes}}).encode()


def _file_of_version_2() -> bytes:
    calibrations = {"hash:openvino": ENTRY}
    digest = hashlib.sha256(msgspec.json.encode(calibrations)).hexdigest()
    return json.dumps({"version": 2, "sha256": digest, "calibrations": calibrations}).encode()


@pytest.mark.parametrize("older", [_file(), _file_of_version_2()], ids=["1", "2"])
def test_a_file_of_an_older_version_is_read_and_made_one_of_this(tmp_path: Path, older: bytes) -> None:
    (tmp_path / FILE).write_bytes(older)
    for _ in range(2):
        file = Calibrations(tmp_path)
        assert file.warning is None
        (found,) = file.of("hash", "openvino")
        assert (found.threshold, found.n_images, found.created) == (1.3, 2, "2026-01-01")
        assert (found.transport, found.stream, found.alone, found.promise) == ("unknown", None, False, None)
        assert json.loads((tmp_path / FILE).read_bytes())["version"] == 5
    (before,) = (path for path in tmp_path.iterdir() if path.name != FILE)
    assert (before / FILE).read_bytes() == older, "the way back"


@pytest.mark.parametrize("version", [b"3", b"4"])
def test_a_file_that_knows_no_regions_is_read_and_carried_along(tmp_path: Path, version: bytes) -> None:
    put(Calibrations(tmp_path), stored())
    older = (tmp_path / FILE).read_bytes().replace(b'"version": 5', b'"version": ' + version)
    (tmp_path / FILE).write_bytes(older)
    file = Calibrations(tmp_path)
    assert file.warning is None and file.of("hash", "openvino") == (stored(),) and stored().regions is None
    assert json.loads((tmp_path / FILE).read_bytes())["version"] == 5
    (before,) = (path for path in tmp_path.iterdir() if path.name != FILE)
    assert (before / FILE).read_bytes() == older, "the way back"
    put(file, stored(regions="a" * 64))
    assert Calibrations(tmp_path).of("hash", "openvino") == (stored(regions="a" * 64),)


@pytest.mark.parametrize(("k", "threshold"), [(0.0, 1.0), (100.0, 11.0)])
def test_a_k_that_is_refused_today_is_read_from_an_older_file(tmp_path: Path, k: float, threshold: float) -> None:
    (tmp_path / FILE).write_bytes(_file(k=k, threshold=threshold))
    (found,) = Calibrations(tmp_path).of("hash", "openvino")
    assert (found.k, found.threshold) == (k, threshold)


def test_on_a_disk_that_cannot_be_written_an_older_file_is_in_force_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_bytes(_file())

    def read_only(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(kept_file, "write_atomically", read_only)
    file = Calibrations(tmp_path)
    assert file.warning is None and file.of("hash", "openvino")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with two calibrations and a step of history."""
    folder = tmp_path_factory.mktemp("data")
    file = Calibrations(folder)
    put(file, stored("b" * 64, "torch", k=None, one_in=100, promise=None, no_promise="too few", stream=None))
    file._file.contents = msgspec.structs.replace(file._contents, history=())
    put(file, stored("a" * 64))
    return (folder / FILE).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.0},
        {"threshold": 12.4},
        {"threshold": -1.0},
        {"n_images": 1},
        {"k": 101.0, "threshold": 60.5},
        {"k": None},
        {"lowest_defect": 12.0},
        {"lowest_defect": 13.0},
        {"one_in": 100},
        {"k": None, "one_in": 100, "threshold": 1000.0},
        {"regions": "all of it"},
        {"promise": Promise(0.5, 1.5, 0.95, 20, 19.5)},
        {"promise": Promise(0.5, 0.5, 0.95, 30, 19.5)},
        {"promise": Promise(0.5, 0.5, 0.95, 20, 21.0)},
        {"promise": Promise(0.5, 0.5, 0.95, 20, 9.0)},
        {"promise": Promise(0.5, 0.1, 0.95, 20, 19.5)},
        {"promise": Promise(0.0, 0.0, 0.95, 20, 19.5)},
        {"promise": Promise(0.5, 0.5, 1.0, 20, 19.5)},
    ],
)
def test_what_cannot_be_is_damage_even_with_a_true_checksum(tmp_path: Path, changes: dict[str, Any]) -> None:
    for contents in (
        Contents((stored(**changes),)),
        Contents((), (msgspec.structs.replace(_change(), before=(stored(**changes),)),)),
    ):
        (tmp_path / FILE).write_bytes(calibration_file.encode(contents))
        file = Calibrations(tmp_path)
        assert file.warning is not None and not file._contents.calibrations and not file._contents.history


def test_two_of_one_place_are_damage(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(calibration_file.encode(Contents((stored(), stored(created="later")))))
    assert "same place" in str(Calibrations(tmp_path).warning)


def _change() -> Change:
    return Change("now", "me", "set", "a test", "hash", "openvino", "websocket", "press", None, 1.0, (), ())


def test_every_flipped_bit_is_found_or_changes_nothing(whole: bytes, tmp_path: Path) -> None:
    """Before, one in thirty set another threshold, and the others dropped it without a word."""
    (tmp_path / FILE).write_bytes(whole)
    meant = Calibrations(tmp_path)._contents
    for position in range(8 * len(whole)):
        data = bytearray(whole)
        data[position // 8] ^= 1 << position % 8
        try:
            assert calibration_file.decode(bytes(data)) == (4, meant), position
        except (msgspec.MsgspecError, ValueError) as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "opening", [b"[", b'{"a":', b'{"version":2,"calibrations":', b'{"version":1,"x":[', b'{"version":3,"contents":']
)
def test_nesting_without_end_is_damage_and_not_the_end_of_the_start(opening: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(opening * 200_000)
    file = Calibrations(tmp_path)
    assert file.warning is not None and "calibration.json was damaged" in file.warning
    assert "the model's default threshold is in force" in file.warning


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(1 << 36)
    warning = Calibrations(tmp_path).warning
    assert warning is not None and "larger than 20 MB" in warning


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
        b'{"version": 5, "calibrations": {}}',
        b'{"version": 6, "calibrations": {}}',
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
    assert not file.of("hash", "openvino")
    assert file.warning is not None and "calibrate again" in file.warning
    assert (tmp_path / "calibration.json.damaged-1").read_bytes() == data
    assert not (tmp_path / FILE).exists()
    put(file, stored())
    assert Calibrations(tmp_path).warning is None


def test_the_warning_does_not_repeat_the_file(tmp_path: Path) -> None:
    file = calibration_file.encode(Contents((stored(),))).replace(b'"websocket"', b'"' + b"x" * 100_000 + b'"')
    assert len(file) > 100_000
    (tmp_path / FILE).write_bytes(file)
    warning = Calibrations(tmp_path).warning
    assert warning is not None and "xxx" in warning and len(warning) < 500


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
        assert not Calibrations(Path(folder)).of("hash", "openvino")


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    file = Calibrations(tmp_path)
    assert file.warning is not None and "cannot be read" in file.warning
    assert (tmp_path / FILE).is_dir()


@pytest.mark.parametrize("kind", ["directory", "dangling link", "link loop"])
def test_nothing_is_written_over_a_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """A disk that is not mounted yet, wrong rights: what is there belongs to other models too."""
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    path = elsewhere / FILE
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "link loop" else tmp_path / "not mounted" / FILE)
    file = Calibrations(elsewhere)
    assert file.warning is not None and "cannot be read" in file.warning
    for _ in range(2):
        with pytest.raises(OSError, match="cannot be read"):
            file.recover()
    assert path.is_symlink() or path.is_dir()
    path.rmdir() if kind == "directory" else path.unlink()
    put(Calibrations(elsewhere), stored())
    assert file.recover() and file.warning is None and file.of("hash", "openvino") == (stored(),)
    assert not file.recover()


def test_what_can_be_read_at_last_and_is_damaged_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    file = Calibrations(tmp_path)
    (tmp_path / FILE).rmdir()
    (tmp_path / FILE).write_bytes(b"{")
    assert file.recover() and file.warning is not None and "damaged" in file.warning
    assert (tmp_path / "calibration.json.damaged-1").read_bytes() == b"{"


def test_a_newer_file_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"version": 99}')
    warning = Calibrations(tmp_path).warning
    assert warning is not None and "newer version" in warning and "damaged (" not in warning
    assert (tmp_path / "calibration.json.damaged-1").exists()


def test_a_damaged_file_that_cannot_be_set_aside_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_bytes(b"{")

    def full(path: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(kept_file, "set_aside", full)
    file = Calibrations(tmp_path)
    assert not file.of("hash", "openvino")
    assert file.warning is not None and "damaged" in file.warning


def test_what_cannot_be_stored_is_not_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Calibrations(tmp_path)
    put(file, stored())
    data = (tmp_path / FILE).read_bytes()

    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept_file, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        put(file, stored(created="later"))
    with pytest.raises(OSError, match="No space"):
        file.replace("hash", "openvino", (), STEP)
    assert file.of("hash", "openvino") == (stored(),) and len(file.history("hash", "openvino")) == 1
    assert (tmp_path / FILE).read_bytes() == data


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_the_file_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "calibration.json")
    warning = Calibrations(tmp_path).warning
    assert warning is not None and "no file" in warning
