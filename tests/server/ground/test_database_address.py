"""Where a PostgreSQL is, in one line."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ground import DatabaseAddress

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


def test_its_parts() -> None:
    address = DatabaseAddress.parse("postgresql://line:p%40ss@db.plant:5433/history?sslmode=require")
    assert address == DatabaseAddress("db.plant", 5433, "history", "line", "p@ss", "require")
    assert str(address) == "PostgreSQL history on db.plant:5433" and "p@ss" not in repr(address)
    socket = DatabaseAddress.parse("postgres:///history?host=/run/postgresql")
    assert (socket.host, socket.port, socket.user) == ("/run/postgresql", 5432, None)
    assert DatabaseAddress.parse("postgresql://[::1]/history").host == "::1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with postgresql://"),
        ("sqlite:///history.db", "without it SQLite is used"),
        ("mysql://s3cret@host/db", "must begin with postgresql://"),
        ("postgresql://line:s3cret@host", "names no database"),
        ("postgresql://line:s3cret@host/", "names no database"),
        ("postgresql://line:s3cret@host/a/b", "names no database"),
        ("postgresql:///history", "names no host"),
        ("postgresql://host/history?host=/run", "names no host, or two"),
        ("postgresql://line:s3cret@host:port/db", "must be an address such as"),
        ("postgresql://line:s3cret@host:99999/db", "must be an address such as"),
        ("postgresql://line:s3cret@host/db?sslmode=yes", "sslmode must be one of"),
        ("postgresql://line:s3cret@host/db?passfile=/etc/passwd", "only sslmode and host"),
        ("postgresql://line:s3cret@host/db?sslmode=require&sslmode=disable", "only sslmode and host"),
    ],
)
def test_what_cannot_be_one_is_refused_and_not_repeated(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"must|names|may") as refused:
        DatabaseAddress.parse(text)
    assert words in str(refused.value) or words.removeprefix("sslmode ") in str(refused.value)
    assert "s3cret" not in str(refused.value)


@given(TEXT, TEXT)
def test_whatever_user_and_password_are(user: str, password: str) -> None:
    text = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@host/db"
    address = DatabaseAddress.parse(text)
    assert (address.user, address.password) == (user, password)
    assert str(address) == "PostgreSQL db on host:5432"


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda rest: f"postgresql://{rest}"))
def test_anything_is_an_address_or_refused(text: str) -> None:
    try:
        address = DatabaseAddress.parse(text)
    except ValueError:
        return
    assert address.host and address.database and 0 <= address.port <= 65535
