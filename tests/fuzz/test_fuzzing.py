"""The fuzzer itself: it must not miss what it is there to find."""

from __future__ import annotations

import os
import signal
import sys
import time
from random import Random

import pytest

from tests.fuzz.fuzzing import fuzz
from tests.fuzz.mutations import MAX_BYTES, mutate

HERE = "tests.fuzz.test_fuzzing"
FATAL = b"fatal"


def harmless(data: bytes) -> None:
    assert len(data) <= MAX_BYTES


def crashes(data: bytes) -> None:
    if data[:1] != FATAL[:1]:
        os.kill(os.getpid(), signal.SIGSEGV)


def hangs(data: bytes) -> None:
    while data[:1] != FATAL[:1]:
        time.sleep(0.01)


def swells(data: bytes) -> None:
    if data[:1] != FATAL[:1]:
        bytearray(500_000_000)


def raises(data: bytes) -> None:
    if data[:1] != FATAL[:1]:
        raise ZeroDivisionError("division")


def test_what_is_sound_passes_and_every_seed_is_tried() -> None:
    assert fuzz(f"{HERE}:harmless", [FATAL, b""], rounds=500) >= 2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param("crashes", "SIGSEGV", marks=pytest.mark.skipif(sys.platform == "win32", reason="no signals")),
        pytest.param("hangs", "too long", marks=pytest.mark.skipif(sys.platform == "win32", reason="no alarm")),
        pytest.param("swells", "MemoryError", marks=pytest.mark.skipif(sys.platform != "linux", reason="no statm")),
        ("raises", "ZeroDivisionError"),
    ],
)
def test_what_is_not_fails_and_names_its_input(target: str, words: str) -> None:
    with pytest.raises(AssertionError, match=rf"(?s)on \S+defectvision-fuzz-\S+ \(\d+ bytes.*{words}|{words}.*on \S+"):
        fuzz(f"{HERE}:{target}", [FATAL], input_seconds=1, memory_mb=200)


def test_the_same_numbers_make_the_same_inputs() -> None:
    def made() -> list[bytes]:
        random = Random(1)
        return [mutate(random, [b"some bytes", b""], [b"token"]) for _ in range(500)]

    assert made() == made() and len(set(made())) > 200
