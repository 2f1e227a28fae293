"""The end of a server: its parts end side by side, each by its name, and none of them holds up the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

log = logging.getLogger("defectvision.app")


async def ended(within_s: float, **parts: Awaitable[object]) -> None:
    """Wait until parts have ended, for so many seconds at the most; one that is late is left behind, and one that fails
    is said in the log."""
    tasks = {asyncio.ensure_future(part): name for name, part in parts.items()}
    if not tasks:
        return
    done, late = await asyncio.wait(tasks, timeout=within_s)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("part=%s did not stop cleanly", tasks[task], exc_info=error)
    for task in late:
        log.warning("part=%s did not stop within=%gs then=it is left behind", tasks[task], within_s)
        task.cancel()
