"""One data directory, one server."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from detector import folder_lock
from detector.files import temporary_beside
from detector.folder_lock import FILE
from server.ground import DataDirectoryError, data_directory
from training.train import OutputError, require_model_or_nothing


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "_TRY_S", 0.001)


def test_the_second_server_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    with data_directory(tmp_path / "new" / "data", "at http://localhost:8000/") as lock:
        assert lock is not None
        with (
            pytest.raises(DataDirectoryError, match=r"used by another server \(process \d+ .*8000.*another DATA_DIR"),
            data_directory(tmp_path / "new" / "data", "at http://localhost:8001/"),
        ):
            pass
        with data_directory(tmp_path / "other", "at http://localhost:8001/"):
            pass
    with data_directory(tmp_path / "new" / "data", "at http://localhost:8001/"):
        pass


def test_what_crashes_left_in_it_goes_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "certificates").mkdir()
    unfinished = [
        temporary_beside(tmp_path / "calibration.json"),
        temporary_beside(tmp_path / "access_code"),
        temporary_beside(tmp_path / "certificates" / "server.pem"),
    ]
    for path in unfinished:
        path.write_bytes(b"half")
    temporary_beside(tmp_path / "simulated_line").mkdir()
    (tmp_path / "calibration.json").write_text("whole")
    with data_directory(tmp_path, "at http://localhost:8000/"):
        found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["calibration.json", "certificates", "server.lock"]


def test_a_model_is_not_taught_into_the_data_directory_of_a_running_server(tmp_path: Path) -> None:
    with (
        data_directory(tmp_path / "data", "at http://localhost:8000/"),
        pytest.raises(OutputError, match=r"data directory of a server .*8000.*another --output"),
    ):
        require_model_or_nothing(tmp_path / "data" / "simulated_line")
    require_model_or_nothing(tmp_path / "data" / "simulated_line")


@pytest.mark.parametrize("fault", [errno.EROFS, errno.EACCES, errno.ENOLCK])
def test_a_disk_that_can_be_neither_written_nor_locked_stops_no_server(
    fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(*_: object) -> bool:
        raise OSError(fault, "refused by the disk")

    monkeypatch.setattr(folder_lock, "_lock", refuses)
    with data_directory(tmp_path, "at http://localhost:8000/") as lock:
        assert lock is None
    assert "cannot be locked (refused by the disk)" in caplog.text
    assert (tmp_path / FILE).exists()
