"""What befalls the machine under a running server: disks, descriptors, the clock, a certificate, the database.

It goes on inspecting, ``/health`` says what is wrong, the log is not flooded, nothing accepted is lost beyond what
docs/operations.md says, and it starts clean afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from server.https import authority
from server.settings import Settings
from tests.running import ROOT, free_port
from tests.server.records.postgres import PostgreSQL, running_postgresql

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="disks, clocks and limits are this system's")

PATIENCE_S = 60.0
BATCH_S = 3.0
"""Older parts than these are on disk: batches are written twice a second, and the machine may be busy."""
MOST_LINES = 60
"""Of a log of a minute in which something goes wrong all the time."""
FRAME = cv2.imencode(".jpg", np.random.default_rng(1).integers(90, 110, (64, 64, 3), np.uint8))[1].tobytes()


@dataclass
class Served:
    """``defectvision serve`` in a process of its own."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    secure: bool = False
    told: dict[str, float] = field(default_factory=dict)
    """Parts whose verdict was told, by id, and when (monotonic)."""

    def __post_init__(self) -> None:
        self.client = httpx.Client(
            base_url=f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}",
            verify=False,
            trust_env=False,
            timeout=30,
        )

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = self.client.get("/health").json()
        return body

    def warnings(self) -> str:
        return "\n".join(self.health()["warnings"])

    def warned(self, *words: str) -> Callable[[], bool]:
        """Whether one of the warnings has one of these words."""
        return lambda: any(word in warning.lower() for warning in self.health()["warnings"] for word in words)

    def kept(self, ids: list[str]) -> Callable[[], bool]:
        """Whether the history has all of these parts."""
        left = list(ids)

        def are_kept() -> bool:
            left[:] = [id for id in left if self.client.get(f"/api/history/{id}").status_code != 200]
            return not left

        return are_kept

    def before(self, moment: float) -> list[str]:
        """Parts that were told long enough before a moment to be on disk by then."""
        return [id for id, at in self.told.items() if at < moment - BATCH_S]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()

    @contextlib.contextmanager
    def parts(self, prefix: str) -> Iterator[Callable[[int], None]]:
        """Parts come one after the other meanwhile; gives what waits until so many more were told."""
        stop, failed = threading.Event(), list[BaseException]()
        context = ssl._create_unverified_context() if self.secure else None
        url = f"ws{'s' if self.secure else ''}://127.0.0.1:{self.port}/ws/stream?name=press"

        def send() -> None:
            try:
                with connect(url, ssl=context, proxy=None) as socket_:
                    for number in range(1 << 30):
                        if stop.is_set():
                            return
                        socket_.send(json.dumps({"part": f"{prefix}-{number}"}))
                        socket_.send(FRAME)
                        while (said := json.loads(socket_.recv(PATIENCE_S)))["type"] != "result":
                            if said["type"] == "part":  # the one before: this one is another
                                self.told[said["id"]] = time.monotonic()
                        time.sleep(0.02)
            except BaseException as error:
                failed.append(error)

        def come(more: int) -> None:
            goal = len(self.told) + more
            wait(lambda: bool(failed) or len(self.told) >= goal)
            assert not failed, failed

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield come
        finally:
            stop.set()
            thread.join(PATIENCE_S)
        assert not failed or isinstance(failed[0], ConnectionClosed), failed


def wait(condition: Callable[[], bool], about: Callable[[], object] = str) -> None:
    """Wait for a condition; ``about`` says more where it does not come true in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, about()
        time.sleep(0.05)


@contextlib.contextmanager
def serve(data: Path, model: Path, module: str = "server.cli", **environment: str) -> Iterator[Served]:
    clean = {name: value for name, value in os.environ.items() if name.lower() not in Settings.__dataclass_fields__}
    port, log = free_port(), model.parent / f"log-{time.monotonic_ns()}"
    settings = {"PORT": str(port), "DATA_DIR": str(data), "MODEL_PATH": str(model), "PYTHONPATH": str(ROOT)}
    settings["ARCHIVE_FREE_GB"] = "0"  # small disks are none of the archive's troubles here
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve"],
            env=clean | settings | environment,
            cwd=model.parent,
            stdout=file,
            stderr=file,
        )
    served = Served(port, process, log, "CERT_FILE" in environment)

    def is_well() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return served.client.get("/health").status_code == 200
        return False

    try:
        wait(is_well)
        yield served
        if process.poll() is None:
            served.stop()
        lines = log.read_text().splitlines()
        assert len(lines) < MOST_LINES and "Traceback" not in log.read_text(), "\n".join(lines[:100])
    finally:
        process.kill()
        process.wait()
        served.client.close()


def starts_clean(data: Path, model: Path, ids: list[str], **environment: str) -> None:
    """It says that nothing was damaged or lost, leaves nothing half done, and has these parts."""
    with serve(data, model, **environment) as again:
        wait(again.kept(ids))
        said = [words for words in again.health()["warnings"] if "damaged" in words or "lost" in words]
        assert not said, said
        assert not [*data.glob("*.damaged-*"), *data.glob(".*.tmp")]


@contextlib.contextmanager
def mounted(folder: Path, *how: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", *how, str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("a disk can be mounted by root alone")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_that_is_full_for_a_while(tmp_path: Path, model_folder: Path) -> None:
    data = tmp_path / "data"
    with mounted(data, "-t", "tmpfs", "-o", "size=24m", "tmpfs"):
        with serve(data, model_folder) as served, served.parts("a") as come:
            come(20)
            ballast = data / "ballast"
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))
            wait(served.warned("full", "space"), served.warnings)
            come(40)
            answer = served.client.post("/api/cameras", json={"name": "c", "source": "rtsp://127.0.0.1:9/x"})
            assert answer.status_code in (201, 507), answer.text
            ballast.unlink()
            wait(served.kept(list(served.told)))
            wait(lambda: not served.warned("history")(), served.warnings)
        kept = (data / "cameras.json").read_text() if (data / "cameras.json").exists() else ""
        assert ('"c"' in kept) == (answer.status_code == 201), "what cannot be kept is not accepted"
        starts_clean(data, model_folder, list(served.told))


def test_a_disk_that_breaks_and_is_read_only_from_then_on(tmp_path: Path, model_folder: Path) -> None:
    """As ext4 does it when a disk fails: what was open for writing cannot be written either."""
    data, image = tmp_path / "data", tmp_path / "disk"
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not here")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with mounted(data, "-o", "loop,errors=remount-ro", str(image)):
        mounts = [line.split()[:2] for line in Path("/proc/mounts").read_text().splitlines()]
        device = next(Path(what).name for what, where in mounts if where == str(data))
        breaks = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
        if not breaks.exists():
            pytest.skip("this kernel breaks no disk for a test")
        with serve(data, model_folder) as served, served.parts("a") as come:
            made = served.client.post("/api/cameras", json={"name": "kept", "source": "rtsp://127.0.0.1:9/x"})
            assert made.status_code == 201
            come(20)
            accepted = served.before(time.monotonic())
            wait(lambda: len(served.before(time.monotonic())) >= 20)
            accepted = served.before(time.monotonic())
            breaks.write_text("1")
            wait(served.warned("read-only", "readonly", "cannot be written"), served.warnings)
            come(40)
            refused = served.client.post("/api/cameras", json={"name": "lost", "source": "rtsp://127.0.0.1:9/x"})
            assert refused.status_code == 507
    subprocess.run(["fsck.ext4", "-p", str(image)], check=False, capture_output=True)
    with mounted(data, "-o", "loop", str(image)):
        starts_clean(data, model_folder, accepted)
        assert "kept" in (data / "cameras.json").read_text()


def test_a_disk_that_is_read_only_at_the_start(tmp_path: Path, model_folder: Path) -> None:
    data = tmp_path / "data"
    with mounted(data, "-t", "tmpfs", "-o", "size=24m,ro", "tmpfs"):
        with serve(data, model_folder) as served, served.parts("a") as come:
            wait(served.warned("read-only", "readonly", "cannot be written"), served.warnings)
            come(20)
            subprocess.run(["mount", "-o", "remount,rw", str(data)], check=True)
            come(20)
            wait(served.kept(list(served.told)))
        starts_clean(data, model_folder, list(served.told))


def test_no_descriptor_is_left(tmp_path: Path, model_folder: Path) -> None:
    few = {"DESCRIPTORS": "90"}
    with serve(tmp_path / "data", model_folder, "tests.server.few_descriptors", **few) as served:
        with served.parts("a") as come, contextlib.ExitStack() as peers:
            come(20)
            used = len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))
            for _ in range(120 - used):
                peers.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            wait(lambda: len(list(Path(f"/proc/{served.process.pid}/fd").iterdir())) >= 88)
            come(60)
            wait(lambda: "no file descriptor is left" in served.log.read_text())
            peers.close()
            wait(served.kept(list(served.told)))
        assert served.client.get("/").status_code == 200
    starts_clean(tmp_path / "data", model_folder, list(served.told))


@pytest.fixture(scope="session")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What puts a process' clock forward and back."""
    compiler, library = shutil.which("cc"), tmp_path_factory.mktemp("clock") / "clock.so"
    if compiler is None:
        pytest.skip("there is no C compiler here")
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def own_certificate(folder: Path) -> tuple[Path, Path, datetime]:
    """A certificate of the operator's own, its key, and when it expires."""
    now, names = datetime.now(UTC), authority.parse_names(["127.0.0.1"])
    pair = authority.issue(authority.make(names, now), names, now)
    cert, key = folder / "own.crt", folder / "own.key"
    cert.write_bytes(pair.certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key.write_bytes(pair.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return cert, key, pair.certificate.not_valid_after_utc


def test_a_clock_that_jumps_and_a_certificate_that_expires_by_it(
    tmp_path: Path, model_folder: Path, jumping: Path
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0")
    cert, key, expires = own_certificate(tmp_path)
    environment = {"LD_PRELOAD": str(jumping), "CLOCK_OFFSET": str(offset)}
    secure = environment | {"CERT_FILE": str(cert), "KEY_FILE": str(key)}

    def jump(days: float) -> None:
        offset.with_suffix(".new").write_text(str(int(days * 86400)))
        offset.with_suffix(".new").replace(offset)

    data = tmp_path / "data"
    with serve(data, model_folder, **secure) as served, served.parts("a") as come:
        come(10)
        jump((expires - datetime.now(UTC)).days + 2)
        wait(served.warned("expired"), served.warnings)
        come(10)
        jump(-400)
        wait(lambda: not served.warned("expired")(), served.warnings)
        come(10)
        jump(0)
        come(10)
        wait(served.kept(list(served.told)))
    starts_clean(data, model_folder, list(served.told), **environment)


def test_a_database_that_is_gone_for_a_while(tmp_path: Path, model_folder: Path) -> None:
    pytest.importorskip("asyncpg")
    with running_postgresql(durable=True) as postgresql:
        if postgresql is None:
            pytest.skip("PostgreSQL is not installed: python -m tests.equipment")
        _gone_for_a_while(postgresql, tmp_path / "data", model_folder)


def _gone_for_a_while(postgresql: PostgreSQL, data: Path, model_folder: Path) -> None:
    address = postgresql.database()
    who = f"{address.user}:{quote(str(address.password), safe='')}"
    url = f"postgresql://{who}@{address.host}:{address.port}/{address.database}"
    with serve(data, model_folder, DATABASE_URL=url) as served:
        with served.parts("a") as come:
            come(20)
            postgresql.kill()
            wait(served.warned("history"), served.warnings)
            assert str(address.password) not in json.dumps(served.health())
            come(40)
        served.stop()  # while it is gone: what was told waits on disk
    postgresql.start()
    starts_clean(data, model_folder, list(served.told), DATABASE_URL=url)
