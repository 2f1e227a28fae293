"""What the doctor finds, and that it changes nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from detector.folder_lock import hold
from server import cli, doctor
from server.ground import checksum
from server.serve import listen
from server.settings import DatabaseAddress, PulledCamera, Settings


def found(settings: Settings) -> dict[str, doctor.Finding]:
    """Findings by what they are of, the worst of each."""
    order = {"ok": 0, "warning": 1, "wrong": 2}
    worst: dict[str, doctor.Finding] = {}
    for one in doctor.examine(settings):
        if one.what not in worst or order[one.mark] > order[worst[one.what].mark]:
            worst[one.what] = one
    return worst


def test_a_new_place_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    findings = found(Settings(data_dir=tmp_path / "data", port=0, archive_free_gb=0))
    assert not [one for one in findings.values() if one.mark == "wrong"], findings
    assert {"data directory", "disk", "port", "clock", "memory", "files", "inference"} <= set(findings)
    assert "CPU" in findings["inference"].words
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_it_says_what_to_mend_and_changes_nothing(tmp_path: Path) -> None:
    for name in ("calibration.json", "sinks.json", "history.db"):
        (tmp_path / name).write_bytes(b"damaged")
    (tmp_path / "recipes.json").symlink_to("recipes.json")
    (tmp_path / "recipes.json.damaged-1").touch()
    cameras = [{"name": "page", "source": "rtsp://me:secret@127.0.0.1:9/x"}]
    kept = tuple(PulledCamera(**one) for one in cameras)
    file = {"version": 1, "sha256": checksum(kept), "cameras": kept}
    (tmp_path / "cameras.json").write_bytes(msgspec.json.encode(file))
    os.utime(tmp_path / "calibration.json", (time.time() + 1e6,) * 2)
    before = {path.name: path.lstat().st_mtime_ns for path in tmp_path.iterdir()}
    with listen("127.0.0.1", 0) as taken:
        settings = Settings(
            data_dir=tmp_path,
            port=taken.getsockname()[1],
            model_path=tmp_path / "no model",
            https=True,
            cert_file=tmp_path / "no.pem",
            archive_free_gb=1e6,
            cameras=(PulledCamera("usb", "/dev/video99"), PulledCamera("film", str(tmp_path / "film.mp4"))),
        )
        findings = found(settings)
    wrong = {what for what, one in findings.items() if one.mark == "wrong"}
    assert wrong == {
        "calibration.json", "sinks.json", "recipes.json", "history", "port", "model", "certificate", "camera usb",
        "camera film", "camera page",
    }  # fmt: skip
    assert {"disk", "clock", "data files"} <= {what for what, one in findings.items() if one.mark == "warning"}
    assert "stop what uses that port" in findings["port"].words
    assert "secret" not in str(findings)
    assert {path.name: path.lstat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_the_port_of_the_server_that_runs_here_is_no_fault(tmp_path: Path) -> None:
    lock = hold(tmp_path, "at http://localhost/")
    try:
        with listen("127.0.0.1", 0) as taken:
            assert found(Settings(data_dir=tmp_path, port=taken.getsockname()[1]))["port"].mark == "ok"
    finally:
        lock.release()


def test_a_database_that_is_gone_is_said(tmp_path: Path) -> None:
    address = DatabaseAddress.parse("postgresql://me:secret@127.0.0.1:9/plant")
    finding = found(Settings(data_dir=tmp_path, port=0, database_url=address))["history"]
    assert finding.mark == "wrong" and "does not answer" in finding.words and "secret" not in finding.words


def test_a_look_that_hangs_or_crashes_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(settings: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "PATIENCE_S", 0.2)
    monkeypatch.setattr(doctor, "_cameras", lambda settings: time.sleep(2))
    monkeypatch.setattr(doctor, "_sinks", crashes)
    findings = found(Settings(data_dir=tmp_path, port=0))
    assert "does not answer" in findings["cameras"].words and "ZeroDivisionError" in findings["sinks"].words


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setattr("server.logs.set_up", lambda: None)
    assert cli.main(["doctor", "--json"]) == 0
    assert {one["mark"] for one in json.loads(capsys.readouterr().out)} <= {"ok", "warning"}
    monkeypatch.setenv("PORT", "http")
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out.startswith("wrong   settings: PORT='http' cannot be used")
