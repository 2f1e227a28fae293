"""Bytes made wrong in the ways that break parsers: always the same for the same random numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

MAX_BYTES = 1 << 20
"""Of one mutated input: larger ones only make the rounds fewer."""

TELLING_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Where signs and widths of integers turn over."""


def mutate(random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """One of the seeds with some of its bytes made wrong.

    Args:
        random: decides everything.
        seeds: whole inputs, at least one; parts of one also end up in another.
        tokens: what means something to the parser: put into the input as they are.
    """
    data = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 3, 5, 10))):
        random.choice(MUTATIONS)(random, data, seeds, tokens)
    return bytes(data[:MAX_BYTES])


def _flip(random: Random, data: bytearray, *_: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set_number(random: Random, data: bytearray, *_: Sequence[bytes]) -> None:
    order, letter = random.choice("<>"), random.choice("BHI")
    number = random.choice((*TELLING_NUMBERS, random.getrandbits(32))) & (1 << 8 * struct.calcsize(letter)) - 1
    _overwrite(random, data, struct.pack(order + letter, number))


def _set_token(random: Random, data: bytearray, _: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    _overwrite(random, data, random.choice(tokens) if tokens else random.randbytes(random.randint(1, 8)))


def _insert(random: Random, data: bytearray, _: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    piece = random.choice(tokens) if tokens and random.random() < 0.5 else random.randbytes(random.randint(1, 16))
    at = random.randint(0, len(data))
    data[at:at] = piece


def _cut(random: Random, data: bytearray, *_: Sequence[bytes]) -> None:
    del data[random.randint(0, len(data)) :]


def _remove(random: Random, data: bytearray, *_: Sequence[bytes]) -> None:
    piece = _piece(random, data)
    del data[piece]


def _repeat(random: Random, data: bytearray, *_: Sequence[bytes]) -> None:
    piece = _piece(random, data)
    data[piece.stop : piece.stop] = data[piece] * random.choice((1, 1, 2, 10, 100))


def _cross(random: Random, data: bytearray, seeds: Sequence[bytes], _: Sequence[bytes]) -> None:
    other = random.choice(seeds)
    data[random.randint(0, len(data)) :] = other[random.randint(0, len(other)) :]


def _overwrite(random: Random, data: bytearray, piece: bytes) -> None:
    at = random.randint(0, max(0, len(data) - len(piece)))
    data[at : at + len(piece)] = piece


def _piece(random: Random, data: bytearray) -> slice:
    start = random.randint(0, len(data))
    return slice(start, min(len(data), start + random.choice((1, 4, 12, 64, 1000))))


MUTATIONS: tuple[Callable[[Random, bytearray, Sequence[bytes], Sequence[bytes]], None], ...] = (
    _flip,
    _set_number,
    _set_token,
    _insert,
    _cut,
    _remove,
    _repeat,
    _cross,
)
