"""What a stream may be called."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.words import check_name


@pytest.mark.parametrize("name", [".", "..", "", "a" * 65, "a/b", "a\n", "a\u202eb", "a\u200b", "é", "\ud800"])
def test_what_no_stream_is_called(name: str) -> None:
    with pytest.raises(ValueError, match="a stream's name has 1 to 64 characters"):
        check_name(name)


@given(st.text(alphabet="aZ0._-", min_size=1, max_size=4))
def test_what_has_a_name_has_an_address(name: str) -> None:
    """Clients leave ``.`` and ``..`` out of one."""
    address = httpx.URL("ws://127.0.0.1/ws/live/").join(quote(name, safe=""))
    try:
        check_name(name)
    except ValueError:
        return
    assert urlsplit(str(address)).path == f"/ws/live/{name}"
