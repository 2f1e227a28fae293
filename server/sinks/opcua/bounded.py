"""asyncua's server with bounds on all that a peer may send, keep, or ask for. Only in the process that serves.

What asyncua 2.1 leaves open, and is closed here:

- what has arrived of a message is kept without a bound, and garbage is kept and parsed again with all that follows;
- lengths below -1 walk backwards through a message, and arrays of nothing may have any length: either hangs the loop;
- the policy *None* always opens a channel, whatever policies are offered, and knows no permissions: here such a channel
  is for discovery alone, unless it is offered;
- anybody may register servers, and create session after session on one connection;
- publishing intervals and the number of monitored items are the client's choice;
- what is written to a client that does not read is kept.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncua import Server, ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, NotEnoughData, ServiceError
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_session import InternalSession
from asyncua.server.subscription_service import SubscriptionService
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua import ua_binary
from cryptography import x509

MOST_CONNECTIONS = 32
MOST_SESSIONS = 32
"""Those included that wait for their client to come back."""
MOST_SUBSCRIPTIONS = 64
MOST_ITEMS = 4000
"""Monitored, of all subscriptions."""
LONGEST_QUEUE = 200
"""Notifications of a monitored item that wait to be published, and publications that wait to be acknowledged."""
SOONEST_MS = 10.0
"""Between two publications of a subscription."""
ACTIVATED_WITHIN_S = 10.0
MAY_BE_PUSHED_OUT_S = 2.0
"""After which a connection without a session makes room for a new one, where there are too many."""
LONGEST_SESSION_MS = 120_000.0
LARGEST_CHUNK = 65_535
LARGEST_MESSAGE = 1_000_000
MOST_PENDING = 500
"""Messages of a connection that wait to be worked on; one that sends more is closed,"""
READ_UP_TO = 50
"""and beyond so many nothing more is read from it for now."""
MOST_UNREAD = 4_000_000
"""Bytes that wait for a client that does not read."""
MOST_AT_ONCE = 1000
"""Nodes, items or methods that one request may be about."""

_MESSAGES = (b"HEL", b"OPN", b"MSG", b"CLO")
_DISCOVERY = frozenset(
    ua.NodeId(id)
    for id in (
        ua.ObjectIds.GetEndpointsRequest_Encoding_DefaultBinary,
        ua.ObjectIds.FindServersRequest_Encoding_DefaultBinary,
        ua.ObjectIds.CloseSecureChannelRequest_Encoding_DefaultBinary,
    )
)
_NEVER = frozenset(
    ua.NodeId(id)
    for id in (
        ua.ObjectIds.RegisterServerRequest_Encoding_DefaultBinary,
        ua.ObjectIds.RegisterServer2Request_Encoding_DefaultBinary,
        ua.ObjectIds.AddNodesRequest_Encoding_DefaultBinary,
        ua.ObjectIds.DeleteNodesRequest_Encoding_DefaultBinary,
        ua.ObjectIds.AddReferencesRequest_Encoding_DefaultBinary,
        ua.ObjectIds.DeleteReferencesRequest_Encoding_DefaultBinary,
        ua.ObjectIds.TransferSubscriptionsRequest_Encoding_DefaultBinary,
    )
)
_CREATE_SESSION = ua.NodeId(ua.ObjectIds.CreateSessionRequest_Encoding_DefaultBinary)
_NONE = "http://opcfoundation.org/UA/SecurityPolicy#None"


@dataclass
class Cut:
    """Connections that were closed from here since the start."""

    connections: int = 0


def harden() -> None:
    """Make asyncua's reader of messages take no length that cannot be. Once, before anything is read."""

    def forwards(read: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(read)
        def checked(buffer: Any, size: int) -> Any:
            if size < 0:
                raise NotEnoughData("a length is negative")
            return read(buffer, size)

        return checked

    def no_longer_than_its_bytes(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.cache
        def made(kind: Any) -> Any:
            read = make(kind)

            def checked(data: Any) -> Any:
                if hasattr(data, "copy") and ua_binary.Primitives.Int32.unpack(data.copy(4)) > len(data):
                    raise NotEnoughData("an array says that it is longer than the message")
                return read(data)

            return checked

        return made

    Buffer.read, Buffer.skip = forwards(Buffer.read), forwards(Buffer.skip)
    for name in ("_create_uatype_array_deserializer", "_create_list_deserializer"):
        setattr(ua_binary, name, no_longer_than_its_bytes(getattr(ua_binary, name)))
    InternalSession.max_connections = MOST_SESSIONS


class BoundedServer(Server):  # type: ignore[misc]
    """Args:
    open: whether channels without encryption may do more than look for endpoints.
    """

    def __init__(self, *, open: bool, user_manager: Any) -> None:
        super().__init__(user_manager=user_manager)
        self.cut = Cut()
        self._may_be_open = open
        inner = self.iserver
        inner.max_connections = MOST_CONNECTIONS
        inner.max_pending_activation_seconds = ACTIVATED_WITHIN_S
        inner.max_pending_messages_per_connection = MOST_PENDING
        inner.max_session_timeout_ms = LONGEST_SESSION_MS
        inner.max_subscriptions = MOST_SUBSCRIPTIONS
        inner.max_monitored_item_queue_size = LONGEST_QUEUE
        inner.max_unacked_messages_per_subscription = LONGEST_QUEUE
        inner.allow_remote_admin = False
        inner.subscription_service = _BoundedSubscriptions(inner.aspace, inner)
        inner.isession.subscription_service = inner.subscription_service
        self.limits = TransportLimits(
            max_recv_buffer=LARGEST_CHUNK,
            max_send_buffer=LARGEST_CHUNK,
            max_chunk_count=-(-LARGEST_MESSAGE // 8192),
            max_message_size=LARGEST_MESSAGE,
        )

    @property
    def sessions(self) -> int:
        return sum(one.is_activated() for one in self.iserver._external_sessions.values())

    async def start(self) -> None:
        """As asyncua does, with connections that have bounds. Raises OSError: the address cannot be had."""
        await self._setup_server_nodes()
        await self.iserver.start()
        host, port = self.socket_address
        self.bserver = _BoundedBinary(self.iserver, host, port, self.limits)
        self.bserver.cut, self.bserver.may_be_open = self.cut, self._may_be_open
        self.bserver.set_policies(self._policies)
        await self.bserver.start()


class _BoundedBinary(BinaryServer):  # type: ignore[misc]
    cut: Cut
    may_be_open: bool

    def _make_protocol(self) -> Any:
        made = _BoundedProtocol(
            iserver=self.iserver,
            policies=self._policies,
            clients=self.clients,
            closing_tasks=self.closing_tasks,
            limits=self.limits,
        )
        made.cut, made.may_be_open = self.cut, self.may_be_open
        return made


class _BoundedProtocol(OPCUAProtocol):  # type: ignore[misc]
    cut: Cut
    may_be_open: bool
    since: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.since = time.monotonic()
        if len(self.clients) >= self.iserver.max_connections:
            self._make_room()
        super().connection_made(transport)
        if self.transport is None:
            self.cut.connections += 1
            return
        self.processor = _BoundedProcessor(self.iserver, self.transport, self.limits)
        self.processor.may_be_open = self.may_be_open
        self.processor.set_policies(self.policies)

    def _make_room(self) -> None:
        """The oldest goes that had its time to come to a session and has none."""
        for one in self.clients:
            if time.monotonic() - one.since < MAY_BE_PUSHED_OUT_S:
                return  # they stand in the order they came in
            if one.processor is None or one.processor.session is None or not one.processor.session.is_activated():
                self.clients.remove(one)
                one._cut()
                return

    def data_received(self, data: bytes) -> None:
        """Nothing is kept but the beginning of a message that may be one, of a size that may be."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > MOST_UNREAD:
            self._cut()
            return
        super().data_received(data)
        left = self._buffer
        is_one = left[:3] in tuple(kind[: len(left[:3])] for kind in _MESSAGES)
        fits = len(left) < 8 or 8 < int.from_bytes(left[4:8], "little") <= LARGEST_CHUNK
        if not is_one or not fits or len(left) > LARGEST_CHUNK:
            self._cut()
        elif self.messages.qsize() > READ_UP_TO:
            self.transport.pause_reading()

    async def _process_one_msg(self, header: Any, buf: Any) -> bool:
        try:
            return bool(await super()._process_one_msg(header, buf))
        except Exception:
            self._cut()
            return False
        finally:
            if self.transport is not None and self.messages.qsize() <= READ_UP_TO:
                self.transport.resume_reading()

    def _cut(self) -> None:
        self._buffer = b""
        if self.transport is not None and not self.transport.is_closing():
            self.cut.connections += 1
            self.transport.abort()


class _BoundedProcessor(UaProcessor):  # type: ignore[misc]
    may_be_open: bool = False

    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        if typeid in _NEVER:
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
        if not self.may_be_open and self._connection.security_policy.URI == _NONE and typeid not in _DISCOVERY:
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        if typeid == _CREATE_SESSION and (
            self.session is not None or len(self.iserver._external_sessions) >= MOST_SESSIONS
        ):
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        channel = getattr(self._connection.security_policy, "peer_certificate", None)  # an open channel has none
        if typeid == _CREATE_SESSION and channel and self.iserver.certificate_validator is not None:
            # asyncua looks at the one that the request names, which may be anybody's, or none.
            await self.iserver.certificate_validator(x509.load_der_x509_certificate(channel), None)
        return await super()._process_message(typeid, requesthdr, seqhdr, body)


class _BoundedSubscriptions(SubscriptionService):  # type: ignore[misc]
    async def create_subscription(self, params: Any, *args: Any, **kwargs: Any) -> Any:
        asked = float(params.RequestedPublishingInterval)
        params.RequestedPublishingInterval = max(SOONEST_MS, asked) if asked == asked else SOONEST_MS
        return await super().create_subscription(params, *args, **kwargs)

    async def create_monitored_items(self, params: Any) -> Any:
        items = len(params.ItemsToCreate or ())
        there = sum(len(one.monitored_item_srv._monitored_items) for one in self.subscriptions.values())
        if items > MOST_AT_ONCE or there + items > MOST_ITEMS:
            raise ServiceError(ua.StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    def modify_monitored_items(self, params: Any) -> Any:
        for item in params.ItemsToModify or ():
            asked = item.RequestedParameters.QueueSize
            item.RequestedParameters.QueueSize = min(int(asked) or LONGEST_QUEUE, LONGEST_QUEUE)
        return super().modify_monitored_items(params)
