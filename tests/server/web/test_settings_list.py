"""``GET /api/settings``: every setting, where it comes from, and never a secret."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from server.app import create_app
from server.https import Certificates, Fresh
from server.settings import SECRET, PulledCamera, Settings, read_settings
from server.web.settings_list import ABOUT
from tests.running import ROOT

NOWHERE = Path("/nonexistent/.env")
CODE = "a code nobody guesses"
CERTIFICATES = Certificates(Path("s.pem"), Path("s.pem"), Path("ca.crt"), "AB:CD", 1, datetime(2030, 1, 1, tzinfo=UTC))


async def told(settings: Settings, code: str | None = None, certificates: Certificates | None = None) -> dict[str, Any]:
    app = create_app(settings, code=code, certificates=certificates, make_model=lambda: None)  # type: ignore[arg-type, return-value]
    headers = {"Authorization": f"Bearer {code}"} if code else {}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as client:
        answer = await client.get("/api/settings")
        assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
        for secret in ("s3cret", CODE):
            assert secret not in answer.text
        body: dict[str, Any] = answer.json()
        return body


def by_name(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {setting["name"]: setting for setting in body["settings"]}


def test_every_setting_is_told_and_stands_in_the_readme() -> None:
    names = [field.name.upper() for field in fields(Settings) if field.name != "came_from"]
    assert sorted(ABOUT) == sorted(names) and set(SECRET) <= set(names)
    readme = (ROOT / "README.md").read_text()
    for name, about in ABOUT.items():
        assert f"`{name}`" in readme
        assert about.endswith(".") and len(about) < 120 and about.count(".") == 1 + about.count(" .")


async def test_where_each_comes_from(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("WORKERS=3\nPORT=9000\nMODEL_CATEGORY='wide bottle'\nWATCHDOG_S=5\n")
    environment = {"PORT": "9001", "SILENT_AFTER_S": "0.5", "WATCHDOG_S": "", "HTTPS": "no", "HOST": "127.0.0.2"}
    settings = read_settings(environment, file, {"HOST": "127.0.0.1"})
    assert settings.host == "127.0.0.1"
    found = by_name(await told(replace(settings, data_dir=tmp_path)))
    expected = {
        "HOST": ("127.0.0.1", "command line"),
        "PORT": ("9001", "environment"),
        "SILENT_AFTER_S": ("0.5", "environment"),
        "HTTPS": ("false", "environment"),
        "WORKERS": ("3", ".env"),
        "MODEL_CATEGORY": ("wide bottle", ".env"),
        "WATCHDOG_S": ("4", "default"),  # empty in the environment: unset
        "MAX_FRAME_AGE_MS": ("2000", "default"),
        "THRESHOLD": (None, "default"),
        "CAMERAS": (None, "default"),
        "CALIBRATE_PER": ("all", "default"),
    }
    assert {name: (found[name]["value"], found[name]["from"]) for name in expected} == expected


async def test_no_secret_is_told(tmp_path: Path) -> None:
    environment = {
        "ACCESS_CODE": CODE,
        "CAMERAS": '[{"name": "press", "source": "rtsp://operator:s3cret@10.0.0.7/live"}]',
        "ICE_SERVERS": "turn:user:s3cret@turn.plant:3478",
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://line:s3cret@127.0.0.1:1/history",
    }
    found = by_name(await told(read_settings(environment, NOWHERE), CODE))
    for name in SECRET:
        assert found[name] == found[name] | {"value": "***", "secret": True, "from": "environment"}
    assert not any(setting["secret"] for name, setting in found.items() if name not in SECRET)


async def test_a_stranger_is_told_nothing(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, host="0.0.0.0"), code=CODE)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client:
        for method, path in (
            ("GET", "/api/settings"),
            ("GET", "/api/cameras"),
            ("POST", "/api/cameras"),
            ("POST", "/api/cameras/test"),
            ("DELETE", "/api/cameras/press"),
        ):
            assert (await client.request(method, path)).status_code == 401


async def test_another_site_s_page_adds_and_tries_nothing(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client:
        for path in ("/api/cameras", "/api/cameras/test"):
            asked = await client.post(path, json={"name": "x", "source": "http://10.0.0.1/"}, headers=headers)
            assert asked.status_code == 403


async def test_where_others_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.phone.reachable", lambda host: ["10.0.0.5", "fd00::5"])
    here = Settings(data_dir=tmp_path)
    assert (await told(here))["addresses"] == []
    monkeypatch.chdir(tmp_path)
    body = await told(replace(here, host="0.0.0.0", server_names=("line4.plant", "10.0.0.5")), CODE)
    assert body["addresses"] == ["http://line4.plant:8000/", "http://10.0.0.5:8000/", "http://[fd00::5]:8000/"]
    assert body["https"] == {"on": False, "by": None, "made_here": False, "fingerprint": None}
    assert (body["data_dir"], body["env_file"]) == (str(tmp_path), str(tmp_path / ".env"))
    assert body["machine"] and body["version"]
    body = await told(replace(here, host="0.0.0.0", https=True), CODE, CERTIFICATES)
    assert body["addresses"][0] == "https://10.0.0.5:8000/"
    assert body["https"] == {"on": True, "by": "server", "made_here": True, "fingerprint": "AB:CD"}
    own = replace(CERTIFICATES, ca_path=None)
    assert (await told(replace(here, cert_file=Path("mine.pem")), certificates=own))["https"]["made_here"] is False
    proxied = read_settings({"PUBLIC_URL": "https://plant.example/line4/", "DATA_DIR": str(tmp_path)}, NOWHERE)
    body = await told(proxied, CODE, CERTIFICATES)
    assert body["addresses"] == ["https://plant.example/line4/"]
    assert body["https"] == {"on": True, "by": "proxy", "made_here": False, "fingerprint": None}
    assert by_name(body)["PUBLIC_URL"]["value"] == "https://plant.example/line4/"


async def test_the_fingerprint_is_that_of_what_is_served_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.phone.reachable", lambda host: ["10.0.0.5"])
    settings = Settings(data_dir=tmp_path, host="0.0.0.0", https=True)
    app = create_app(settings, code=CODE, certificates=CERTIFICATES, make_model=lambda: None)  # type: ignore[arg-type, return-value]
    renewed = replace(CERTIFICATES, fingerprint="EF:01", serial=2)
    context: Any = SimpleNamespace(load_cert_chain=lambda *paths: None)
    fresh = Fresh(context, app.state.in_service, lambda: renewed)
    headers = {"Authorization": f"Bearer {CODE}"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as client:
        for fingerprint in ("AB:CD", "EF:01"):
            assert (await client.get("/api/settings")).json()["https"]["fingerprint"] == fingerprint
            assert f"<code>{fingerprint}</code>" in (await client.get("/phone")).text
            await fresh.look()


async def test_lists_are_told_as_they_would_be_written(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, server_names=("a", "b"), model_path=Path("models/bottle"), threshold=12.5)
    found = by_name(await told(settings, CODE))
    assert [found[name]["value"] for name in ("SERVER_NAMES", "MODEL_PATH", "THRESHOLD")] == [
        "a, b",
        "models/bottle",
        "12.5",
    ]
    assert found["RAY_REPLICAS"]["value"] == "1-8"
    hidden = Settings(data_dir=tmp_path, cameras=(PulledCamera("press", "rtsp://u:s3cret@camera/"),))
    assert by_name(await told(hidden))["CAMERAS"]["value"] == "***"
