"""No secret of an address is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cameras.redaction import redact, shown

SECRET = st.text(min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://10.0.0.5/live?channel=1&subtype=0", "rtsp://10.0.0.5/live?channel=1&subtype=0"),
        ("http://cam/video?token=abc&channel=1", "http://cam/video?***&channel=1"),
        ("http://cam/video?abc==&fps=5", "http://cam/video?***&fps=5"),
        ("http://cam/video#token", "http://cam/video#***"),
        ("rtsp://cam/user=admin_password=x_channel=1.sdp?real", "rtsp://cam/***?***"),
        ("http://cam/v?token=a@b", "http://***"),
        ("rtsp://admin:pa/ss@cam/live", "rtsp://***"),
        ("parts/good", "parts/good"),
        ("0", "0"),
    ],
)
def test_an_address_as_it_is_shown(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert redact(f"{address} was refused", address) == f"{expected} was refused"


@given(user=SECRET, password=SECRET)
def test_no_password_is_shown(user: str, password: str) -> None:
    address = f"rtsp://{user}:{password}@cam:554/live"
    assert shown(address) in ("rtsp://***@cam:554/live", "rtsp://***")
    assert redact(f"[open] {address}: refused", address).removeprefix("[open] rtsp://***") in (
        "@cam:554/live: refused",
        ": refused",
    )


@given(key=st.sampled_from(["token", "pwd", "auth", "k"]), secret=SECRET.filter(lambda text: "&" not in text))
def test_no_token_is_shown(key: str, secret: str) -> None:
    assert shown(f"http://cam/video?{key}={secret}") in (
        "http://cam/video?***",
        "http://***",
    )


@given(password=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\"<>"), min_size=1))
def test_an_address_the_camera_redirects_to_is_redacted_too(password: str) -> None:
    told = redact(f"moved to rtsp://u:{password}@other/live for now", "rtsp://elsewhere/")
    assert told in ("moved to rtsp://***@other/live for now", "moved to rtsp://*** for now")


@given(st.text())
def test_redacting_again_changes_nothing(text: str) -> None:
    once = redact(f"see http://{text}")
    assert redact(once) == once
