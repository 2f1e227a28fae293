"""One data directory, one server."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from detector import folder_lock
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
