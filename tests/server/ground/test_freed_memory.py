"""Memory that was freed below something in use leaves the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

MEASURED = """
import asyncio, ctypes, threading
from pathlib import Path
from server.ground import give_back

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
kept = []

def rss():
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) // 1024

def work():
    "Take 100 MB in pieces, and keep the last: everything below it stays in this thread's heap when it is freed."
    pieces = [libc.malloc(50_000) for _ in range(2000)]
    for piece in pieces:
        ctypes.memset(piece, 1, 50_000)
    kept.append(pieces.pop())
    for piece in pieces:
        libc.free(piece)

async def main():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    held = rss()
    giving = asyncio.create_task(give_back(0.01))
    async with asyncio.timeout(60):
        while rss() > held - 80:
            await asyncio.sleep(0.01)
    giving.cancel()

asyncio.run(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's alone")
def test_what_was_freed_below_something_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
