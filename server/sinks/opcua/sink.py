"""This server as an OPC UA server: a process of its own, told of streams and parts, and asked for triggers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from detector.counted import counted
from server.parts import TriggerRefused
from server.sinks.kind import Around
from server.sinks.opcua import words
from server.sinks.opcua.settings import OpcUaSettings
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
    Seen,
    Shown,
    Standing,
    Told,
    Up,
)
from server.sinks.sink import Line, Outbox, RecipeOnStream, SinkError
from server.words import PartResult

log = logging.getLogger("defectvision.sinks")

LOOK_EVERY_S = 0.1
"""How streams stand; it is looked at after every trigger and part besides."""
PING_EVERY_S = 2.0
HANGS_AFTER_S = 15.0
"""Without an answer to a ping it is ended, and started again."""
STARTED_WITHIN_S = 50.0
MOST_STREAMS = 33
"""One more than are shown, so that it is told that there are more."""
RUN = secrets.token_hex(4)
"""In the ids of jobs: the numbers of triggers begin with 1 at every start of this server."""
_PROGRAM = """\
import runpy, sys, types
for name, path in zip(("server.sinks", "server.sinks.opcua"), sys.argv[1:], strict=True):
    # Their faces load the inspecting server, NumPy and OpenCV included: 60 MB and a second that are not needed there.
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [path]
runpy.run_module("server.sinks.opcua.process", run_name="__main__")
"""


@dataclass
class Peer:
    """The process, while it runs. ``up``: what it said of itself; ``alive``: how it is doing."""

    process: Process
    up: Up | None = None
    alive: Alive = field(default_factory=lambda: Alive(0, 0, 0, 0, 0))
    heard_at: float = 0.0
    done: int = 0
    fault: str = ""
    looking: asyncio.Future[Seen] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, message: words.ToProcess) -> None:
        """Queue a message; who sends many drains."""
        assert self.process.stdin is not None
        self.process.stdin.write(words.packed(message))

    async def drain(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            await self.process.stdin.drain()

    async def next(self) -> words.FromProcess:
        """Raises SinkError: it ended, or says why it cannot go on."""
        assert self.process.stdout is not None
        try:
            message = await words.from_process(self.process.stdout)
        except (ValueError, msgspec.MsgspecError):
            message = None
        if message is None:
            raise SinkError("the process that serves OPC UA ended; it is started again")
        if isinstance(message, Failed):
            if message.trace:
                log.error("the process that serves OPC UA failed\n%s", message.trace)
            raise SinkError(message.words)
        return message

    async def begun(self) -> Up:
        """Wait until it serves. Raises SinkError."""
        try:
            async with asyncio.timeout(STARTED_WITHIN_S):
                message = await self.next()
        except TimeoutError:
            words_ = f"it did not start within {STARTED_WITHIN_S:.0f} s: this machine is overloaded"
            raise SinkError(words_) from None
        if not isinstance(message, Up):
            raise SinkError("the process that serves OPC UA does not begin as it should")
        return message


@dataclass
class OpcUa:
    settings: OpcUaSettings
    around: Around
    _peer: Peer | None = None

    async def run(self, outbox: Outbox) -> None:
        line = self.around.line
        if line is None:
            raise SinkError("there is no line here that could be offered")
        async with started() as process:
            peer = Peer(process)
            peer.send(self.begin())
            peer.up = await peer.begun()
            peer.heard_at = asyncio.get_running_loop().time()
            view = View(line, self.settings.named)
            self._peer = peer
            try:
                await _first_of(
                    self._hear(peer, line, view),
                    self._look(peer, view),
                    self._ping(peer, outbox),
                    self._feed(peer, view, outbox),
                )
            finally:
                self._peer = None

    async def test(self) -> str:
        """Look at it as a client does; where it does not run, it is started for that."""
        peer = self._peer
        if peer is not None and peer.up is not None:
            if peer.looking is not None:
                raise SinkError("it is tested already: wait for that")
            peer.looking = asyncio.get_running_loop().create_future()
            try:
                peer.send(Look())
                return _said(await peer.looking)
            finally:
                peer.looking = None
        begin, taken = self.begin(), ""
        if _is_taken(begin.host, begin.port):
            taken = f"; port {begin.port} is in use now, by this very sink if it runs, so it was tried on another"
            begin = msgspec.structs.replace(begin, port=0)
        async with started() as process:
            tried = Peer(process)
            tried.send(begin)
            await tried.begun()
            if self.around.line is not None:
                tried.send(View(self.around.line, self.settings.named).news())
            tried.send(Look())
            while not isinstance(seen := await tried.next(), Seen):
                pass
            return _said(seen) + taken

    def begin(self) -> Begin:
        """What the process is told first."""
        settings, around = self.settings, self.around
        machine = hashlib.sha256(f"{socket.gethostname()} {around.data_dir}".encode()).hexdigest()[:8]
        return Begin(
            host=settings.host.strip("[]"),
            port=settings.port,
            user=settings.user,
            password=settings.password,
            encrypted=settings.security == "encrypted",
            listed_only=settings.clients == "trusted",
            name=around.name,
            run=RUN,
            folder=str((around.data_dir / "opcua" / around.name).resolve()),
            uri=f"urn:defectvision:{machine}:{around.name}",
        )

    async def _hear(self, peer: Peer, line: Line, view: View) -> None:
        recipes: set[asyncio.Task[None]] = set()
        try:
            while True:
                match await peer.next():
                    case Ask(what="trigger") as ask:
                        peer.send(_triggered(line, ask))
                        peer.send(view.news())
                    case Ask() as ask:
                        task = asyncio.create_task(_choose(peer, line, ask))
                        recipes.add(task)
                        task.add_done_callback(recipes.discard)
                    case Done(number, fault):
                        peer.done, peer.fault = number, fault
                        peer.changed.set()
                    case Seen() as seen if peer.looking is not None and not peer.looking.done():
                        peer.looking.set_result(seen)
                    case Alive() as alive:
                        peer.alive, peer.heard_at = alive, asyncio.get_running_loop().time()
                await peer.drain()
        finally:
            for task in recipes:
                task.cancel()

    async def _look(self, peer: Peer, view: View) -> None:
        while True:
            news = view.news()
            if news.streams or news.recipes is not None:
                peer.send(news)
                await peer.drain()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _ping(self, peer: Peer, outbox: Outbox) -> None:
        loop = asyncio.get_running_loop()
        while True:
            outbox.is_up(self._words(peer))
            peer.send(Ping())
            await peer.drain()
            await asyncio.sleep(PING_EVERY_S)
            if loop.time() - peer.heard_at > HANGS_AFTER_S:
                raise SinkError("the process that serves OPC UA hung; it is started again")

    async def _feed(self, peer: Peer, view: View, outbox: Outbox) -> None:
        """Parts, in order; one is confirmed once clients can read it."""
        number = 0
        async for event in outbox:
            message = event.message
            if isinstance(message, PartResult) and view.wants(message.stream):
                number += 1
                peer.changed.clear()
                peer.send(Told(number, _light(message), view.of(message.stream)))
                await peer.drain()
                while peer.done < number:
                    await peer.changed.wait()
                    peer.changed.clear()
                if peer.fault:
                    log.error("a part could not be shown over OPC UA stream=%s\n%s", message.stream, peer.fault)
                    outbox.refuse("a fault of this software: the server's log says more")
                    continue
            outbox.confirm()

    def _words(self, peer: Peer) -> str:
        assert peer.up is not None
        alive, settings = peer.alive, self.settings
        clients = (
            "no client is"
            if alive.sessions == 0
            else f"{alive.sessions} client{'s are' * (alive.sessions > 1) or ' is'}"
        )
        said = f"opc.tcp://{settings.host}:{peer.up.port}: {clients} connected"
        said += f"; {counted(alive.refused, 'login was', 'logins were')} refused" * (alive.refused > 0)
        said += f"; {counted(alive.untrusted, 'client was', 'clients were')} not trusted" * (alive.untrusted > 0)
        said += f"; {counted(alive.cut, 'connection was', 'connections were')} cut off" * (alive.cut > 0)
        return said + f"; {alive.left_out} streams more than fit are not shown" * (alive.left_out > 0)


class View:
    """What the process was shown, so that it is told only what changed.

    Args:
        named: streams that are shown whether they run or not, and no others; none: each that runs, and ever did.
    """

    def __init__(self, line: Line, named: tuple[str, ...]) -> None:
        self._line, self._named = line, named
        self._shown: dict[str, Standing] = {}
        self._recipes: tuple[Recipe, ...] | None = None

    def wants(self, stream: str) -> bool:
        return not self._named or stream in self._named

    def of(self, stream: str) -> Standing:
        """How a stream stands; the process is told of it with this."""
        seen = self._line.standing(stream)
        standing = Standing(stream, seen.camera, seen.by, seen.in_work, seen.simulated, _recipe(seen.recipe))
        if stream in self._shown or len(self._shown) < MOST_STREAMS:
            self._shown[stream] = standing
        return standing

    def news(self) -> Shown:
        before = dict(self._shown)
        names = self._named or [*dict.fromkeys((*self._shown, *self._line.streams))][:MOST_STREAMS]
        changed = tuple(standing for name in names if (standing := self.of(name)) != before.get(name))
        recipes = tuple(Recipe(one.id, one.name, one.version) for one in self._line.recipes)
        if recipes == self._recipes:
            return Shown(changed)
        self._recipes = recipes
        return Shown(changed, recipes)


def _said(seen: Seen) -> str:
    if not seen.is_well:
        raise SinkError(seen.words)
    return seen.words


def _recipe(recipe: RecipeOnStream | None) -> Recipe | None:
    return None if recipe is None else Recipe(recipe.id, recipe.name, recipe.version)


def _triggered(line: Line, ask: Ask) -> Answer:
    try:
        taken = line.trigger(ask.stream, part=ask.part, trigger_id=ask.trigger_id, by="opcua")
    except TriggerRefused as refused:
        return Answer(ask.ask, refusal="state", words=str(refused))
    except SinkError as error:
        return Answer(ask.ask, refusal="argument", words=str(error))
    return Answer(ask.ask, trigger=taken.number)


async def _choose(peer: Peer, line: Line, ask: Ask) -> None:
    try:
        answer = Answer(ask.ask, recipe=await line.choose_recipe(ask.stream, ask.recipe, who="OPC UA"))
    except SinkError as error:
        answer = Answer(ask.ask, refusal="argument", words=str(error))
    except Exception:
        peer.send(Answer(ask.ask, refusal="failed", words="the recipe could not be chosen; the server's log says why"))
        raise
    peer.send(answer)


def _light(part: PartResult) -> PartResult:
    return msgspec.structs.replace(part, heatmap=msgspec.UNSET)


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[Process]:
    """A process of ours; killed at the end. Raises SinkError."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM,
            *(str(Path(__file__).parents[above]) for above in (1, 0)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            limit=words.LONGEST,
        )
    except OSError as error:
        raise SinkError(f"the process for OPC UA cannot be started ({error.strerror}): free memory") from error
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await process.wait()


async def _first_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Run them until one ends; raises what it raised."""
    tasks = [asyncio.create_task(one) for one in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _is_taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False
