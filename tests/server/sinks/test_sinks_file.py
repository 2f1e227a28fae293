"""sinks.json: what is written is read, and anything else is a sentence without what was in it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ground import NewerVersion
from server.sinks import MOST, Choice, StoredSink
from server.sinks.sinks_file import LARGEST_FILE, LARGEST_SETTINGS, check_sink_name, decode, encode

SECRET = "s3cret-Pa55word"
MES = StoredSink("a1", "webhook", "mes", True, Choice(parts="rejects"), {"url": "http://mes/", "secret": SECRET})
EJECTOR = StoredSink("b2", "gpio", "ejector", False, Choice(), {"reject": "5", "reject_ms": 20}, "it was over")


def written(sinks: Any, version: int = 1, **more: object) -> bytes:
    """A file whose checksum is true."""
    digest = hashlib.sha256(msgspec.json.encode(sinks)).hexdigest()
    return msgspec.json.encode({"version": version, "sha256": digest, "sinks": sinks} | more)


@pytest.mark.parametrize("sinks", [(), (MES,), (MES, EJECTOR)])
def test_what_is_written_is_read(sinks: tuple[StoredSink, ...]) -> None:
    assert decode(encode(sinks)) == sinks


def test_as_many_and_as_large_as_there_may_be_are_read() -> None:
    large = {"pem": "\n" * (LARGEST_SETTINGS // 2 - 10)}  # two bytes each
    sinks = tuple(StoredSink(str(number), "k", f"{number:064}", True, Choice(), large) for number in range(MOST))
    data = encode(sinks)
    assert decode(data) == sinks and len(data) < LARGEST_FILE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no list of sinks"),
        (b"[" * 10_000, "no list of sinks"),
        (written((MES,), more=1), "no list of sinks"),
        (written((MES,)).replace(b"http://mes/", b"http://mos/"), "checksum"),
        (written((MES,), version=0), "its version is 0"),
        (written((MES, msgspec.structs.replace(EJECTOR, name="mes"))), "two of the same name"),
        (written((MES, msgspec.structs.replace(EJECTOR, id="a1"))), "two of the same name"),
        (written((msgspec.structs.replace(MES, name="../mes"),)), "cannot be"),
        (written([{"secret": SECRET}]), "no list of sinks"),
    ],
)
def test_what_cannot_be_is_said_without_what_is_in_it(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        decode(data)
    assert SECRET not in str(refusal.value)


def test_a_newer_version_is_told_from_damage() -> None:
    with pytest.raises(NewerVersion):
        decode(written((), version=2))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_list_or_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


@given(st.text(max_size=80))
def test_a_name_is_never_a_path(name: str) -> None:
    try:
        check_sink_name(name)
    except ValueError:
        return
    assert "/" not in name and "\\" not in name and name not in (".", "..") and 0 < len(name) <= 64
