"""The sender against a real WebSocket server on loopback that dies, comes back, stays silent and refuses."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, pairwise

import cv2
import numpy as np
import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from server.camera_process import websocket_sender
from server.camera_process.sender import Destination, Totals
from server.camera_process.websocket_sender import ANSWER_S, GONE_S, SHOWN_S, WebSocketSender, Window
from server.cameras.backoff import Backoff
from server.cameras.camera import CapturedFrame
from server.words import messages
from tests.server.camera_fakes import Feed, free_port, grey, picture, wait_until


def result(
    stream: str, inspected: int, raw_score: float = 1.0, dropped: int = 0, anomalies: int = 0
) -> messages.Result:
    is_anomaly = raw_score > 2
    return messages.Result(
        stream=stream,
        seq=inspected - 1,
        score=raw_score / 4,
        raw_score=raw_score,
        threshold=2.0,
        threshold_source="model",
        is_anomaly=is_anomaly,
        verdict="ANOMALY" if is_anomaly else "NORMAL",
        received=inspected + dropped,
        inspected=inspected,
        dropped=dropped,
        failed=0,
        anomalies=anomalies,
        latency_ms=1.0,
        at="2026-11-26T10:00:00.000+00:00",
        recipe="given",
        recipe_version=1,
        model="a" * 64,
        heatmap=messages.Heatmap(1, 1, "AA=="),
    )


Handler = Callable[["Inspection", ServerConnection], None]


class Inspection:
    """A server that answers each frame: grey above 150 is an anomaly."""

    def __init__(self, port: int, handler: Handler, refuse: tuple[int, str] | None = None) -> None:
        self.received: list[int] = []
        self.requests: list[Request] = []
        self.connections: list[ServerConnection] = []
        self._refuse = refuse
        self._server: Server = serve(
            lambda connection: handler(self, connection), "127.0.0.1", port, process_request=self._look
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _look(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        self.connections.append(connection)
        return connection.respond(*self._refuse) if self._refuse else None

    def receive(self, connection: ServerConnection) -> int:
        data = connection.recv()
        assert isinstance(data, bytes)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        self.received.append(grey(np.asarray(image, np.uint8)))
        return self.received[-1]

    def die(self) -> None:
        """As a killed process does: no farewell on any connection."""
        for connection in self.connections:
            with suppress(OSError):  # closed before
                connection.socket.shutdown(socket.SHUT_RDWR)
        self._server.shutdown()
        self._thread.join()


def answer_all(server: Inspection, connection: ServerConnection) -> None:
    anomalies = 0
    for inspected in count(1):
        raw_score = 3.0 if server.receive(connection) > 150 else 1.0
        anomalies += raw_score > 2
        connection.send(messages.encode(result("press", inspected, raw_score, anomalies=anomalies)))


def answer_nothing(server: Inspection, connection: ServerConnection) -> None:
    while True:
        server.receive(connection)


def close_with(code: int, reason: str = "") -> Handler:
    def handler(server: Inspection, connection: ServerConnection) -> None:
        server.receive(connection)
        connection.close(code, reason)

    return handler


@contextmanager
def inspection(port: int, handler: Handler = answer_all, refuse: tuple[int, str] | None = None) -> Iterator[Inspection]:
    server = Inspection(port, handler, refuse)
    try:
        yield server
    finally:
        server.die()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def sender(port: int, caplog: pytest.LogCaptureFixture) -> Iterator[WebSocketSender]:
    caplog.set_level(logging.INFO, "defectvision.camera")
    destination = Destination(f"http://127.0.0.1:{port}", "press", code="open-sesame")
    sender = WebSocketSender(destination, backoff=Backoff(0.01, 0.04))
    yield sender
    sender.stop()
    assert sender.ended.wait(1)


def test_it_sends_pictures_and_tells_when_the_verdict_changes(
    port: int, sender: WebSocketSender, caplog: pytest.LogCaptureFixture
) -> None:
    with inspection(port) as server, Feed(sender) as feed:
        sender.start()
        wait_until(lambda: sender.totals.inspected >= 10)
        feed.value = 200
        wait_until(lambda: sender.totals.anomalies >= 3)
    request = server.requests[0]
    assert request.path == "/ws/stream?name=press"
    assert request.headers["Authorization"] == "Bearer open-sesame"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert set(server.received) == {50, 200}
    told = [record.getMessage() for record in caplog.records if "verdict" in record.getMessage()]
    assert told == [
        "verdict NORMAL: raw score 1, threshold 2",
        "verdict ANOMALY: raw score 3, threshold 2",
    ]
    assert "open-sesame" not in caplog.text


def test_it_comes_back_after_the_server_died_and_logs_each_change_once(
    port: int, sender: WebSocketSender, caplog: pytest.LogCaptureFixture
) -> None:
    with Feed(sender):
        sender.start()
        with inspection(port):
            wait_until(lambda: sender.totals.inspected >= 3)
        before = sender.totals.inspected
        with inspection(port):
            wait_until(lambda: sender.totals.inspected >= before + 3)
        with inspection(port, close_with(1012)):
            wait_until(lambda: "restarting" in caplog.text or caplog.text.count("away") >= 2)
    links = [record.getMessage() for record in caplog.records if "server http" in record.getMessage()]
    kinds = [line.split(": ")[1].split()[0] for line in links]
    assert kinds[0] == "connecting"
    assert "back" in kinds
    assert all(first != second for first, second in pairwise(kinds)), kinds


def test_no_more_than_two_frames_are_unanswered(port: int, sender: WebSocketSender) -> None:
    with inspection(port, answer_nothing) as server, Feed(sender) as feed:
        sender.start()
        wait_until(lambda: len(server.received) == 2)
        wait_until(lambda: feed.number > 60)
        assert len(server.received) == sender.totals.sent == 2


def test_frames_the_server_dropped_are_settled_by_its_counters(port: int, sender: WebSocketSender) -> None:
    def drops_every_first(server: Inspection, connection: ServerConnection) -> None:
        for inspected in range(1, 1000):
            server.receive(connection)
            server.receive(connection)
            connection.send(messages.encode(result("press", inspected, dropped=inspected)))

    with inspection(port, drops_every_first), Feed(sender):
        sender.start()
        wait_until(lambda: sender.totals.inspected >= 10)
    assert sender.totals.dropped >= 10


def test_errors_are_counted_and_unknown_messages_ignored(port: int, sender: WebSocketSender) -> None:
    def answers(server: Inspection, connection: ServerConnection) -> None:
        for failed in range(1, 1000):
            server.receive(connection)
            connection.send('{"type": "news", "of": "a later version"}')
            connection.send("no JSON")
            connection.send(messages.encode(messages.Status("press", "live")))
            connection.send(messages.encode(messages.Error("press", failed - 1, "torn", failed, 0, 0, failed)))

    with inspection(port, answers), Feed(sender):
        sender.start()
        wait_until(lambda: sender.totals.failed >= 5)


def test_what_waited_through_an_outage_is_not_sent(port: int, sender: WebSocketSender) -> None:
    sender.offer(CapturedFrame(1, picture(200), 0.0))
    with inspection(port) as server:
        sender.start()
        wait_until(lambda: server.requests)
        with Feed(sender) as feed:
            feed.number = 1
            wait_until(lambda: sender.totals.inspected >= 2)
    assert set(server.received) == {50}


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [(4001, "", "took over stream press: give each camera its own --name"), (1008, "bad name", "bad name")],
)
def test_it_gives_up_when_the_server_sends_it_away(
    port: int, sender: WebSocketSender, code: int, reason: str, told: str
) -> None:
    with inspection(port, close_with(code, reason)) as server, Feed(sender):
        sender.start()
        assert sender.ended.wait(5)
        assert len(server.requests) == 1
    assert told in (sender.error or "")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, '{"error": "wrong access code"}', "wrong access code; give it in ACCESS_CODE or with --code"),
        (403, "no JSON", "refuses this camera: HTTP status 403"),
    ],
)
def test_it_gives_up_without_the_right_access_code(
    port: int, sender: WebSocketSender, status: int, body: str, told: str
) -> None:
    with inspection(port, refuse=(status, body)):
        sender.start()
        assert sender.ended.wait(5)
    assert told in (sender.error or "")


@pytest.mark.parametrize(
    ("status", "told"), [(404, "no DefectVision server at this address"), (503, "HTTP status 503")]
)
def test_it_tries_again_when_the_server_is_not_ready(
    port: int, sender: WebSocketSender, status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with inspection(port, refuse=(status, "later")) as server:
        sender.start()
        wait_until(lambda: len(server.requests) >= 3)
    assert told in caplog.text
    assert caplog.text.count("away") == 1


def test_frames_that_are_too_large_are_told_and_do_not_fill_the_log(
    port: int, sender: WebSocketSender, caplog: pytest.LogCaptureFixture
) -> None:
    with inspection(port, close_with(1009)) as server, Feed(sender):
        sender.start()
        wait_until(lambda: len(server.requests) >= 3)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("defectvision")]
    assert sum("away" in line for line in ours) == 1  # the test's own server may say "going away" as it ends
    assert "lower --quality" in caplog.text


def test_one_more_frame_may_go_when_no_answer_comes() -> None:
    window = Window()
    for now in (0.0, 0.1):
        assert window.wait(now) == 0
        window.note_sent(now)
    assert window.wait(0.1) == pytest.approx(ANSWER_S)
    assert window.wait(0.1 + ANSWER_S) == 0
    window.note_sent(5.0)
    assert window.wait(5.0) == pytest.approx(ANSWER_S)
    window.counters.note(result("press", inspected=1, dropped=1), Totals())
    assert window.wait(5.0) == 0


def test_a_stream_that_is_taught_is_shown_what_moves(
    port: int, sender: WebSocketSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers no frame, and one every two seconds looks like parts that lie still."""

    def teaches(server: Inspection, connection: ServerConnection) -> None:
        connection.send(messages.encode(messages.Heartbeat("press", "", "teaching", None, None, None)))
        answer_nothing(server, connection)

    monkeypatch.setattr(websocket_sender, "ANSWER_S", 1e6)
    with inspection(port, teaches) as server, Feed(sender):
        sender.start()
        wait_until(lambda: len(server.received) >= 8)


def test_a_window_is_as_before_once_a_stream_is_inspected_again() -> None:
    window = Window(is_taught=True)
    for _ in range(3):
        window.note_sent(1.0)
    assert window.wait(1.0) == pytest.approx(SHOWN_S)
    window.is_taught = False
    assert window.wait(1.0) == pytest.approx(ANSWER_S)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_a_server_that_lost_its_power_is_not_sent_to_for_a_quarter_of_an_hour(port: int) -> None:
    sender = WebSocketSender(Destination(f"http://127.0.0.1:{port}", "press"))
    with inspection(port), sender._connect() as connection:
        assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GONE_S * 1000
