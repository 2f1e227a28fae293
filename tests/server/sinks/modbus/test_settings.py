"""What an operator may choose of a Modbus server, and the words where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.sinks import Around
from server.sinks.modbus import MODBUS
from server.sinks.modbus.settings import ModbusSettings, allowed_of, recipes_of, units_of

AROUND = Around("a", "plc", Path("/data"))


def read(**settings: Any) -> ModbusSettings:
    return MODBUS.read({"streams": "press"} | settings, AROUND)


def test_streams_by_unit() -> None:
    assert units_of(read(streams="press\n\n belt \n9=lid\n 7 = cap.2")) == {1: "press", 2: "belt", 9: "lid", 7: "cap.2"}


def test_recipes_by_number() -> None:
    assert recipes_of(read(recipes="1 = a bottle = blue\n65535=x")) == {1: "a bottle = blue", 65535: "x"}


def test_by_default_this_machine_alone() -> None:
    assert read().address == "127.0.0.1" and allowed_of(read()) == () and not MODBUS.is_told and MODBUS.missing is None


def test_beyond_this_machine_only_for_those_who_are_named() -> None:
    with pytest.raises(ValueError, match="Modbus has no access control: name the addresses"):
        read(address="0.0.0.0")
    assert [str(one) for one in allowed_of(read(address="0.0.0.0", allowed="10.0.0.7\n10.1.0.9/24"))] == [
        "10.0.0.7/32",
        "10.1.0.0/24",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"streams": " \n"}, "name 1 to 32 streams"),
        ({"streams": "\n".join(f"s{number}" for number in range(33))}, "name 1 to 32 streams"),
        ({"streams": "a b"}, "a stream's name has"),
        ({"streams": "256 = a"}, "a unit id is 0 to 255"),
        ({"streams": "a\na"}, "can stand in the streams once"),
        ({"streams": "2 = a\nb"}, "can stand in the streams once"),
        ({"recipes": "one = a"}, "are written NUMBER = RECIPE"),
        ({"recipes": "0 = a"}, "are written NUMBER = RECIPE"),
        ({"recipes": "1 = a\n01 = b"}, "the number 1 stands twice"),
        ({"address": "localhost"}, "listen at an address"),
        ({"allowed": "plc.local"}, "controllers are addresses or networks"),
        ({"port": 0}, "Port: expected a whole number >= 1"),
        ({"word_order": "middle"}, "Numbers of 32 bits: invalid"),
    ],
)
def test_what_cannot_be_is_said(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(**settings)
