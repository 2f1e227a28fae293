"""Which address a phone is offered, and that the QR codes can be read."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

import cv2
import numpy as np
import pytest

from server.ground import network_address
from server.ground.network_address import (
    InterfaceAddress,
    addresses,
    in_order,
    is_any_address,
    is_loopback,
    names,
    page_url,
    qr_svg,
    qr_terminal,
    reachable,
)

URL = "https://192.168.1.20:8443/?code=7KQ2-M9XR-4TBD"


def found(*pairs: tuple[str, str]) -> list[InterfaceAddress]:
    return [InterfaceAddress(interface, ip_address(address)) for interface, address in pairs]


def test_the_address_a_phone_can_reach_comes_first() -> None:
    machine = found(
        ("lo", "127.0.0.1"),
        ("lo", "::1"),
        ("docker0", "172.17.0.1"),
        ("tailscale0", "100.101.102.103"),
        ("eth1", "169.254.9.9"),
        ("eth0", "2001:db8::5"),
        ("eth0", "fd00::2"),
        ("eth0", "fe80::1"),
        ("eth0", "203.0.113.5"),
        ("wlan0", "192.168.1.20"),
        ("vEthernet (WSL)", "172.28.0.1"),
    )
    assert in_order(machine) == [
        "192.168.1.20",
        "203.0.113.5",
        "fd00::2",
        "2001:db8::5",
        "172.17.0.1",
        "100.101.102.103",
        "172.28.0.1",
        "169.254.9.9",
    ]


def test_among_equals_the_default_route_wins_but_a_tunnel_does_not() -> None:
    machine = found(("eth0", "10.0.0.5"), ("eth1", "192.168.1.20"), ("tun0", "10.8.0.2"))
    assert in_order(machine, "192.168.1.20")[0] == "192.168.1.20"
    assert in_order(machine, "10.8.0.2") == ["10.0.0.5", "192.168.1.20", "10.8.0.2"]


def test_this_machine() -> None:
    assert not any(is_loopback(address) for address in addresses())
    assert {"localhost", "127.0.0.1", "::1", *addresses()} <= set(names())
    assert any(name.endswith(".local") for name in names())


MACHINE = ["192.168.1.20", "fd00::2", "172.17.0.1"]


@pytest.mark.parametrize(
    ("host", "dual_stack", "expected"),
    [
        ("0.0.0.0", True, ["192.168.1.20", "172.17.0.1"]),
        ("::", True, MACHINE),
        ("0:0:0:0:0:0:0:0", True, MACHINE),
        ("::", False, ["fd00::2"]),
        ("192.168.1.20", True, ["192.168.1.20"]),
        ("line4", True, ["line4"]),
        ("127.0.0.1", True, []),
        ("::1", True, []),
    ],
)
def test_only_addresses_that_are_listened_on_are_offered(
    host: str, dual_stack: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_address, "addresses", lambda: MACHINE)
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: dual_stack)
    assert reachable(host) == expected


@pytest.mark.parametrize("host", ["", "0", "0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0"])
def test_every_way_to_write_every_address(host: str) -> None:
    assert is_any_address(host)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("https", "192.168.1.20", 8443), "https://192.168.1.20:8443/"),
        (("https", "fd00::2", 443), "https://[fd00::2]/"),
        (("http", "localhost", 80), "http://localhost/"),
        (("http", "localhost", 443), "http://localhost:443/"),
    ],
)
def test_page_url(parts: tuple[str, str, int], expected: str) -> None:
    assert page_url(*parts) == expected


def read_qr(modules: np.ndarray) -> str:
    """What a scanner reads; `modules` is 2-D, True where light."""
    picture = np.kron(np.pad(modules, 4, constant_values=True), np.ones((8, 8))).astype(np.uint8) * 255
    return cv2.QRCodeDetector().detectAndDecode(picture)[0]


def test_the_code_in_the_terminal_can_be_scanned() -> None:
    rows = []
    for line in qr_terminal(URL).splitlines():
        text = re.fullmatch(r"\x1b\[97;40m(.*)\x1b\[0m", line)
        assert text is not None, "light on dark, whatever the terminal's own colours are"
        rows += [[c in "█▀" for c in text[1]], [c in "█▄" for c in text[1]]]
    assert read_qr(np.array(rows)) == URL


def test_the_code_on_the_page_can_be_scanned() -> None:
    svg = qr_svg(URL)
    assert svg.startswith("<svg") and "script" not in svg
    size = int(re.search(r'fill="#fff" d="M0 0h(\d+)', svg)[1])  # type: ignore[index]
    light = np.ones((size, size), dtype=bool)
    x = y = 0.0
    path = re.search(r'stroke="#000" d="([^"]+)"', svg)[1]  # type: ignore[index]
    for command, first, second in re.findall(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?", path):
        if command == "h":
            light[int(y), int(x) : int(x + float(first))] = False
            x += float(first)
        else:
            x, y = (float(first), float(second)) if command == "M" else (x + float(first), y + float(second))
    assert read_qr(light) == URL
