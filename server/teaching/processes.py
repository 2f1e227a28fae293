"""Programs of this room that run as processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process

_PROGRAM = """
import os, runpy
if hasattr(os, "setpgid"):
    os.setpgid(0, 0)
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
"""Ctrl-C is for the server, which then ends this. No session of its own: Linux would give that as much of the processor
as all of the server's (autogroups), however nice it is."""
_GOING_S = 1.0
"""How long one may take from closing its answers to its end."""
_ENDED_S = 5.0
"""How long a process that was killed may take to be gone."""


async def start(module: str, *arguments: str, longest_line: int, errors: int | None = None) -> Process:
    """Start a module of this room as a program; its input and output are pipes.

    Args:
        longest_line: bytes of what it says at once.
        errors: where its standard error goes; None: where this process' own does.

    Raises:
        OSError: it cannot be started.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-c",
        _PROGRAM.format(module=module),
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=errors,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        limit=longest_line,
    )


async def end(process: Process) -> None:
    """End it, whatever it is doing."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await _waited(process, _ENDED_S)
    if process.stdin is not None:
        process.stdin.close()


async def ending(process: Process) -> str:
    """How a process ended that says nothing any more; ends it where it did not."""
    if not await _waited(process, _GOING_S):  # sending a signal to what has ended loses how it ended
        await end(process)
    status = process.returncode
    return f"by signal {-status}" if status is not None and status < 0 else f"with status {status}"


async def _waited(process: Process, seconds: float) -> bool:
    """Whether it ended within so many."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    return process.returncode is not None
