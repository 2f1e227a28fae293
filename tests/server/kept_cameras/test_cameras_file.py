"""cameras.json: which cameras may be in it, and what becomes of a damaged one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.ground import KeptFile, NewerVersion
from server.kept_cameras.cameras_file import (
    FORM,
    LARGEST_FILE,
    LONGEST_SOURCE,
    MOST,
    check_addable,
    decode,
    encode,
)
from server.settings import PulledCamera

SECRET = "s3cret-Pa55word"
PRESS = PulledCamera("press", f"rtsp://operator:{SECRET}@10.0.0.7:554/live?token={SECRET}", width=640, fps=5.0)
CAMERAS = (PRESS, PulledCamera("side", "0", crop="1,2,30,40", patience=60.0))
LONGEST = "http://camera/" + "a" * (LONGEST_SOURCE - 14)


def written(cameras: Any, version: int = 1, **more: object) -> bytes:
    """A file whose checksum is true."""
    digest = hashlib.sha256(msgspec.json.encode(cameras)).hexdigest()
    return msgspec.json.encode({"version": version, "sha256": digest, "cameras": cameras} | more)


@pytest.mark.parametrize("cameras", [(), CAMERAS])
def test_what_is_written_is_read(cameras: tuple[PulledCamera, ...]) -> None:
    assert decode(encode(cameras)) == cameras


def test_as_many_and_as_long_as_there_may_be_are_read() -> None:
    cameras = tuple(PulledCamera(f"{number:064}", LONGEST, 4096, 4096, 239.5, "1,2,3,4") for number in range(MOST))
    data = encode(cameras)
    assert decode(data) == cameras and len(data) < LARGEST_FILE / 4


@pytest.mark.parametrize(
    "source",
    ["0", "63", "rtsp://cam/1", "RTSPS://cam", "http://[::1]:80/x?a=b", "https://u:p@c/", "genicam://GV01?gain=auto"],
)
def test_cameras_of_the_network_and_of_this_machine_may_be_added(source: str) -> None:
    check_addable(PulledCamera("press", source))


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/etc/passwd",
        "../data/access_code",
        "data",
        "C:\\secret.mp4",
        "/dev/video0",
        "/dev/stdin",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file:/etc/passwd",
        "concat:/etc/passwd|/etc/shadow",
        "concat://etc/passwd",
        "concatf:/etc/passwd",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "subfile,,start,0,end,9,,:///etc/passwd",
        "crypto+file:///etc/passwd",
        "async:file:///etc/passwd",
        "cache:http://camera/",
        "data:text/plain,x",
        "pipe:0",
        "pipe://0",
        "fd:",
        "tee:/tmp/x",
        "unix:///run/docker.sock",
        "ftp://camera/x",
        "sftp://camera/x",
        "smb://camera/x",
        "tcp://camera:22",
        "udp://camera:22",
        "rtmp://camera/x",
        "gopher://camera/x",
        "hls+file:///etc/passwd",
        "http+file:///etc/passwd",
        "rtsp",
        "rtsp:",
        "rtsp://",
        "http:///etc/passwd",
        "http://cam:0/",
        "http://cam:99999/",
        "http://cam/ x",
        "http://cam/\r\nHost: x",
        "http://cam/\0",
        "rtsp://admin:12#34@cam",
        " 0",
        "0 ",
        "-1",
        "+1",
        "1.0",
        "64",
        "100",
        "1900",
        "9" * 400,
        "²",
        "٣",
        "0\n",
        "v4l2:/dev/video0",
        "lavfi:testsrc",
        "x11grab::0",
        LONGEST + "a",
    ],
)
def test_nothing_else_is_a_source(source: str) -> None:
    with pytest.raises(ValueError, match=r"source|address") as refused:
        check_addable(PulledCamera("press", source))
    assert len(source) < 20 or source not in str(refused.value)
    with pytest.raises(ValueError, match=r"one of its cameras cannot be"):
        decode(written((PulledCamera("press", source),)))


@given(st.text())
def test_any_text_is_a_camera_s_address_or_refused_in_a_sentence(source: str) -> None:
    try:
        check_addable(PulledCamera("press", source))
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
    else:
        scheme, _, rest = source.partition("://")
        has_host = scheme.lower() in ("rtsp", "rtsps", "http", "https") and rest
        assert has_host or scheme.lower() == "genicam" or 0 <= int(source) < 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a b"}, "1 to 64 characters"),
        ({"name": ""}, "1 to 64 characters"),
        ({"name": "../press"}, "1 to 64 characters"),
        ({"width": 4097}, "width must be 1 to 4096"),
        ({"height": 5000}, "height must be 1 to 4096"),
        ({"width": 0}, "width must be"),
        ({"fps": 0.0}, "fps must be"),
        ({"fps": 1e9}, "fps must be"),
        ({"crop": "1,2"}, "X,Y,W,H"),
        ({"patience": 0.0}, "patience must be"),
    ],
)
def test_what_else_cannot_be(changes: dict[str, Any], words: str) -> None:
    camera = msgspec.structs.replace(PRESS, **changes)
    with pytest.raises(ValueError, match=words) as refused:
        check_addable(camera)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no list of cameras"),
        (b"\xff\xfe", "no list of cameras"),
        (b"[]", "no list of cameras"),
        (b'{"version": 1}', "no list of cameras"),
        (b'{"version": "1"}', "no list of cameras"),
        (b'{"version": 0, "sha256": "", "cameras": []}', "its version is 0"),
        (b'{"version": 1, "sha256": "", "cameras": []}', "checksum"),
        (written(CAMERAS, more=1), "no list of cameras"),
        (written([{"name": "a", "source": "0", "unknown": 1}]), "no list of cameras"),
        (written((PRESS, PRESS)), "two of the same name"),
        (written(tuple(PulledCamera(str(number), "0") for number in range(MOST + 1))), "more than 32"),
        (b'{"cameras":' + b"[" * 200_000, "no list of cameras"),
        (b'{"version":1,"cameras":' + b'{"a":' * 150_000, "no list of cameras"),
    ],
)
def test_what_is_no_such_file_is_said(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(data)


def test_one_that_is_too_large_is_said(tmp_path: Path) -> None:
    (tmp_path / "cameras.json").write_bytes(encode(CAMERAS) + b" " * LARGEST_FILE)
    file = KeptFile(tmp_path / "cameras.json", FORM)
    assert file.contents == () and "larger than 1 MB" in str(file.warning)


def test_a_newer_one_is_told_apart_from_a_damaged_one() -> None:
    with pytest.raises(NewerVersion, match="its version is 2, this software reads 1"):
        decode(written([{"name": "press", "of a later": "version"}], version=2))


def test_every_flipped_bit_is_found_or_changes_nothing_and_no_secret_is_told() -> None:
    whole = encode(CAMERAS)
    for position in range(8 * len(whole)):
        data = bytearray(whole)
        data[position // 8] ^= 1 << position % 8
        try:
            assert decode(bytes(data)) == CAMERAS, position
        except ValueError as error:
            assert "\n" not in str(error) and SECRET[:4] not in str(error)


def test_a_password_that_became_a_field_is_not_told() -> None:
    data = encode(CAMERAS).replace(b'"name": "press"', b'"' + SECRET.encode() + b'": "press"')
    with pytest.raises(ValueError) as refused:
        decode(data)
    assert SECRET not in str(refused.value)


@settings(max_examples=50)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x)).map(lambda x: json.dumps(x).encode()))  # fmt: skip  # noqa: E501
def test_any_bytes_are_cameras_or_a_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no list of cameras|version|checksum"):
        decode(data)


def test_the_checksum_is_of_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checksum"):
        decode(encode(CAMERAS).replace(b"10.0.0.7", b"10.0.0.8"))
