"""Gives a function wrong bytes by the thousand, in a process of its own.

    def test_hostile_manifests() -> None:
        fuzz("tests.fuzz.targets:manifest", seeds=[whole_manifest], tokens=[b"1e308", b"[[[["])

A target takes bytes. It catches what the code under test may raise (``ImageError`` and the like); whatever else leaves
it fails the test, and so does a crash, a hang, or more memory than allowed, none of which takes the test run along.
"""

from __future__ import annotations

import importlib
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutations import mutate

ROOT = Path(__file__).parent.parent.parent
START_S = 60.0
"""For the child to import what it tests, on a busy machine."""


@dataclass(frozen=True)
class _Work:
    target: str
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...]
    rounds: int
    seconds: float
    input_seconds: float
    memory_mb: int
    current: Path


def fuzz(
    target: str,
    seeds: Sequence[bytes],
    *,
    tokens: Sequence[bytes] = (),
    rounds: int = 20_000,
    seconds: float = 10.0,
    input_seconds: float = 20.0,
    memory_mb: int = 1000,
) -> int:
    """Call a target with each seed as it is, then with mutated ones.

    Args:
        target: ``module:function`` of a function of bytes, which lets nothing out but what is a fault.
        seeds: whole inputs, and those that were found to break something once.
        tokens: bytes that mean something to the parser: they are put into the inputs.
        rounds: mutated inputs; the same ones in every run.
        seconds: after which no more are begun.
        input_seconds: that one input may take. Generous: it is about hangs, not about speed.
        memory_mb: of address space that the target may take beyond what it needed to start.

    Returns:
        the number of inputs tried.

    Raises:
        AssertionError: the target let something out, crashed, hung, or took too much; the input is kept and named.
    """
    with tempfile.TemporaryDirectory(prefix="defectvision-fuzz-") as folder:
        current = Path(folder) / "input"
        work = _Work(target, (*seeds,), (*tokens,), rounds, seconds, input_seconds, memory_mb, current)
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.fuzzing"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            # An input that hangs ends by its own alarm; the deadline is for native code, which no alarm interrupts.
            output, errors = child.communicate(pickle.dumps(work), START_S + 3 * seconds + 3 * input_seconds)
            ending = f"ended with {_named(child.returncode)}"
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
            ending = "hung in native code"
        if child.returncode == 0:
            return int(output.split()[-1])
        raise AssertionError(f"{target} {ending} on {_kept(current)}\n{errors.decode(errors='replace')[-3000:]}")


def _named(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _kept(current: Path) -> str:
    if not current.is_file():
        return "no input at all"
    data = current.read_bytes()
    with tempfile.NamedTemporaryFile(prefix="defectvision-fuzz-", delete=False) as file:
        file.write(data)
    return f"{file.name} ({len(data)} bytes: {data[:64].hex()}…)"


def _main() -> None:
    work: _Work = pickle.load(sys.stdin.buffer)
    module, _, name = work.target.partition(":")
    target = getattr(importlib.import_module(module), name)
    for seed in work.seeds:  # whatever is made ready on first use is no cost of a hostile input
        _try(target, seed, work)
    _limit_memory(work.memory_mb)
    random, end, tried = Random(0), time.monotonic() + work.seconds, 0
    for seed in work.seeds:
        _try(target, seed, work)
        tried += 1
    while tried < work.rounds + len(work.seeds) and time.monotonic() < end:
        _try(target, mutate(random, work.seeds, work.tokens), work)
        tried += 1
    print(tried)


def _try(target: Any, data: bytes, work: _Work) -> None:
    work.current.write_bytes(data)
    _alarm(work.input_seconds)
    target(data)
    _alarm(0)


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _hung(*_: object) -> None:
    raise TimeoutError("one input took too long")


def _limit_memory(megabytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").is_file() else 0
    if pages:
        limit = pages * resource.getpagesize() + megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _hung)
    # Pickled classes belong to the module's own name, not to __main__.
    importlib.import_module("tests.fuzz.fuzzing")._main()
