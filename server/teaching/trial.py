"""Trying a model from elsewhere in a process of its own, before this one loads it.

What a model folder holds of a backbone is a graph, a program: it may be made to take all memory there is, never to end,
or to crash what reads it, and nothing that can be checked of it beforehand rules that out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from asyncio.subprocess import DEVNULL
from pathlib import Path

from detector import ModelError
from server.teaching.processes import end, ending, start

log = logging.getLogger("defectvision.recipes")

MAX_SECONDS = 120.0
"""Of one trial. One of a WideResNet-50-2 took 10 s on 2 cores beside other work, and 33 s with torch beside more."""
LONGEST_ANSWER = 4000
"""Bytes of what it says is wrong with the model."""
_PROGRAM = "server.teaching.trial_far_side"


async def try_out(folder: Path, runtime: str, seconds: float = MAX_SECONDS) -> None:
    """Load a model folder, and look at a frame with it, elsewhere.

    Args:
        seconds: that it may take.

    Raises:
        ModelError: it cannot be loaded, or took too long or too much memory, or ended what read it.
    """
    try:
        process = await start(_PROGRAM, str(folder), runtime, longest_line=LONGEST_ANSWER, errors=DEVNULL)
    except OSError as error:
        raise ModelError(f"its model cannot be tried ({error.strerror}): free memory, then try again") from error
    assert process.stdout
    try:
        async with asyncio.timeout(seconds):
            said = await process.stdout.readline()
        how = "" if said.endswith(b"\n") else await ending(process)
    except TimeoutError as error:
        log.warning("a model from elsewhere was given up seconds=%g", seconds)
        raise ModelError(
            f"its model took more than {seconds:g} s to load and to look at one frame: it is made to do harm, or this "
            "computer is busy; try again when it is not"
        ) from error
    except ValueError as error:  # more than it ever says: something else took it over
        said, how = b"", f"by saying too much ({error})"
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.stdout.read()  # what is left: before, it is not known to have ended
    finally:
        await end(process)
    if how:
        log.warning("a model from elsewhere ended the process that it was tried in how=%s", how)
        raise ModelError(
            f"its model ended the process that it was tried in ({how}): it takes more memory than models do, or is "
            "made to do harm"
        )
    if words := os.fsdecode(said).strip():
        raise ModelError(words)
