"""What a service manager is told, by a socket of the test's own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.ground import ServiceManager

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no unix sockets")


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_it_hears_words_one_a_line(heard: socket.socket) -> None:
    ServiceManager.of({"NOTIFY_SOCKET": heard.getsockname()}).tell(READY=1, STATUS="inspects\nWATCHDOG=trigger  it")
    assert heard.recv(4096) == b"READY=1\nSTATUS=inspects WATCHDOG=trigger it"


def test_an_abstract_socket_is_reached() -> None:
    if sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0defectvision-test-" + str(os.getpid()))
        listening.settimeout(5)
        ServiceManager("@defectvision-test-" + str(os.getpid())).tell(WATCHDOG=1)
        assert listening.recv(100) == b"WATCHDOG=1"


def test_a_long_word_is_cut_and_a_manager_that_is_gone_or_busy_holds_nobody_up(heard: socket.socket) -> None:
    manager = ServiceManager(heard.getsockname())
    manager.tell(STATUS="é\udcff" * 9000)
    assert len(heard.recv(100_000)) == 4096
    for _ in range(2000):  # nobody reads
        manager.tell(WATCHDOG=1)
    ServiceManager("/nowhere/at/all").tell(READY=1)
    ServiceManager("/" + "x" * 500).tell(READY=1)


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "30000000"}, 30.0),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/run/a", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "5"}, None),
    ],
)
def test_the_watchdog_is_as_the_environment_says(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert ServiceManager.of(environment).watchdog_s == watchdog_s
