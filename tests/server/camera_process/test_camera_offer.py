"""What the sender makes of each HTTP answer, from a server that answers the same to everything."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from server.camera_process.offer import IceServer, answer, ice_servers
from server.camera_process.sender import AwayError, Destination, GiveUpError


@dataclass
class Asked:
    method: str
    path: str
    code: str | None
    body: bytes


@dataclass
class Site:
    status: int
    body: bytes
    url: str = ""
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def site(status: int, body: bytes) -> Iterator[Site]:
    here = Site(status, body)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            here.asked.append(
                Asked(self.command, self.path, self.headers.get("Authorization"), self.rfile.read(length))
            )
            self.send_response(here.status)
            self.end_headers()
            self.wfile.write(here.body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield here
        finally:
            server.shutdown()


def test_the_ice_servers_are_those_the_server_names() -> None:
    health = {
        "status": "teaching",
        "ice_servers": [{"urls": "stun:a:1"}, {"urls": "turn:b", "username": "u", "credential": "p"}],
    }
    with site(503, json.dumps(health).encode()) as here:
        servers = ice_servers(Destination(f"{here.url}/behind/a/proxy", "press", code="sesame"))
    assert servers == (IceServer("stun:a:1"), IceServer("turn:b", "u", "p"))
    assert here.asked == [Asked("GET", "/behind/a/proxy/health", "Bearer sesame", b"")]


def test_without_a_word_there_are_no_ice_servers() -> None:
    with site(200, b'{"status": "ok"}') as here:
        assert ice_servers(Destination(here.url, "press")) == ()
    assert here.asked[0].code is None


def test_an_offer_is_answered() -> None:
    with site(200, b'{"sdp": "theirs", "type": "answer", "name": "press"}') as here:
        assert answer(Destination(here.url, "press"), "ours") == "theirs"
    (asked,) = here.asked
    assert (asked.method, asked.path) == ("POST", "/webrtc/offer")
    assert json.loads(asked.body) == {"type": "offer", "sdp": "ours", "name": "press"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (401, '{"error": "wrong access code"}', GiveUpError, "wrong access code; give it in ACCESS_CODE or with"),
        (403, '{"error": "open on its own machine"}', GiveUpError, "refuses this camera: open on its own machine"),
        (422, '{"error": "a bad name"}', GiveUpError, "refuses this camera: a bad name"),
        (404, "nothing here", AwayError, "no DefectVision server at this address"),
        (200, "<html>a web site</html>", AwayError, "no DefectVision server at this address"),
        (429, '{"error": "too many wrong access codes"}', AwayError, "too many wrong access codes"),
        (503, '{"error": "32 senders already"}', AwayError, "32 senders already"),
        (502, "<html>a proxy</html>", AwayError, "HTTP status 502"),
    ],
)
def test_refusals_are_told_and_give_up_only_where_a_person_is_needed(
    status: int, body: str, kind: type[Exception], told: str
) -> None:
    with site(status, body.encode()) as here:
        destination = Destination(here.url, "press")
        with pytest.raises(kind, match=told):
            ice_servers(destination)
        with pytest.raises(kind, match=told):
            answer(destination, "ours")


def test_what_speaks_no_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        threading.Thread(target=talk).start()
        with pytest.raises(AwayError, match="no HTTP answer"):
            ice_servers(Destination(f"http://127.0.0.1:{listener.getsockname()[1]}", "press"))
