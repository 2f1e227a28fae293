"""Modbus TCP: whole frames in, answers out, from those who may, and no more than they may.

pymodbus has a server too; it was read, and not used: it takes one request of each piece that arrives and forgets what
else was in it, bounds no number of connections, logs every wrong frame, and its diagnostics reach into state that is
the process's. What there is of the protocol on TCP is seven bytes before a PDU.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

from server.ground import Refusals
from server.sinks.modbus.pdu import Refusal, Registers, answer, refuse
from server.sinks.sink import SinkError

log = logging.getLogger("defectvision.sinks")

Network = IPv4Network | IPv6Network

LARGEST_PDU = 253
REQUESTS_PER_S = 250.0
"""Of one connection; what comes faster waits in its socket."""
BURST = 50
"""Requests that may come at once."""
MAY_BE_PUSHED_OUT_S = 2.0
"""Silence after which a connection makes room for a new one, where there are too many: a controller that was switched
off and on has left its old one behind."""
_PARTLY = 1024
"""Bytes of one connection that wait to be understood, or to be fetched."""


@dataclass(eq=False)
class Peer:
    """Who is connected."""

    address: str
    writer: asyncio.StreamWriter
    heard: float
    next_free: float = field(default=float("-inf"))
    requests: int = 0

    def __str__(self) -> str:
        return self.address


class Connections:
    """Listens, and answers. On the event loop.

    Args:
        registers: those of a unit id, as a peer reaches them; None where there is no such unit.
        lost: told once a peer is gone.
        allowed: from where peers may come; none: from everywhere.
        most: connections at once.
        silent_s: seconds without a whole request after which a connection is closed.

    Attributes:
        peers: who is connected now.
        refused: connections that were not taken, since the start.
    """

    def __init__(
        self,
        name: str,
        registers: Callable[[int, Peer], Registers | None],
        lost: Callable[[Peer], None],
        *,
        allowed: Sequence[Network] = (),
        most: int = 8,
        silent_s: float = 30.0,
        refusals: Refusals | None = None,
    ) -> None:
        self._name, self._registers, self._lost = name, registers, lost
        self._allowed, self._most, self._silent_s = allowed, most, silent_s
        self._refusals = refusals or Refusals()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_complained = self._is_closed = False
        self.peers: set[Peer] = set()
        self.refused = 0

    @property
    def is_listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    @property
    def port(self) -> int:
        """On which it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def listen(self, address: str, port: int) -> None:
        """Begin.

        Raises:
            SinkError: it is not possible there.
        """
        try:
            self._server = await asyncio.start_server(
                self._connected, address, port, limit=_PARTLY, backlog=16, reuse_address=True
            )
        except OSError as error:
            raise SinkError(_why(error, address, port)) from None

    async def close(self) -> None:
        """End, connections included."""
        self._is_closed = True
        if self._server is not None:
            self._server.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:
            writer.transport.abort()
            return
        address = _address(writer)
        if not self._may(address):
            self._refuse(writer, "a connection from an address that is not allowed was refused", address)
            return
        if len(self.peers) >= self._most and not self._push_out():
            self._refuse(writer, f"a connection was refused: there are {self._most} already", address)
            return
        writer.transport.set_write_buffer_limits(high=_PARTLY)
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.peers.add(peer := Peer(address, writer, time.monotonic()))
        task = asyncio.create_task(self._serve(peer, reader), name=f"sink {self._name} serves {address}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: Peer, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                async with asyncio.timeout(self._silent_s):
                    transaction, unit, request = await _frame(reader)
                    peer.heard, peer.requests = time.monotonic(), peer.requests + 1
                    peer.writer.write(_framed(transaction, unit, self._answer(unit, request, peer)))
                    await peer.writer.drain()
                await self._keep_pace(peer)
        except _NotModbus:
            self._refusals.note(f"sink={self._name} a connection was closed: what came was not Modbus TCP", str(peer))
        except TimeoutError:
            self._refusals.note(
                f"sink={self._name} a connection was closed: no whole request in {self._silent_s:g} s", str(peer)
            )
        except (OSError, EOFError):
            pass  # it is gone
        finally:
            self._forget(peer)

    def _answer(self, unit: int, request: bytes, peer: Peer) -> bytes:
        registers = self._registers(unit, peer)
        if registers is None:
            return refuse(request[0], Refusal.NO_TARGET)
        try:
            return answer(request, registers)
        except Exception as error:
            if not self._has_complained:
                self._has_complained = True
                log.error("sink=%s a request failed by a fault of this software's", self._name, exc_info=error)
            return refuse(request[0], Refusal.FAILURE)

    async def _keep_pace(self, peer: Peer) -> None:
        now = time.monotonic()
        peer.next_free = max(peer.next_free, now - BURST / REQUESTS_PER_S) + 1 / REQUESTS_PER_S
        if peer.next_free > now:
            await asyncio.sleep(peer.next_free - now)

    def _may(self, address: str) -> bool:
        if not self._allowed:
            return True
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        plain = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(plain in network for network in self._allowed)

    def _push_out(self) -> bool:
        """Whether the most silent one made room."""
        peer = min(self.peers, key=lambda one: one.heard)
        if time.monotonic() - peer.heard < MAY_BE_PUSHED_OUT_S:
            return False
        self._forget(peer)
        return True

    def _forget(self, peer: Peer) -> None:
        peer.writer.transport.abort()
        if peer in self.peers:
            self.peers.discard(peer)
            self._lost(peer)

    def _refuse(self, writer: asyncio.StreamWriter, why: str, address: str) -> None:
        writer.transport.abort()
        self.refused += 1
        self._refusals.note(f"sink={self._name} {why}", address)


class _NotModbus(Exception):
    """What came is not a frame of it; where the next one would begin is not known."""


async def _frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """Transaction, unit, and PDU of the next request."""
    transaction, protocol, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
    if protocol != 0 or not 2 <= length <= LARGEST_PDU + 1:
        raise _NotModbus
    return transaction, unit, await reader.readexactly(length - 1)


def _framed(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def _address(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return str(name[0]) if name else "unknown"


def _why(error: OSError, address: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} at {address} is taken by another program, or by this very sink: choose another port"
        case errno.EACCES | errno.EPERM:
            return f"port {port} needs rights that this server has not: choose one above 1023, such as 1502"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {address}: give one of its own, or 0.0.0.0 for all"
        case _:
            return f"it cannot listen at {address}, port {port} ({error.strerror})"
