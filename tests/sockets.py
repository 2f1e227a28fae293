"""Which TCP sockets processes have, as Linux tells."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

LISTENS = 0x0A


@dataclass(frozen=True)
class TCP:
    """A socket: its own address and port, and the other side's."""

    process: int
    address: IPv4Address | IPv6Address
    port: int
    peer: IPv4Address | IPv6Address
    listens: bool


def sockets_of(processes: Iterable[int]) -> Iterator[TCP]:
    """All TCP sockets of these processes; one that ends meanwhile has none."""
    known = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            (
                _,
                own,
                peer,
                state,
                *_,
            ) = words = line.split()
            known[words[9]] = own, peer, int(state, 16)
    for process in processes:
        for inode in _inodes(process):
            if inode in known:
                own, peer, state = known[inode]
                address, port = _address(own)
                yield TCP(process, address, port, _address(peer)[0], state == LISTENS)


def _inodes(process: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                if found := re.fullmatch(r"socket:\[(\d+)\]", str(file.readlink())):
                    yield found[1]


def _address(words: str) -> tuple[IPv4Address | IPv6Address, int]:
    host, port = words.split(":")
    data = bytes.fromhex(host)
    address = ip_address(b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4)))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address, int(port, 16)
