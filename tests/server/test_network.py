"""The real command beyond loopback: https, access code, Origin, the phone page. Everything is asked over loopback."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from server import cli, healthcheck, logs
from server.settings import Settings
from tests.running import ROOT, free_port
from tests.server.fakes import GOOD

CODE = "plant-7-access"


@dataclass
class Secure:
    """A server started as ``make phone`` does."""

    port: int
    data_dir: Path
    announced: str
    context: ssl.SSLContext

    def get(self, path: str, **options: object) -> httpx.Response:
        with httpx.Client(base_url=f"https://localhost:{self.port}", verify=self.context, timeout=20) as client:
            return client.get(path, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def secure(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder, port = tmp_path_factory.mktemp("plant"), free_port()
    clean = {name: value for name, value in os.environ.items() if name.lower() not in Settings.__dataclass_fields__}
    settings = {
        "HOST": "0.0.0.0",
        "PORT": str(port),
        "DATA_DIR": str(folder / "data"),
        "MODEL_PATH": str(model_folder),
        "ACCESS_CODE": CODE,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", "serve", "--https"],
        env=clean | settings,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        announced = ""
        for line in process.stdout:
            announced += line
            if "SHA-256" in line:
                break
        context = ssl.create_default_context()
        with httpx.Client(verify=False, timeout=20) as stranger:  # the authority is fetched as a phone fetches it
            transport_retry(stranger, f"https://127.0.0.1:{port}/ca")
            context.load_verify_locations(cadata=stranger.get(f"https://127.0.0.1:{port}/ca").content)
        server = Secure(port, folder / "data", announced, context)
        while server.get("/health").status_code != 200:
            assert process.poll() is None
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def transport_retry(client: httpx.Client, url: str) -> None:
    """Ask until the server answers: it listens from the start, and answers when it has started."""
    for _ in range(200):
        try:
            client.get(url)
            return
        except httpx.TransportError:
            continue
    raise AssertionError("the server never answered")


def test_it_announces_address_and_fingerprint_and_where_the_code_is(secure: Secure) -> None:
    assert f"DefectVision is at https://localhost:{secure.port}/" in secure.announced
    assert CODE not in secure.announced and "Access code: see the setting ACCESS_CODE" in secure.announced
    assert "SHA-256: " in secure.announced


def test_private_keys_are_private(secure: Secure) -> None:
    keys = [path for path in (secure.data_dir / "certificates").iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert keys
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys)


def test_without_the_code_nothing_opens(secure: Secure) -> None:
    assert secure.get("/api/streams").status_code == 401
    page = secure.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"].split("?")[0]) == (303, "./enter")
    for path in ("/ws/stream", "/ws/live/simulated-line"):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"wss://localhost:{secure.port}{path}", ssl=secure.context, proxy=None, open_timeout=30)
        assert refused.value.response.status_code == 401


def test_the_qr_link_opens_the_page_and_a_cookie_keeps_it_open(secure: Secure) -> None:
    with httpx.Client(base_url=f"https://localhost:{secure.port}", verify=secure.context, timeout=20) as phone:
        answer = phone.get("/", params={"code": CODE}, headers={"Accept": "text/html"})
        assert answer.status_code == 303
        assert "code" not in answer.headers["location"]
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "secure" in cookie
        assert CODE not in cookie
        assert "DefectVision" in phone.get("/", headers={"Accept": "text/html"}).text
        phone_page = phone.get("/phone", headers={"Accept": "text/html"})
        assert phone_page.status_code == 200
        assert "fingerprint" in phone_page.text


def test_a_machine_sends_frames_with_its_bearer_token(secure: Secure) -> None:
    headers = {"Authorization": f"Bearer {CODE}"}
    url = f"wss://localhost:{secure.port}/ws/stream?name=robot"
    with connect(url, ssl=secure.context, additional_headers=headers, proxy=None) as robot:
        robot.send(GOOD)
        assert json.loads(robot.recv(timeout=20))["type"] == "result"


def test_another_web_site_cannot_use_the_cookie(secure: Secure) -> None:
    headers = {"Authorization": f"Bearer {CODE}"}
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"wss://localhost:{secure.port}/ws/stream",
            ssl=secure.context,
            additional_headers=headers,
            origin="https://evil.example",  # type: ignore[arg-type]
            proxy=None,
        )
    assert refused.value.response.status_code == 403


def test_the_container_s_health_check(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(secure.port))
    monkeypatch.setenv("HTTPS", "true")
    assert healthcheck.healthy()
    monkeypatch.setenv("PORT", str(free_port()))
    assert not healthcheck.healthy()


def test_a_private_key_alone_is_refused_rather_than_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "set_up", lambda: None)
    assert cli.main(["serve", "--key", "server.key"]) == 2
    assert "CERT_FILE is not" in capsys.readouterr().err
