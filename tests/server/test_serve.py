"""Start and stop, in this process and as the command a user runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from server import cli, healthcheck, logs
from server.ground import network_address
from server.serve import MAX_UNSENT, _announce, listen
from server.settings import Settings, SettingsError
from tests.running import ROOT, command, free_port
from tests.server.fakes import (
    GOOD,
    WAIT_S,
    FakeModel,
    close_code,
    healthy,
    http,
    picture,
    receive,
    receive_result,
    serving,
    until,
)

SHUTDOWN_S = 2.0


async def test_a_shutdown_with_everything_open_is_quick_and_says_come_back(model: FakeModel, tmp_path: Path) -> None:
    async with (
        serving(model, tmp_path) as server,
        http(server) as client,
        connect(f"{server.ws}/ws/stream?name=a") as sender,
        connect(f"{server.ws}/ws/stream?name=idle") as idle,
        connect(f"{server.ws}/ws/live/a") as viewer,
        connect(f"{server.ws}/ws/live/nothing?picture=1") as hmi,
    ):
        await sender.send(GOOD)
        await receive_result(sender)
        model.gate.clear()
        await sender.send(GOOD)
        await sender.send(GOOD)
        predicting = asyncio.create_task(client.post("/predict", files={"file": ("a.png", GOOD)}))
        await until(lambda: model.detected == 2)
        assert await server.stop() < SHUTDOWN_S
        codes = [await close_code(connection) for connection in (sender, idle, viewer, hmi)]
        assert codes == [1012] * 4
        model.gate.set()
        (answer,) = await asyncio.gather(predicting, return_exceptions=True)
        assert isinstance(answer, httpx.TransportError) or answer.status_code >= 500  # type: ignore[union-attr]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_ends_the_command_cleanly(tmp_path: Path, model_folder: Path, number: signal.Signals) -> None:
    port = free_port()
    with command(port, {"MODEL_PATH": str(model_folder)}, tmp_path) as process:
        base = f"ws://127.0.0.1:{port}"
        async with connect(f"{base}/ws/stream?name=a") as sender, connect(f"{base}/ws/live/a") as viewer:
            await receive(viewer)
            await sender.send(GOOD)
            await receive_result(sender)
            seconds = await asyncio.to_thread(_stop, process, number)
            assert [await close_code(sender), await close_code(viewer)] == [1012, 1012]
        assert seconds < SHUTDOWN_S
        assert process.returncode == 0
        assert process.stdout is not None
        output = process.stdout.read()
    assert f"DefectVision is at http://localhost:{port}" in output
    assert "Traceback" not in output
    assert os.listdir(tmp_path) == ["data"], "nothing is written where it was started"  # noqa: PTH208
    ours = {"server.lock", "history.db", "backlog", "archive", "calendar.json"}
    assert set(os.listdir(tmp_path / "data")) <= ours, "but the lock and the history"  # noqa: PTH208


@pytest.mark.parametrize(("name", "value"), [("ACCESS_CODE", "12345678"), ("SERVER_NAMES", "line4.plant.example")])
def test_behind_a_proxy_on_loopback_everybody_is_asked_and_a_login_is_made(
    tmp_path: Path, model_folder: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with command(port, {"MODEL_PATH": str(model_folder), name: value}, tmp_path) as process:
        for host in ("localhost", "line4.plant.example"):
            answer = httpx.get(f"http://127.0.0.1:{port}/api/streams", headers={"Host": host}, trust_env=False)
            assert answer.status_code == 401
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PORT", str(port))
        assert healthcheck.healthy()
        _stop(process, signal.SIGTERM)
        assert process.stdout is not None
        announced = process.stdout.read()
    assert "12345678" not in announced, "it would stand in the journal"
    assert ("Access code: see the setting ACCESS_CODE\n" in announced) is (name == "ACCESS_CODE")
    (password,) = re.findall(r"Log in as admin with the password (\S+)", announced)
    assert not (tmp_path / "data" / "access_code").exists()
    assert password not in (tmp_path / "data" / "access" / "accounts.json").read_text()


def test_a_second_server_on_a_data_directory_is_told_of_the_first_until_that_has_died(
    tmp_path: Path, model_folder: Path
) -> None:
    port = free_port()
    settings = {"MODEL_PATH": str(model_folder)}
    with command(port, settings, tmp_path) as first:
        with pytest.raises(AssertionError) as refusal, command(free_port(), settings, tmp_path):
            pass
        code, _, output = str(refusal.value).removeprefix("the server ended with ").partition(":\n")
        assert code == "2"
        (line,) = output.splitlines()
        assert f"used by another server (process {first.pid} on " in line and f"http://localhost:{port}/" in line
        first.kill()
        first.wait(WAIT_S)
        with command(free_port(), settings, tmp_path):
            pass


def test_a_signal_ends_the_command_while_it_teaches(tmp_path: Path) -> None:
    with command(free_port(), {}, tmp_path, healthy=False) as process:
        assert _stop(process, signal.SIGTERM) < SHUTDOWN_S
        assert process.returncode == 0
        assert process.stdout is not None and "Traceback" not in process.stdout.read()


def _stop(process: subprocess.Popen[str], number: signal.Signals) -> float:
    """Send a signal; seconds until the process has ended."""
    start = time.perf_counter()
    process.send_signal(number)
    process.wait(WAIT_S)
    return time.perf_counter() - start


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "http", "PORT='http' cannot be used"),
        ("THRESHOLD", "-1", "THRESHOLD"),
        ("HOST", "192.0.2.1", "set HOST to one"),
        ("ICE_SERVERS", "nonsense", "ICE_SERVERS"),
    ],
)
def test_a_setting_that_cannot_be_ends_the_command_with_one_sentence(
    name: str,
    value: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("MODEL_PATH", str(tmp_path))
    monkeypatch.setenv("ACCESS_CODE", "12345678")
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(logs, "set_up", lambda: None)
    assert cli.main(["serve"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("defectvision: ") and told in line


def test_a_taken_port_is_told() -> None:
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(SettingsError, match="stop what uses that port, or set another"),
    ):
        listen("127.0.0.1", taken.getsockname()[1])


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=WAIT_S):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(
    not socket.has_dualstack_ipv6(), reason="this system has no IPv6, or no sockets that take both families"
)


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6"),
    [("::", True, True), ("0.0.0.0", True, False), ("::1", False, True), ("127.0.0.1", True, False)],
)
def test_it_listens_on_the_families_its_address_means(host: str, ipv4: bool, ipv6: bool) -> None:
    with listen(host, 0) as listening:
        port = listening.getsockname()[1]
        assert (_connects("127.0.0.1", port), _connects("::1", port)) == (ipv4, ipv6)


@needs_ipv6
@pytest.mark.parametrize("dual_stack", [True, False])
def test_on_every_address_of_both_families_it_says_where_it_is(
    dual_stack: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(network_address, "addresses", lambda: ["192.168.1.20", "fd00::2"])
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: dual_stack)
    _announce(Settings(host="::"), 8000, "12345678", None)
    announced = capsys.readouterr().out
    assert "DefectVision is at http://localhost:8000/ " in announced
    assert ("On the network: http://192.168.1.20:8000/\n" in announced) is dual_stack
    assert ("On the network: http://[fd00::2]:8000/\n" in announced) is not dual_stack
    assert ("takes IPv6 only" in announced) is not dual_stack


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.5", "127.0.0.5"), ("127.0.0.1", "localhost"), ("::1", "localhost")]
)
def test_the_address_it_says_is_one_it_listens_on(host: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    _announce(Settings(host=host), 8000, None, None)
    assert f"DefectVision is at http://{shown}:8000/" in capsys.readouterr().out


@pytest.mark.parametrize("chosen", [None, "12345678"])
@pytest.mark.parametrize("is_read", [True, False])
def test_the_access_code_is_told_to_who_sits_there_and_to_no_journal(
    chosen: str | None, is_read: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_read)
    _announce(Settings(host="127.0.0.1", data_dir=Path("data"), access_code=chosen), 8000, "12345678", None)
    where = "the setting ACCESS_CODE" if chosen else Path("data", "access_code")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Access code")]
    assert line == f"Access code: {'12345678' if is_read else f'see {where}'}"


def test_an_installed_wheel_carries_its_pages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed := tmp_path / "installed")
    for folder in ("static", "templates"):
        here, there = ROOT / folder, installed / "server" / folder
        names = {path.relative_to(here) for path in here.rglob("*") if path.is_file()}
        assert names <= {path.relative_to(there) for path in there.rglob("*")}
    assert not (installed / "tests").exists()
    show = "from server.ground.page_files import page_folder as f; print(f('static')); print(f('templates'))"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    shown = subprocess.run(
        [sys.executable, "-c", show], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert shown.stdout.split() == [str(installed / "server" / "static"), str(installed / "server" / "templates")]


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
    ids=["header", "address", "trailer"],
)
async def test_a_head_without_an_end_is_hung_up_on(model: FakeModel, tmp_path: Path, start: bytes) -> None:
    async with serving(model, tmp_path) as server, asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        reading = asyncio.create_task(reader.read())
        with contextlib.suppress(ConnectionError):
            writer.write(start)
            while not reading.done():
                writer.write(b"a" * 65536)
                await writer.drain()
                await asyncio.sleep(0)
        with contextlib.suppress(ConnectionError):
            await reading
        writer.close()
        assert (await healthy(server))["status"] == "ok"


async def test_an_upload_in_one_large_piece_is_no_head(model: FakeModel, tmp_path: Path) -> None:
    large = picture(50, width=1000, height=1000, suffix=".png") + bytes(2_000_000)
    async with serving(model, tmp_path) as server, http(server) as client:
        assert (await client.post("/predict", files={"file": ("a.png", large)})).status_code == 200


def test_the_system_queues_little_for_a_slow_viewer() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == MAX_UNSENT
