"""What may be offered over OPC UA, and what may not; lengths that hang asyncua's reader are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.sinks import Around
from server.sinks.opcua import OPCUA

AROUND = Around("1", "plant", Path("/nowhere"))
KNOWN = {"user": "plc", "password": "right horse"}


@pytest.mark.parametrize(
    "settings", [{}, {"security": "open"}, KNOWN, {"host": "0.0.0.0", **KNOWN}, {"streams": " a, b,a "}, {"port": 1}]
)
def test_these_can_be(settings: dict[str, Any]) -> None:
    OPCUA.read(settings, AROUND)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"host": "0.0.0.0"}, "a user and a password are needed"),
        ({"host": "192.168.1.5", "user": "plc"}, "needs a password"),
        ({"host": "::", "security": "open", **KNOWN}, "have to encrypt"),
        ({"user": "plc", "password": "short"}, "8 characters"),
        ({"security": "open", "clients": "trusted"}, "only where they encrypt"),
        ({"host": "a b"}, "an address or a name"),
        ({"streams": "a/b"}, "name"),
        ({"streams": ",".join(f"s{n}" for n in range(33))}, "32 streams"),
        ({"port": 0}, "Port"),
    ],
)
def test_these_cannot(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        OPCUA.read(settings, AROUND)


HOSTILE = """
from server.sinks.opcua.bounded import harden
harden()
from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua import ua_binary
minus, huge = (-5).to_bytes(4, "little", signed=True), (2**31 - 1).to_bytes(4, "little")
nulls, texts = bytes([0x80]) + huge, bytes([0x8C]) + (3).to_bytes(4, "little") + minus * 3
variant = ua.Variant([1.0, 2.0], ua.VariantType.Double)
for data in (nulls, texts, bytes([0x8F]) + huge, bytes([0x98]) + huge):
    try:
        ua_binary.variant_from_binary(Buffer(data))
    except NotEnoughData:
        continue
    raise SystemExit(f"{data!r} was read")
assert ua_binary.variant_from_binary(Buffer(ua_binary.variant_to_binary(variant))) == variant
try:
    ua_binary.struct_from_binary(ua.CallParameters, Buffer(huge + bytes(8)))
except NotEnoughData:
    print("refused")
"""


def test_lengths_that_cannot_be_are_refused_at_once() -> None:
    """In a process of its own, as it is used: asyncua's reader is another one from then on."""
    pytest.importorskip("asyncua", reason="the extra opcua is not installed")
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "refused\n", done.stderr
