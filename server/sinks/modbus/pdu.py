"""What a Modbus request asks for, and its answer: PDU in, PDU out. No I/O.

After the MODBUS Application Protocol Specification V1.1b3. Every request has an answer, if only why there is none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Literal, Protocol

BitTable = Literal["coils", "discrete inputs"]
WordTable = Literal["holding registers", "input registers"]


class Refusal(IntEnum):
    """Exception codes."""

    FUNCTION = 1
    ADDRESS = 2
    VALUE = 3
    FAILURE = 4
    NO_TARGET = 11


class Refused(Exception):
    """A request is not done; nothing of it was."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code.name)
        self.code = code


class Registers(Protocol):
    """What a request reads and writes. Addresses count from 0, words have 16 bits.

    Every method raises Refused where one of the addresses is not there, or not to be written.
    """

    def bits(self, table: BitTable, address: int, count: int) -> Sequence[bool]: ...

    def words(self, table: WordTable, address: int, count: int) -> Sequence[int]: ...

    def set_bits(self, address: int, bits: Sequence[bool]) -> None: ...

    def set_words(self, address: int, words: Sequence[int]) -> None: ...


def answer(request: bytes, registers: Registers) -> bytes:
    """The PDU that answers a request's (1 byte at the least)."""
    function = request[0]
    do = FUNCTIONS.get(function)
    try:
        if do is None:
            raise Refused(Refusal.FUNCTION)
        return bytes([function]) + do(function, request[1:], registers)
    except struct.error:
        code = Refusal.VALUE  # too short, or too long
    except Refused as refused:
        code = refused.code
    return refuse(function, code)


def refuse(function: int, code: Refusal) -> bytes:
    """The PDU that says that nothing was done, and why."""
    return bytes([function | 0x80, code])


def _read_bits(function: int, data: bytes, registers: Registers) -> bytes:
    address, count = struct.unpack(">HH", data)
    _check(1 <= count <= 2000)
    bits = registers.bits("coils" if function == 1 else "discrete inputs", address, count)
    packed = sum(1 << place for place, bit in enumerate(bits) if bit).to_bytes((count + 7) // 8, "little")
    return bytes([len(packed)]) + packed


def _read_words(function: int, data: bytes, registers: Registers) -> bytes:
    address, count = struct.unpack(">HH", data)
    _check(1 <= count <= 125)
    return _packed(registers.words("holding registers" if function == 3 else "input registers", address, count))


def _write_bit(function: int, data: bytes, registers: Registers) -> bytes:
    address, value = struct.unpack(">HH", data)
    _check(value in (0, 0xFF00))
    registers.set_bits(address, [value != 0])
    return data


def _write_word(function: int, data: bytes, registers: Registers) -> bytes:
    address, word = struct.unpack(">HH", data)
    registers.set_words(address, [word])
    return data


def _write_bits(function: int, data: bytes, registers: Registers) -> bytes:
    address, count, size = struct.unpack(">HHB", data[:5])
    _check(1 <= count <= 1968 and size == (count + 7) // 8 == len(data) - 5)
    packed = int.from_bytes(data[5:], "little")
    registers.set_bits(address, [bool(packed >> place & 1) for place in range(count)])
    return data[:4]


def _write_words(function: int, data: bytes, registers: Registers) -> bytes:
    address, count, size = struct.unpack(">HHB", data[:5])
    _check(1 <= count <= 123 and size == 2 * count == len(data) - 5)
    registers.set_words(address, struct.unpack(f">{count}H", data[5:]))
    return data[:4]


def _mask_word(function: int, data: bytes, registers: Registers) -> bytes:
    address, keep, put = struct.unpack(">HHH", data)
    (word,) = registers.words("holding registers", address, 1)
    registers.set_words(address, [(word & keep) | (put & ~keep & 0xFFFF)])
    return data


def _write_and_read(function: int, data: bytes, registers: Registers) -> bytes:
    read_from, read, write_to, count, size = struct.unpack(">HHHHB", data[:9])
    _check(1 <= read <= 125 and 1 <= count <= 121 and size == 2 * count == len(data) - 9)
    registers.words("holding registers", read_from, read)  # refused before anything is written
    registers.set_words(write_to, struct.unpack(f">{count}H", data[9:]))
    return _packed(registers.words("holding registers", read_from, read))


def _packed(words: Sequence[int]) -> bytes:
    return struct.pack(f">B{len(words)}H", 2 * len(words), *words)


def _check(is_right: bool) -> None:
    if not is_right:
        raise Refused(Refusal.VALUE)


FUNCTIONS: Mapping[int, Callable[[int, bytes, Registers], bytes]] = {
    1: _read_bits,
    2: _read_bits,
    3: _read_words,
    4: _read_words,
    5: _write_bit,
    6: _write_word,
    15: _write_bits,
    16: _write_words,
    22: _mask_word,
    23: _write_and_read,
}
"""By function code."""
