"""Requests and answers, byte by byte, and what hostile ones can do: nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadWriteMultipleRegistersRequest

from server.sinks.modbus.pdu import FUNCTIONS, BitTable, Refusal, Refused, WordTable, answer


class Ten:
    """Ten coils, ten words; both tables of each are the same."""

    def __init__(self) -> None:
        self.coils, self.held = [False] * 10, [0] * 10

    def bits(self, table: BitTable, address: int, count: int) -> Sequence[bool]:
        return self._of(self.coils, address, count)

    def words(self, table: WordTable, address: int, count: int) -> Sequence[int]:
        return self._of(self.held, address, count)

    def set_bits(self, address: int, bits: Sequence[bool]) -> None:
        self._of(self.coils, address, len(bits))
        self.coils[address : address + len(bits)] = bits

    def set_words(self, address: int, words: Sequence[int]) -> None:
        self._of(self.held, address, len(words))
        self.held[address : address + len(words)] = words

    def _of(self, all: list, address: int, count: int) -> list:  # type: ignore[type-arg]
        if address + count > 10:
            raise Refused(Refusal.ADDRESS)
        return all[address : address + count]


# request, answer, and the words after it
EXAMPLES = [
    ("06 0002 1234", "06 0002 1234", [0, 0, 0x1234]),
    ("10 0001 0002 04 0001 FFFF", "10 0001 0002", [0, 1, 0xFFFF]),
    ("03 0000 0002", "03 04 0000 0000", []),
    ("04 0009 0001", "04 02 0000", []),
    ("16 0000 00F0 000A", "16 0000 00F0 000A", [0x000A]),
    ("17 0000 0002 0001 0001 02 0007", "17 04 0000 0007", [0, 7]),
    ("03 0009 0002", "83 02", []),
    ("06 000A 0001", "86 02", []),
    ("17 0009 0002 0001 0001 02 0007", "97 02", [0, 0]),  # what cannot be read is not written either
    ("03 0000 0000", "83 03", []),
    ("03 0000 007E", "83 03", []),
    ("03 0000", "83 03", []),
    ("03 0000 0001 00", "83 03", []),
    ("10 0001 0002 04 0001", "90 03", []),
    ("10 0001 0001 04 0001 0001", "90 03", []),
    ("10 0001", "90 03", []),
    ("05 0001 00FF", "85 03", []),
    ("0F 0000 0003 02 0700", "8F 03", []),
    ("08 0000 1234", "88 01", []),  # diagnostics
    ("2B 0E 01 00", "AB 01", []),
    ("00", "80 01", []),
    ("83 02", "83 01", []),
]


@pytest.mark.parametrize(("request_", "expected", "words"), EXAMPLES)
def test_examples(request_: str, expected: str, words: list[int]) -> None:
    registers = Ten()
    assert answer(bytes.fromhex(request_), registers).hex(" ").upper() == bytes.fromhex(expected).hex(" ").upper()
    assert registers.held[: len(words)] == words and sum(registers.held[len(words) :]) == 0


def test_bits() -> None:
    registers = Ten()
    assert answer(bytes.fromhex("0F 0000 000A 02 CD01"), registers) == bytes.fromhex("0F 0000 000A")
    assert answer(bytes.fromhex("01 0000 000A"), registers) == bytes.fromhex("01 02 CD01")
    assert answer(bytes.fromhex("05 0001 FF00"), registers) == bytes.fromhex("05 0001 FF00")
    assert answer(bytes.fromhex("02 0000 0008"), registers) == bytes.fromhex("02 01 CF")
    assert answer(bytes.fromhex("01 0009 0002"), registers) == bytes.fromhex("81 02")


hostile = st.one_of(
    st.binary(min_size=1, max_size=253),
    st.builds(
        lambda code, rest: bytes([code]) + rest, st.sampled_from([*FUNCTIONS, 7, 8, 43]), st.binary(max_size=252)
    ),
    st.builds(
        lambda read, count, write, words: (
            bytes([23]) + ReadWriteMultipleRegistersRequest(read, count, write, words).encode()
        ),
        st.integers(0, 12),
        st.integers(1, 12),
        st.integers(0, 12),
        st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=12),
    ),
)


@given(hostile)
def test_every_request_has_an_answer_that_fits_and_a_refused_one_changes_nothing(request_: bytes) -> None:
    registers = Ten()
    said = answer(request_, registers)
    assert 2 <= len(said) <= 253 and said[0] & 0x7F == request_[0] & 0x7F
    if said[0] & 0x80:
        assert len(said) == 2 and said[1] in (1, 2, 3) and registers.__dict__ == Ten().__dict__
    else:
        decoded = DecodePDU(is_server=False).decode(said)
        assert decoded is not None and not decoded.isError()
    assert len(registers.held) == len(registers.coils) == 10 and all(0 <= word <= 0xFFFF for word in registers.held)
