"""Addresses as operators write them and as browsers name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ground import PublicURL, canonical_origin


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("https://plant.example", "https://plant.example", "/"),
        ("https://plant.example/", "https://plant.example", "/"),
        ("https://Plant.Example:443/line4", "https://plant.example", "/line4/"),
        (" http://10.0.0.7:8080/a/b.c/ ", "http://10.0.0.7:8080", "/a/b.c/"),
        ("https://[fd00::2]:8443/x/", "https://[fd00::2]:8443", "/x/"),
    ],
)
def test_read(text: str, origin: str, path: str) -> None:
    public = PublicURL.parse(text)
    assert (public.origin, public.path, str(public)) == (origin, path, origin + path)


@pytest.mark.parametrize(
    "text",
    [
        "plant.example",
        "ftp://plant.example/",
        "https://",
        "https://user@plant.example/",
        "https://plant.example/?a=1",
        "https://plant.example/a//b",
        "https://plant.example/../b",
        "https://plant.example/a;b",
        "https://münchen.example/",
    ],
)
def test_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"https://plant\.example/line4/"):
        PublicURL.parse(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("plant.example", True),
        ("PLANT.example:443", True),
        ("plant.example:8443", False),
        ("other", False),
        ("", False),
    ],
)
def test_is_host(host: str, expected: bool) -> None:
    assert PublicURL.parse("https://plant.example/line4/").is_host(host) is expected


@given(st.text(max_size=60))
def test_whatever_is_read_is_read_the_same_again(text: str) -> None:
    origin = canonical_origin(text)
    assert origin is None or canonical_origin(origin) == origin
    try:
        public = PublicURL.parse(text)
    except ValueError:
        return
    assert PublicURL.parse(str(public)) == public
    assert public.path.startswith("/") and public.path.endswith("/") and public.is_host(public.origin.split("//")[1])
