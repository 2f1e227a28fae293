"""What a page is told that gets no WebSocket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.ground import PublicURL
from server.settings import Settings
from tests.server.fakes import FakeModel

CODE = "7KQ2-M9XR-4TBD"
HANDSHAKE_WITHOUT_UPGRADE = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}


def client(data_dir: Path, *, public_url: str | None = None, host: str = "plant.example") -> TestClient:
    settings = Settings(data_dir=data_dir, public_url=PublicURL.parse(public_url) if public_url else None)
    app = create_app(settings, code=CODE, make_model=FakeModel)  # type: ignore[arg-type]
    return TestClient(app, base_url=f"http://{host}", client=("10.0.0.1", 50000), follow_redirects=False)


def asked(server: TestClient, page: str) -> dict[str, Any]:
    answer = server.get("/api/connection", params={"page": page})
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    ("page", "host", "public_url"),
    [
        ("http://plant.example/", "plant.example", None),
        ("https://plant.example/line4/", "plant.example", None),
        ("https://plant.example/line4/", "plant.example", "https://plant.example/line4"),
        ("https://plant.example/line4/", "127.0.0.1:8000", "https://plant.example/line4"),
        ("http://10.0.0.7:8000/", "10.0.0.7:8000", "https://plant.example/line4"),
    ],
)
def test_nothing_is_in_the_way(tmp_path: Path, page: str, host: str, public_url: str | None) -> None:
    body = asked(client(tmp_path, public_url=public_url, host=host), page)
    assert body == {"host": host, "access": False, "problem": None, "refusal": None}


def test_a_proxy_that_changes_host_is_named_with_what_to_do(tmp_path: Path) -> None:
    problem = asked(client(tmp_path, host="127.0.0.1:8000"), "https://plant.example/line4/")["problem"]
    assert "changes the Host header" in problem
    assert "127.0.0.1:8000" in problem and "PUBLIC_URL=https://plant.example/line4/" in problem


def test_a_public_url_that_is_not_the_pages_is_named(tmp_path: Path) -> None:
    server = client(tmp_path, public_url="https://plant.example/line4")
    assert "PUBLIC_URL is https://plant.example/line4/" in asked(server, "https://plant.example/line5/")["problem"]
    assert "PUBLIC_URL is https://plant.example/line4/" in asked(server, "http://plant.example/line4/")["problem"]


@pytest.mark.parametrize("path", ["/ws/stream?name=a", "/ws/live/a?picture=1"])
def test_a_websocket_without_upgrade_is_told_so_and_then_the_page_is(tmp_path: Path, path: str) -> None:
    server = client(tmp_path)
    assert asked(server, "http://plant.example/")["problem"] is None
    answer = server.get(path)
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert "Upgrade" in answer.json()["error"] and "docs/proxies.md" in answer.json()["error"]
    assert asked(server, "http://plant.example/")["problem"] is None, "somebody typed that address"
    assert server.get(path, headers=HANDSHAKE_WITHOUT_UPGRADE).status_code == 426
    assert "does not pass WebSockets on" in asked(server, "http://plant.example/")["problem"]


@pytest.mark.parametrize("page", ["", "x", "https://", "https://plant.example/?a=b", "file:///x", "h" * 3000])
def test_nonsense_is_no_problem(tmp_path: Path, page: str) -> None:
    assert asked(client(tmp_path), page)["problem"] is None
