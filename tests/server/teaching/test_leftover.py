from __future__ import annotations

import os
import subprocess
import sys

import pytest

from server.teaching.leftover import Load, Shares

TICK = os.sysconf("SC_CLK_TCK")


def stat(user: int, nice: int, system: int, idle: int) -> str:
    """Seconds, as /proc/stat tells of all cores."""
    numbers = " ".join(str(one * TICK) for one in (user, nice, system, idle, 0, 0, 0, 0, 0, 0))
    return f"cpu  {numbers}\ncpu0 {numbers}\nintr 1\n"


def test_what_others_use_is_what_is_used_without_ones_own() -> None:
    before, after = Load.now(stat(100, 10, 5, 200)), Load.now(stat(104, 13, 6, 202))
    own = Load(after.there, after.used, before.own + 3.0)
    shares = own.since(before)
    assert shares.others == pytest.approx(0.5) and shares.own == pytest.approx(0.3)


@pytest.mark.parametrize("text", ["", "cpu", "cpu0 1 2 3 4 5 6\n", "cpu a b c d e f g\n"])
def test_a_system_that_does_not_tell_is_said_to_be_one(text: str) -> None:
    with pytest.raises(ValueError):
        Load.now(text)


@pytest.mark.parametrize(
    ("shares", "is_idle", "wanted"),
    [
        (Shares(0.3, 0.7), False, True),
        (Shares(0.3, 0.7), True, True),
        (Shares(0.9, 0.1), False, False),  # it would hardly come to its turn
        (Shares(0.7, 0.3), True, True),
        (Shares(0.9, 0.1), True, False),
        (Shares(0.2, 0.0), True, True),  # nothing to do is not starving
    ],
)
def test_it_is_idle_where_others_leave_enough(shares: Shares, is_idle: bool, wanted: bool) -> None:
    assert shares.wants_idle(is_idle) is wanted


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, and schedules so")
def test_all_threads_step_aside_and_those_they_start() -> None:
    program = """
import os, threading
from server.teaching import leftover
over = threading.Event()
threading.Thread(target=over.wait, daemon=True).start()
leftover._schedule(True)
found = []
late = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
late.start(); late.join()
print(*{os.sched_getscheduler(int(thread)) == os.SCHED_IDLE for thread in os.listdir("/proc/self/task")}, *found)
os._exit(0)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", str(os.SCHED_IDLE)]
