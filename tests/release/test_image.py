"""The container, built and run as its own user. It takes minutes: ``make image-test``."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.images import BUILD_S, Built, built, missing
from tests.running import free_port, wait_healthy

HEALTHY_S = 180

pytestmark = [
    pytest.mark.skipif("IMAGE_TEST" not in os.environ, reason="takes minutes: make image-test"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing"),
    pytest.mark.timeout(2 * BUILD_S),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with built(tmp_path_factory.mktemp("image")) as one:
        yield one


def test_it_holds_no_tools_and_no_source(image: Built) -> None:
    home = image.root / "opt/defectvision"
    names = {path.name for path in (home / "bin").iterdir()}
    assert "defectvision" in names
    assert not names & {"pip", "pip3", "hatchling"}
    packages = {path.name.partition("-")[0] for path in home.glob("lib/python*/site-packages/*.dist-info")}
    assert {"defectvision", "asyncua", "pyarrow"} <= packages
    assert not packages & {"pip", "hatchling", "pytest"}
    assert not (image.root / "source").exists()
    assert not (image.root / "opt/tools").exists()
    assert not [name for name in ("gcc", "cc", "make") if (image.root / "usr/bin" / name).exists()]


def test_it_is_its_own_user_and_says_how_it_is(image: Built) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.config["Cmd"] == ["defectvision", "serve"]
    assert image.config["Volumes"] == {"/data": {}}
    assert image.config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "server.healthcheck"]


def test_it_becomes_healthy_on_a_read_only_file_system_and_stops(image: Built, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 10001, 10001)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)  # pytest's folders are for root alone
    port = free_port()
    settings = {"PORT": str(port), "HOST": "127.0.0.1"}
    process = subprocess.Popen(
        image.command(image.config["Cmd"], data, settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_healthy(address, process, HEALTHY_S)
        healthcheck = subprocess.run(
            image.command(image.config["Healthcheck"]["Test"][1:], data, settings), check=False
        )
        assert healthcheck.returncode == 0
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "\nUid:\t10001\t10001\t10001\t10001\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nCapBnd:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status
        with urllib.request.urlopen(f"{address}/", timeout=10) as page:
            assert b"DefectVision" in page.read()
        refused = subprocess.run(
            image.command(["touch", "/opt/defectvision/x"], data, {}), capture_output=True, text=True
        )
        assert "Read-only file system" in refused.stderr
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait(10)
    again = subprocess.run(image.command(image.config["Healthcheck"]["Test"][1:], data, settings), check=False)
    assert again.returncode == 1
