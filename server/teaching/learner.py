"""The near side of the process that learns."""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Protocol

import msgspec

from server.teaching import words
from server.teaching.processes import end, ending, start
from server.teaching.words import Answer, Progress, Region, Request, Step, Wanted

log = logging.getLogger("defectvision.teaching")

_PROGRAM = "server.teaching.far_side"
QUIET_S = 180.0
"""How long it may give no sign of going on: a picture looked at, a step of learning. The longest took 12 s (209
pictures, preset fine, 2 cores that others kept busy); where other programs leave it less of the processor, longer."""


class LearnerGone(Exception):
    """The process that learns cannot be started, or ended; one sentence."""


class Learner(Protocol):
    """Looks at pictures and learns from them; one request at a time, in order."""

    async def ask(self, request: Request) -> Answer:
        """Raises LearnerGone: it is not there, or went away."""
        ...

    async def close(self) -> None:
        """End it, whatever it is doing."""
        ...


class LearnerProcess:
    """A process that is started when it is first asked.

    Args:
        wanted: what is to be learned.
        heard: called with what it says by itself.

    Attributes:
        quiet_s: seconds without a sign of going on after which it is ended.
    """

    def __init__(self, wanted: Wanted, heard: Callable[[Progress | Region], None], quiet_s: float = QUIET_S) -> None:
        self._wanted, self._heard, self.quiet_s = wanted, heard, quiet_s
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, once it was started."""
        return self._process.pid if self._process else None

    async def ask(self, request: Request) -> Answer:
        async with self._turn:
            process = await self._started()
            try:
                async with asyncio.timeout(self.quiet_s) as quiet:
                    answer = await self._answer(process, request, quiet)
                if answer is not None:
                    return answer
            except asyncio.CancelledError:
                process.kill()  # its answer would be taken for that to another question
                raise
            except TimeoutError as error:
                await end(process)
                log.error("the process that learns gave no sign of going on for %g s and was ended", self.quiet_s)
                raise LearnerGone(
                    f"the process that learns made no progress for {self.quiet_s:g} s and was ended: stop other "
                    "programs on this computer, then try again; the pictures are still here"
                ) from error
            except (OSError, ValueError, msgspec.MsgspecError) as error:  # it died, or something else took it over
                log.warning("the process that learns cannot be talked to reason=%s", error)
            raise LearnerGone(await self._ending(process))

    async def _answer(self, process: Process, request: Request, quiet: asyncio.Timeout) -> Answer | None:
        """What it answers; None where it went away. Every sign that it goes on gives it time anew: that it says the
        same progress once more is none."""
        assert process.stdin and process.stdout
        process.stdin.write(words.line(request))
        await process.stdin.drain()
        furthest = -1.0
        while text := await process.stdout.readline():
            said = words.said_of(text)
            if not isinstance(said, Progress | Step | Region):
                return said
            if not isinstance(said, Progress) or said.fraction > furthest:
                quiet.reschedule(asyncio.get_running_loop().time() + self.quiet_s)
            if isinstance(said, Progress):
                furthest = max(furthest, said.fraction)
            if not isinstance(said, Step):
                self._heard(said)
        return None

    async def close(self) -> None:
        self._closed = True
        if self._process is not None:
            await end(self._process)

    async def _started(self) -> Process:
        if self._closed:
            raise LearnerGone("the teaching was ended")
        if self._process is None:
            try:
                wanted = msgspec.json.encode(self._wanted).decode()
                self._process = await start(_PROGRAM, wanted, longest_line=words.LONGEST_LINE)
            except OSError as error:
                words_ = f"the process that learns cannot be started ({error.strerror}): free memory, then try again"
                raise LearnerGone(words_) from error
            if self._closed:
                await end(self._process)
        return self._process

    async def _ending(self, process: Process) -> str:
        how = await ending(process)
        if self._closed:
            return "the teaching was ended"
        log.error("the process that learns ended %s", how)
        return f"the process that learns was ended ({how}), as systems do where memory is short: try again"
