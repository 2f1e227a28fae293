"""A connection to a broker: MQTT 5, bounded both ways, and what goes wrong in words.

aiomqtt brings paho's client onto the event loop. What it leaves to us: a broker's refusal of a message is an error; a
connection that was given up is closed, at whatever point of its making; a packet that is too large ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from server.sinks.mqtt.publication import Publication
from server.sinks.mqtt.settings import BrokerSettings
from server.sinks.sink import SinkError

KEEP_ALIVE_S = 15
"""A broker that hears nothing for half as long again publishes the will."""
ANSWER_S = 10.0
"""A broker has to confirm what it is sent within."""
AT_ONCE = 64
"""Messages that are sent before the first of them is confirmed."""
MOST_BYTES_IN = 16_384
"""Of one packet from the broker: what is for us is small."""
MOST_WAITING_IN = 256
"""Messages that wait to be looked at; what comes beyond is dropped, and counted."""

T = TypeVar("T")

_NOBODYS_TOPIC = "defectvision-there-and-back"

_quiet = logging.getLogger("defectvision.sinks.mqtt.paho")
_quiet.setLevel(logging.CRITICAL)  # it writes a line per message dropped; what it knows is said in our words


class BrokerRefused(SinkError):
    """The broker took none of it, and said why."""


class _Arrivals(asyncio.Queue[aiomqtt.Message]):
    """What arrived, bounded; counts what did not fit."""

    dropped = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self.qsize() < MOST_WAITING_IN:
            super().put_nowait(item)
        else:
            self.dropped += 1


@contextlib.asynccontextmanager
async def connected(settings: BrokerSettings, client_id: str, will: Publication | None = None) -> AsyncIterator[Broker]:
    """A connection. It ends with the will published, if there is one, whichever way it ends.

    Raises:
        SinkError: the broker is away, refuses, or cannot be understood.
    """
    context = await asyncio.to_thread(_tls, settings.ca.strip()) if settings.tls else None
    broker = Broker(settings, client_id, will, context)
    await broker.enter()
    try:
        yield broker
    finally:
        broker.leave()


class Broker:
    """One connection. On the event loop; see :func:`connected`."""

    def __init__(
        self, settings: BrokerSettings, client_id: str, will: Publication | None, context: ssl.SSLContext | None
    ) -> None:
        self._settings, self._client_id = settings, client_id
        self._loop = asyncio.get_running_loop()
        properties = _empty(PacketTypes.CONNECT)
        properties.MaximumPacketSize = MOST_BYTES_IN
        self._client = aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username or None,
            password=settings.password or None,
            logger=_quiet,
            identifier=client_id,
            queue_type=_Arrivals,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=None if will is None else _will(will),
            timeout=ANSWER_S,
            keepalive=KEEP_ALIVE_S,
            clean_start=True,  # what was asked for while we were away is not done later
            properties=properties,
            tls_context=context,
            # Without it a second small packet waits 40 ms for the first one's acknowledgement.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self._paho: PahoClient = self._client._client
        self._confirmations: dict[int, asyncio.Future[ReasonCode]] = {}
        self._ended: asyncio.Future[Any] = self._loop.create_future()
        self._given_up = False
        self._too_large: int | None = None
        self._hook()

    def _hook(self) -> None:
        paho, opened = self._paho, self._paho.on_socket_open
        assert opened is not None

        def on_socket_open(client: PahoClient, userdata: Any, sock: Any) -> None:
            if self._given_up:
                raise ConnectionAbortedError("given up while it was made")
            opened(client, userdata, sock)

        def write() -> None:
            try:
                paho.loop_write()
            except Exception as error:
                if not self._client._disconnected.done():
                    self._client._disconnected.set_exception(error)

        def add_writer(sock: Any) -> None:
            number: int = sock.fileno()
            if number >= 0 and paho.socket() is sock:  # else it was closed meanwhile
                self._loop.add_writer(number, write)

        def on_socket_register_write(client: PahoClient, userdata: Any, sock: Any) -> None:
            self._loop.call_soon_threadsafe(add_writer, sock)

        def on_disconnect(client: PahoClient, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
            self._loop.call_soon_threadsafe(self._end, reason)

        def on_publish(client: PahoClient, userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
            confirmation = self._confirmations.pop(mid, None)
            if confirmation is not None and not confirmation.done():
                confirmation.set_result(reason)

        receive = paho._sock_recv

        def bounded(size: int) -> bytes:
            # paho asks for a whole packet at once, and keeps all of it until it is complete.
            if size > MOST_BYTES_IN:
                self._too_large = size
                raise ConnectionAbortedError("a packet that is too large")
            return receive(size)

        paho.on_socket_open, paho.on_disconnect, paho.on_publish = on_socket_open, on_disconnect, on_publish
        paho.on_socket_register_write = on_socket_register_write
        paho._sock_recv = bounded  # type: ignore[method-assign,assignment]

    @property
    def dropped(self) -> int:
        """Messages that arrived faster than they were looked at."""
        arrivals = self._client._queue
        return arrivals.dropped if isinstance(arrivals, _Arrivals) else 0

    @property
    def unconfirmed(self) -> int:
        """Messages that the broker has not confirmed yet."""
        return len(self._confirmations)

    async def enter(self) -> None:
        """Raises SinkError: there is no connection to be had."""
        # Made in a thread, which nobody can stop: if we are, it is closed once it is made.
        entering: asyncio.Future[Any] = asyncio.ensure_future(self._client.__aenter__())
        try:
            await asyncio.wait((entering, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if not entering.done() and not self._client._connected.done():
                raise SinkError(self._closed_at_once())
            await asyncio.shield(entering)
            # A packet that cannot be read ends up here; it is no disconnection to paho.
            self._client._disconnected.add_done_callback(self._broke)
        except (aiomqtt.MqttError, UnicodeError) as error:
            self._give_up(entering)
            raise SinkError(self._why_not(error)) from None
        except BaseException:
            self._give_up(entering)
            raise

    def _give_up(self, entering: asyncio.Future[Any]) -> None:
        self._given_up = True

        def forget(done: asyncio.Future[Any]) -> None:
            if not done.cancelled():
                done.exception()  # heard, so that nobody complains that nobody did
            self.leave()

        entering.add_done_callback(forget)
        if self._ended.done():
            entering.cancel()  # its thread is through

    def leave(self) -> None:
        """Close it; the broker publishes the will."""
        self._paho.on_socket_register_write = None  # what waits is written now, or never
        with contextlib.suppress(OSError, ValueError):
            self._paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
        self._paho._sock_close()  # whether or not a frozen broker takes the words
        for confirmation in self._confirmations.values():
            confirmation.cancel()
        self._confirmations.clear()

    def send(self, publication: Publication) -> asyncio.Future[ReasonCode] | None:
        """Hand a message to the connection; in the order of the calls they go out.

        Returns:
            What is done once the broker has confirmed it; None at QoS 0, which nobody confirms.

        Raises:
            SinkError: there is no connection any more.
        """
        info = self._paho.publish(
            publication.topic,
            publication.payload,
            publication.qos,
            publication.retain,
            _properties(publication),
        )
        if info.rc != 0:
            raise SinkError(self._lost())
        if publication.qos == 0:
            return None
        confirmation = self._confirmations[info.mid] = self._loop.create_future()
        return confirmation

    async def publish(self, *publications: Publication) -> None:
        """Publish messages, in order; returns once the broker has confirmed those of QoS 1.

        Raises:
            BrokerRefused: it takes one of them from nobody, or not from us.
            SinkError: it does not confirm them, or the connection is lost.
        """
        for begin in range(0, len(publications), AT_ONCE):
            await self._publish(publications[begin : begin + AT_ONCE])

    async def _publish(self, publications: Sequence[Publication]) -> None:
        sent = [(one, confirmation) for one in publications if (confirmation := self.send(one)) is not None]
        if not sent:
            return
        done, waiting = await asyncio.wait({confirmation for _, confirmation in sent}, timeout=ANSWER_S)
        if self._ended.done() or any(one.cancelled() for one in done):
            raise SinkError(self._lost())
        if waiting:
            raise SinkError(
                f"the broker {self._settings.broker} has not confirmed a message for {ANSWER_S:.0f} s: is it hanging?"
            )
        for publication, confirmation in sent:
            reason = confirmation.result()
            if reason.is_failure:
                raise BrokerRefused(
                    f"the broker {self._settings.broker} refuses messages to {publication.topic} "
                    f"({_name(reason)}): allow the user to publish there"
                )

    async def subscribe(self, *topics: str, own: bool = False, kept: bool = False) -> str | None:
        """Hear topics from now on.

        Args:
            own: what we publish ourselves, too; ``kept``: what the broker has retained, too.

        Returns:
            Which of them the broker refuses, and why; None where it takes all.
        """
        options = SubscribeOptions(qos=1, noLocal=not own, retainHandling=0 if kept else 2)
        answers = await self._answered(self._client.subscribe([(topic, options) for topic in topics]))
        refused = [
            f"{topic} ({_name(answer)})"
            for topic, answer in zip(topics, answers, strict=False)
            if isinstance(answer, ReasonCode) and answer.is_failure
        ]
        return None if not refused else f"the broker does not let us hear {', '.join(refused)}: allow the user to"

    async def there_and_back(self) -> None:
        """Returns once the broker has taken all that was sent before, QoS 0 included: it answers in order.

        Raises:
            SinkError: it does not.
        """
        await self._answered(self._client.unsubscribe(_NOBODYS_TOPIC))

    async def arrivals(self) -> AsyncIterator[aiomqtt.Message]:
        """What arrives; ends in SinkError when the connection does."""
        queue = self._client._queue
        while True:
            yield await self._answered(queue.get()) if queue.empty() else queue.get_nowait()

    async def _answered(self, asked: Coroutine[Any, Any, T]) -> T:
        """What comes of it, unless the connection ends before.

        Raises:
            SinkError: it ended.
        """
        task = asyncio.ensure_future(asked)
        try:
            await asyncio.wait((task, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise SinkError(self._lost())
            return task.result()
        except aiomqtt.MqttError as error:
            raise SinkError(self._lost(error)) from None
        finally:
            task.cancel()

    def _broke(self, disconnected: asyncio.Future[None]) -> None:
        if not disconnected.cancelled():
            disconnected.exception()  # heard, so that nobody complains that nobody did
        self._end(None)

    def _end(self, reason: ReasonCode | None) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)
        for confirmation in self._confirmations.values():
            confirmation.cancel()

    # in words

    def _closed_at_once(self) -> str:
        hint = "the port, and whether it wants TLS" if not self._settings.tls else "the port"
        return f"the broker {self._settings.broker} closed the connection without an answer: check {hint}"

    def _why_not(self, error: Exception) -> str:
        broker = f"the broker {self._settings.broker}"
        if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
            return f"{broker} {_REFUSALS.get(error.rc.value, f'refuses the connection ({_name(error.rc)})')}"
        words = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in words:
            why = words.partition("failed: ")[2].partition(" (_ssl")[0] or "it was not signed by one we trust"
            return (
                f"{broker} has a certificate that is not trusted ({why}): paste the certificate of its authority, and "
                "name the broker as the certificate does"
            )
        if self._settings.tls and any(one in words for one in ("SSL", "EOF occurred", "reset by peer")):
            return f"{broker} speaks no TLS on this port ({words[:120]}): check the port, or switch TLS off"
        if "timed out" in words:
            return f"{broker} does not answer within {ANSWER_S:.0f} s: check address and port, and whether it hangs"
        return f"{broker} cannot be reached ({words[:120]}): check address and port, and whether it runs"

    def _lost(self, error: BaseException | None = None) -> str:
        broker = f"the broker {self._settings.broker}"
        if self._too_large is not None:
            return f"{broker} sent a packet of {self._too_large} bytes, {MOST_BYTES_IN} are the most: it was left"
        reason = self._ended.result() if self._ended.done() else None
        if reason is None and error is not None and "timed out" in str(error):
            return f"{broker} does not answer for {ANSWER_S:.0f} s: is it hanging?"
        if isinstance(reason, ReasonCode) and reason.value == _TAKEN_OVER:
            return (
                f"{broker} has another client with the id {self._client_id}, which took our place: give each server "
                "a name, or client id, of its own"
            )
        if isinstance(reason, ReasonCode) and reason.is_failure and reason.value != _UNSAID:
            return f"the connection to {broker} is lost: it says {_name(reason)}"
        return (
            f"the connection to {broker} is lost; where this happens again and again, another client may have the id "
            f"{self._client_id} too"
        )


async def first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Do works side by side until one ends; how it ends is how all do."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@lru_cache(maxsize=8)
def _tls(authority: str) -> ssl.SSLContext:
    """What is trusted. Reading what this machine trusts takes 0.2 s, and the interpreter's lock: in a thread, once."""
    try:
        return ssl.create_default_context(cadata=authority or None)
    except (ssl.SSLError, ValueError):
        raise SinkError(
            "the authority's certificate cannot be read: paste its PEM text, from -----BEGIN CERTIFICATE----- to "
            "-----END CERTIFICATE-----"
        ) from None


def _will(publication: Publication) -> aiomqtt.Will:
    properties = _empty(PacketTypes.WILLMESSAGE)
    if publication.content_type is not None:
        properties.ContentType = publication.content_type
    return aiomqtt.Will(publication.topic, publication.payload, publication.qos, publication.retain, properties)


def _properties(publication: Publication) -> Properties:
    properties = _empty(PacketTypes.PUBLISH)
    if publication.content_type is not None:
        properties.ContentType = publication.content_type
    if publication.content_type in ("application/json", "text/plain"):
        properties.PayloadFormatIndicator = 1
    if publication.expires_s is not None:
        properties.MessageExpiryInterval = publication.expires_s
    if publication.correlation is not None:
        properties.CorrelationData = publication.correlation
    return properties


def _empty(packet: int) -> Properties:
    """Properties of a kind of packets; none is set."""
    return Properties(packet)  # type: ignore[no-untyped-call]


def _name(reason: ReasonCode) -> str:
    """A reason in words that are no protocol's."""
    name: Callable[[], str] = reason.getName
    try:
        return name().lower()
    except (AssertionError, KeyError):
        return f"reason {reason.value}"


_UNSAID, _TAKEN_OVER = 128, 142
_REFUSALS = {
    128: "refuses the connection, without a reason",
    132: "does not speak MQTT 5, only an older version: MQTT 5 is needed (mosquitto has it since 1.6)",
    133: "refuses the client id: choose another",
    134: "refuses the login: check user and password",
    135: "refuses the login: check user and password, and whether the broker asks for them",
    136: "is not available now",
    137: "is too busy for another client",
    138: "has banned this client",
    140: "asks for another way to log in than user and password",
    149: "takes no message as large as the will",
    151: "has no room for another client",
    156: "wants another broker to be used",
    157: "has moved",
    159: "wants fewer connections: it takes too many a second",
}
