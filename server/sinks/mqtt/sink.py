"""A stream's verdicts and state at a broker, and a plant's commands from there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from dataclasses import dataclass, replace

import aiomqtt
import msgspec

from server.sinks.kind import Around
from server.sinks.mqtt import commands, home_assistant
from server.sinks.mqtt.broker import Broker, connected, first_to_end
from server.sinks.mqtt.commands import Answer, Pace
from server.sinks.mqtt.memory import Memory
from server.sinks.mqtt.publication import Publication, cleared
from server.sinks.mqtt.seen import Seen
from server.sinks.mqtt.settings import MqttSettings, check_mqtt
from server.sinks.mqtt.told import StreamTold, forgotten, kept_state, kept_verdict, tell
from server.sinks.mqtt.topics import OFFLINE, ONLINE, Topics
from server.sinks.sink import Outbox, SinkError

log = logging.getLogger("defectvision.sinks")

MOST_STREAMS = 256
FAREWELL_S = 0.5
"""What saying good-bye may take at the end."""
TEST_S = 5.0
ANSWER_EXPIRES_S = 60
MOST_UNCONFIRMED = 64
"""Answers that a broker has not confirmed; with more of them, no more are given."""
MOST_RECIPES = 4
"""Changes of recipe under way."""
RECIPE_S = 50.0
LOOK_EVERY_S = 1.0

_encoder = msgspec.json.Encoder()


_known: Memory[Memory[StreamTold]] = Memory(lambda: Memory(StreamTold, MOST_STREAMS), 64)
"""Of each sink, what is known beyond one run."""


@dataclass(frozen=True)
class Asker:
    """Where an answer goes."""

    stream: str
    topic: str
    correlation: bytes | None = None


class MqttSink:
    """At a broker, below topics of its own."""

    def __init__(self, settings: MqttSettings, around: Around) -> None:
        self._settings, self._line, self._address = settings, around.line, around.address
        self._seen = Seen.of(around, MOST_STREAMS)
        self._topics = Topics(f"{settings.prefix}/{settings.node}", settings.discovery_prefix)
        self._client_id = settings.client_id or f"defectvision-{settings.node}"
        self._key = f"{around.id} {settings.broker} {self._topics.base}"
        self._streams: Memory[StreamTold] = Memory(StreamTold, MOST_STREAMS)
        self._pace, self._dropped = Pace(), 0
        self._is_denied = False
        self._last_refused: Asker | None = None
        self._changing: dict[str, asyncio.Task[None]] = {}

    async def run(self, outbox: Outbox) -> None:
        """See :class:`server.sinks.Sink`."""
        self._streams = _known.of(self._key).since(outbox.since, lambda told: told.anew)
        async with connected(self._settings, self._client_id, self._status(online=False)) as broker:
            try:
                words = await self._greet(broker)
                outbox.is_up(f"connected with {self._settings.broker} as {self._client_id}")
                if words is not None:
                    outbox.is_in_trouble(words)
                await first_to_end(self._hear(broker), self._tell(broker, outbox), self._look_after(broker))
            except asyncio.CancelledError:
                with contextlib.suppress(SinkError, TimeoutError):
                    async with asyncio.timeout(FAREWELL_S):
                        await self._say_goodbye(broker)
                raise
            finally:
                for task in [*self._changing.values()]:
                    task.cancel()

    async def test(self) -> str:
        """See :class:`server.sinks.Sink`."""
        topic, said = self._topics.test, secrets.token_hex(8).encode()
        async with connected(self._settings, f"{self._client_id}-test-{secrets.token_hex(3)}") as broker:
            if (refusal := await broker.subscribe(topic, own=True)) is not None:
                raise SinkError(refusal)
            await broker.publish(Publication(topic, said, expires_s=ANSWER_EXPIRES_S, content_type="text/plain"))
            try:
                async with asyncio.timeout(TEST_S):
                    async for message in broker.arrivals():
                        if message.payload == said:
                            break
            except TimeoutError:
                raise SinkError(
                    f"the broker {self._settings.broker} took a message to {topic}, and did not hand it back within "
                    f"{TEST_S:.0f} s: allow the user to hear it"
                ) from None
        return f"A message to {topic} went to the broker {self._settings.broker} and came back."

    # what we tell

    async def _greet(self, broker: Broker) -> str | None:
        """Say that we are there, and how everything is; returns what the broker refuses us."""
        heard = ["state", "verdict", "discovery"]  # what a run that was killed has left there
        refused = [await broker.subscribe(self._topics.status, *map(self._topics.of_all, heard), kept=True)]
        if self._settings.commands:
            refused.append(await broker.subscribe(*map(self._topics.of_all, ("trigger", "recipe"))))
        self._put_right()
        publications = [self._status(online=True)]
        for name in self._running():
            told = self._streams.of(name)
            publications += [*kept_state(told, name, self._topics), *kept_verdict(told, self._topics)]
            publications += self._announced(name)
        await broker.publish(*publications)
        return "; ".join(words for words in refused if words is not None) or None

    async def _tell(self, broker: Broker, outbox: Outbox) -> None:
        async for event in outbox:
            name = event.message.stream
            was = self._streams.of(name)
            if not self._seen.is_stale(event):
                now, publications = tell(event.message, event.what, was, self._topics, self._address)
                if event.what == "state" and not now.is_gone and (was.status is None or was.is_gone):
                    publications += self._announced(name)
            elif getattr(event.message, "state", None) == "waiting":  # it went, and another came meanwhile
                now, publications = was.without_verdict, [cleared(self._topics.of(name, "verdict"))]
            else:
                now, publications = was, []
            if publications:
                await broker.publish(*publications)
                self._streams.set(name, now)
            outbox.confirm()

    def _put_right(self) -> list[Publication]:
        """What the broker has to be told of streams that came or went, fell silent, or have another recipe, and of
        which no event says so, or not yet: it may have been lost to the outbox's bounds, or is not wanted."""
        said, running = list[Publication](), self._running()
        for name in running:
            told = self._streams.of(name)
            status = self._seen.status(name, told.status)
            if status == told.status:
                continue
            self._streams.set(name, now := replace(told, status=status))
            said += kept_state(now, name, self._topics)
            if told.status is None or told.is_gone:
                said += self._announced(name)
        for name in self._streams.names:
            told = self._streams.of(name)
            if name not in running and not told.is_gone and (told.status or told.verdict) is not None:
                self._streams.set(name, told.anew)
                said += forgotten(name, self._topics)
        return said

    def _announced(self, name: str) -> list[Publication]:
        if not self._settings.home_assistant:
            return []
        return home_assistant.announced(self._topics, name, commands=self._settings.commands, address=self._address)

    async def _say_goodbye(self, broker: Broker) -> None:
        """Nothing that we said holds any longer; that we are gone is the will's to say."""
        names = {name for name in self._streams.names if not self._streams.of(name).is_gone} | {*self._running()}
        for name in sorted(names):
            for one in forgotten(name, self._topics):
                broker.send(replace(one, qos=0))  # confirmed one by one, hundreds take too long
        await broker.there_and_back()

    def _status(self, *, online: bool) -> Publication:
        words = ONLINE if online else OFFLINE
        return Publication(self._topics.status, words, retain=True, content_type="text/plain")

    def _running(self) -> tuple[str, ...]:
        """Streams that run now, of those that we are told of."""
        return self._seen.running(name for name in self._streams.names if not self._streams.of(name).is_gone)

    # what we hear

    async def _hear(self, broker: Broker) -> None:
        async for message in broker.arrivals():
            topic, payload = str(message.topic), message.payload
            if not isinstance(payload, bytes):
                continue
            if topic == self._topics.status:
                # The will of our last connection, or of another server that has our name.
                self._is_denied = self._is_denied or (payload == OFFLINE and not message.retain)
            elif (read := self._topics.read(topic)) is not None:
                stream, what = read
                if what in ("trigger", "recipe"):
                    # What a broker kept would be done again with every connection.
                    if not message.retain:
                        self._obey(broker, stream, what, payload, self._asker(stream, message))
                elif message.retain and payload:
                    await broker.publish(*self._mended(stream, what, payload))

    def _mended(self, stream: str, what: str, payload: bytes) -> list[Publication]:
        """What is to be said of a topic that a former run, which could not clear it, has left at the broker."""
        if what == "discovery":
            prefix = home_assistant.prefix_of(payload)
            then = replace(self._topics, discovery_prefix=prefix or self._settings.discovery_prefix)
            moved = then.discovery_prefix != self._settings.discovery_prefix
            if self._settings.home_assistant and not moved:
                return []
            if not _is_prefix(then.discovery_prefix):
                return [cleared(self._topics.of(stream, what))]
            gone = home_assistant.withdrawn(then, stream)
            return [*gone, *(self._announced(stream) if stream in self._running() else [])]
        told = self._streams.peek(stream)
        is_old = stream not in self._running() or (what == "verdict" and (told is None or told.verdict is None))
        return [cleared(self._topics.of(stream, what))] if is_old and what in ("state", "verdict") else []

    def _asker(self, stream: str, message: aiomqtt.Message) -> Asker:
        properties = message.properties
        topic = getattr(properties, "ResponseTopic", None)
        correlation = getattr(properties, "CorrelationData", None)
        if not isinstance(topic, str) or not self._topics.may_answer_on(topic):
            topic = self._topics.of(stream, "answer")
        return Asker(stream, topic, correlation if isinstance(correlation, bytes) else None)

    def _obey(self, broker: Broker, stream: str, what: str, payload: bytes, asker: Asker) -> None:
        if not self._pace.takes_one():
            self._last_refused = asker
            if what == "trigger" and self._line is not None and self._seen.is_ours(stream):
                self._line.missed(stream)
        elif not self._seen.is_ours(stream):
            self._answer(broker, asker, Answer(False, stream, why="this stream is not one of those told here"))
        elif what == "trigger":
            self._answer(broker, asker, commands.trigger(self._line, stream, payload))
        elif stream in self._changing or len(self._changing) >= MOST_RECIPES:
            why = "another change of recipe is under way: wait for it"
            self._answer(broker, asker, Answer(False, stream, why=why))
        else:
            self._changing[stream] = asyncio.create_task(self._choose_recipe(broker, stream, payload, asker))

    async def _choose_recipe(self, broker: Broker, stream: str, payload: bytes, asker: Asker) -> None:
        try:
            async with asyncio.timeout(RECIPE_S):
                answer = await commands.choose_recipe(self._line, stream, payload)
        except TimeoutError:
            answer = Answer(False, stream, why=f"the recipe was not in use after {RECIPE_S:.0f} s: see Recipes")
        except Exception:
            log.exception("the recipe could not be chosen stream=%s", stream)
            answer = Answer(False, stream, why="it failed; the server's log says why")
        finally:
            self._changing.pop(stream, None)
        self._answer(broker, asker, answer)

    def _answer(self, broker: Broker, asker: Asker, answer: Answer) -> None:
        """Without waiting: who asks must not hold up who is told."""
        if broker.unconfirmed >= MOST_UNCONFIRMED:
            return
        said = Publication(
            asker.topic, _encoder.encode(answer), expires_s=ANSWER_EXPIRES_S, correlation=asker.correlation
        )
        with contextlib.suppress(SinkError):  # the connection is gone: whoever hears it says so
            broker.send(said)

    async def _look_after(self, broker: Broker) -> None:
        """Say what is not said one by one: whatever others do, once a second at the most."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._is_denied:
                self._is_denied = False
                await broker.publish(self._status(online=True))
            await broker.publish(*self._put_right())
            dropped, self._dropped = broker.dropped - self._dropped, broker.dropped
            if (why := self._pace.refusal(dropped=dropped)) is not None and self._last_refused is not None:
                asker = self._last_refused
                self._answer(broker, asker, Answer(False, asker.stream, why=why))


def _is_prefix(prefix: str) -> bool:
    try:
        check_mqtt(MqttSettings(host="localhost", node="any", discovery_prefix=prefix))
    except ValueError:
        return False
    return True
