"""Addresses and names under which this machine can be reached, best first, and QR codes for phones."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import ifaddr
import segno

_PRIVATE_IPV4 = tuple(IPv4Network(n) for n in ("192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12"))
_UNIQUE_LOCAL_IPV6 = IPv6Network("fc00::/7")
# Container bridges, virtual machines and tunnels: a phone on the same Wi-Fi does not get through these.
_VIRTUAL_INTERFACE = re.compile(
    r"(docker|br-|veth|virbr|vmnet|vboxnet|vethernet|hyper-v|virtual|cni|flannel|cali|lxc|lxd|podman|kube"
    r"|tun|tap|wg|utun|ppp|tailscale|zt|bridge\d|awdl|llw)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class InterfaceAddress:
    """One address of one network interface."""

    interface: str
    address: IPv4Address | IPv6Address


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reachable from this machine only.

    True for ``localhost``, ``127.0.0.0/8`` and ``::1`` (brackets allowed). Addresses that mean "every
    interface" (an empty string, ``0.0.0.0``, ``::``) and every other name are not loopback.
    """
    bare = host.strip().removeprefix("[").removesuffix("]").rstrip(".").lower()
    if bare == "localhost":
        return True
    try:
        address = ip_address(bare)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def is_any_address(host: str) -> bool:
    """Whether a server bound to `host` listens on every address of this machine."""
    if host in ("", "0"):
        return True
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def takes_both_families(host: str) -> bool:
    """Whether a server bound to `host` takes IPv4 and IPv6: one bound to ``::``, where the system lets a socket."""
    return is_any_address(host) and ":" in host and socket.has_dualstack_ipv6()


def reachable(host: str) -> list[str]:
    """Addresses at which others can reach a server bound to `host`, the one a phone most likely needs first.

    Of the family that is listened on only: ``0.0.0.0`` is IPv4, ``::`` is both where the system has it.
    """
    if is_loopback(host):
        return []
    if not is_any_address(host):
        return [host]
    if takes_both_families(host):
        return addresses()
    return [address for address in addresses() if (":" in address) == (":" in host)]


@lru_cache(maxsize=1024)
def source_of(address: str) -> str:
    """Whom a peer's address stands for where peers are counted: an IPv6 host has a whole /64 to call from."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, 64), strict=False))


def addresses() -> list[str]:
    """Addresses of this machine that others can reach, the one a phone most likely needs first.

    Loopback and IPv6 link-local addresses are left out (browsers cannot open the latter).
    """
    return in_order(_interface_addresses(), _outgoing_address())


def names() -> list[str]:
    """Every name and address a certificate for this machine should cover; the machine's own name first."""
    own = socket.gethostname().rstrip(".").lower()
    short = own.partition(".")[0]
    return list(dict.fromkeys([own, f"{short}.local", "localhost", "127.0.0.1", "::1", *addresses()]))


def page_url(scheme: str, host: str, port: int) -> str:
    """The address to type into a browser, e.g. ``https://192.168.1.20:8443/``."""
    shown = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{shown}/" if port == default else f"{scheme}://{shown}:{port}/"


def in_order(found: Iterable[InterfaceAddress], outgoing: str | None = None) -> list[str]:
    """Addresses worth offering, best first, without loopback and IPv6 link-local ones.

    Args:
        found: What the interfaces have.
        outgoing: The address packets to the outside leave from; wins among equals.
    """
    offered = [f for f in found if not f.address.is_loopback and not _is_ipv6_link_local(f.address)]
    offered.sort(key=lambda f: (_distance_from_a_phone(f), str(f.address) != outgoing))
    return list(dict.fromkeys(str(f.address) for f in offered))


def qr_terminal(url: str) -> str:
    """A QR code of `url` as lines of text for a terminal, half a character a module.

    The colours are set (ANSI), because on a light terminal the plain characters would be a negative, which
    some phones do not read.
    """
    text = io.StringIO()
    segno.make(url, error="m", micro=False).terminal(text, compact=True, border=2)
    return "".join(f"\x1b[97;40m{line}\x1b[0m\n" for line in text.getvalue().splitlines())


def qr_svg(url: str) -> str:
    """A QR code of `url` as an ``<svg>`` element (black on white) to put into a page."""
    code = segno.make(url, error="m", micro=False)
    drawing: str = code.svg_inline(scale=6, border=4, omitsize=True, light="#fff", dark="#000")
    return drawing


def _interface_addresses() -> list[InterfaceAddress]:
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            found.append(InterfaceAddress(adapter.nice_name, ip_address(text.partition("%")[0])))
    return found


def _outgoing_address() -> str | None:
    """The source address of the default route. Connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address


def _is_ipv6_link_local(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and address.is_link_local


def _distance_from_a_phone(found: InterfaceAddress) -> int:
    address = found.address
    if address.is_link_local:
        return 5
    if _VIRTUAL_INTERFACE.match(found.interface):
        return 4
    if isinstance(address, IPv4Address):
        return 0 if any(address in network for network in _PRIVATE_IPV4) else 1
    return 2 if address in _UNIQUE_LOCAL_IPV6 else 3
