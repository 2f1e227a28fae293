"""The process that serves OPC UA: ``python -m server.sinks.opcua.process``, started by the sink, which it ends with.

A process of its own, since asyncua is Python from end to end: what its clients ask for takes turns with nothing that
gives verdicts, what they make it keep is its own memory, and where it hangs it is killed and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec
from asyncua import ua

from server.sinks.opcua import words
from server.sinks.opcua.bounded import BoundedServer, harden
from server.sinks.opcua.look import look
from server.sinks.opcua.model import Model
from server.sinks.opcua.security import Identity, Trust, Users, identity
from server.sinks.opcua.vision_system import VisionSystem
from server.sinks.opcua.words import (
    Alive,
    Answer,
    Ask,
    Begin,
    Done,
    Failed,
    Look,
    Ping,
    Recipe,
    Shown,
    Standing,
    Told,
    Up,
)

MOST_SYSTEMS = 32
"""Streams that are shown; more are counted."""
MOST_ASKS = 8
"""At once; and so many a second on average:"""
ASKS_PER_S = 50.0
ANSWERED_WITHIN_S = 30.0
"""A recipe may have to be loaded."""
MORE_MEMORY = 600_000_000
"""Bytes beyond what it begins with; where clients make it keep more, it ends, and is started again."""
LONGEST_TRACE = 3000
"""Characters."""

_ENCRYPTED = (
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
)


class CannotServe(Exception):
    """One sentence."""


class Asked:
    """What was asked of the inspecting server, and waits for its answer: bounded in number and rate."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._allowed, self._since = ASKS_PER_S, asyncio.get_running_loop().time()

    async def ask(self, asked: Ask) -> Answer:
        """Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._allowed = min(ASKS_PER_S, self._allowed + (now - self._since) * ASKS_PER_S)
        self._since = now
        if self._allowed < 1 or len(self._waiting) >= MOST_ASKS:
            many = f"more than {ASKS_PER_S:.0f} a second are asked for: ask once the result of the last one is there"
            return Answer(0, refusal="state", words=many)
        self._allowed -= 1
        self._number += 1
        number = self._number
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting[number] = future
        try:
            self._send(msgspec.structs.replace(asked, ask=number))
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                return await future
        finally:
            del self._waiting[number]

    def answered(self, answer: Answer) -> None:
        future = self._waiting.get(answer.ask)
        if future is not None and not future.done():
            future.set_result(answer)


class Serving:
    """The server, and what it was told."""

    def __init__(self, begin: Begin, send: Any) -> None:
        self._begin, self._send = begin, send
        self._asked = Asked(send)
        self._systems: dict[str, VisionSystem] = {}
        self._left_out: set[str] = set()
        self._recipes: dict[str, Recipe] = {}
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> Up:
        """Raises CannotServe."""
        begin = self._begin
        own = await asyncio.to_thread(_identity, begin)
        self._users = Users(begin.user, begin.password)
        self._trust = Trust(Path(begin.folder), own.certificate, listed_only=begin.listed_only)
        self._server = server = BoundedServer(open=not begin.encrypted, user_manager=self._users)
        server.set_server_name(f"DefectVision {begin.name}")
        server.product_uri, server.manufacturer_name = "urn:defectvision", "DefectVision"
        server.application_type = ua.ApplicationType.Server
        await server.init()
        await server.set_application_uri(begin.uri)
        server.set_endpoint(f"opc.tcp://{_bracketed(begin.host)}:{begin.port}/")
        server.socket_address = (begin.host, begin.port)
        await server.load_certificate(own.certificate)
        await server.load_private_key(own.key, format="pem")
        open = () if begin.encrypted else (ua.SecurityPolicyType.NoSecurity,)
        server.set_security_policy([*open, *_ENCRYPTED])
        server.set_identity_tokens(self._users.tokens)
        server.set_certificate_validator(self._trust.validate)
        self._model = await Model.load(server)
        try:
            await server.start()
        except OSError as error:
            where = f"{begin.host}:{begin.port}"
            raise CannotServe(
                f"{where} cannot be listened on ({os.strerror(error.errno or 0)}): is it in use?"
            ) from error
        return Up(server.bserver.port, own.fingerprint)

    async def hear(self, message: words.ToProcess) -> None:
        match message:
            case Shown(streams, recipes):
                if recipes is not None:
                    self._recipes.clear()
                    self._recipes.update((one.id, one) for one in recipes)
                for standing in streams:
                    if (system := await self._system(standing)) is not None:
                        await system.show(standing)
            case Told(number, part, standing):
                fault = ""
                try:
                    if (system := await self._system(standing)) is not None:
                        await system.told(part, standing)
                except Exception:  # the next part is none the worse
                    fault = traceback.format_exc()[-LONGEST_TRACE:]
                self._send(Done(number, fault))
            case Answer():
                self._asked.answered(message)
                await asyncio.sleep(0)  # who asked hears of it before anything that came after
            case Ping():
                self._say_alive()
            case Look():
                begin = msgspec.structs.replace(self._begin, port=self._server.bserver.port)
                self._looking = asyncio.create_task(self._look(begin))

    def _say_alive(self) -> None:
        cut = self._server.cut.connections
        counted = self._users.refused, self._trust.untrusted, cut, len(self._left_out)
        self._send(Alive(self._server.sessions, *counted))

    async def _look(self, begin: Begin) -> None:
        self._send(await look(begin))

    async def _system(self, standing: Standing) -> VisionSystem | None:
        system = self._systems.get(standing.stream)
        if system is None:
            if len(self._systems) >= MOST_SYSTEMS:
                if len(self._left_out) < 1000:
                    self._left_out.add(standing.stream)
                return None
            system = VisionSystem(self._model, standing, self._asked.ask, self._recipes, self._begin.run)
            await system.begin()
            self._systems[standing.stream] = system
            self._say_alive()  # each takes a moment, and many are no hanging
            await asyncio.sleep(0)
        return system


async def main() -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=words.LONGEST)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout.buffer)

    def send(message: words.FromProcess) -> None:
        transport.write(words.packed(message))

    begin = await words.to_process(reader)
    if not isinstance(begin, Begin):
        return
    serving = Serving(begin, send)
    try:
        send(await serving.start())
        _bound_memory()
        gc.collect()
        gc.freeze()
        gc.enable()
        while (message := await words.to_process(reader)) is not None:
            await serving.hear(message)
    except CannotServe as error:
        send(Failed(str(error)))
    except Exception as error:
        trace = traceback.format_exc()[-LONGEST_TRACE:]
        send(Failed(f"a fault of this software ({type(error).__name__}): the server's log says more", trace))


def _identity(begin: Begin) -> Identity:
    try:
        return identity(Path(begin.folder), begin.uri, f"DefectVision {begin.name}")
    except OSError as error:
        raise CannotServe(
            f"no certificate can be kept in {begin.folder} ({error.strerror}): see to its rights"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bound_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # what clients do wrong is counted, and no reason to write lines
    harden()
    gc.disable()  # until the address space is there: it is half a million objects that stay
    asyncio.run(main())
    os._exit(0)  # asyncua's threads are waited for otherwise
