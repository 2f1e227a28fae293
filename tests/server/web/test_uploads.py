"""Multipart forms: whatever comes, it is a form, too large, or a bad upload."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from server.web.uploads import OVERHEAD, BadUpload, Form, TooLarge, read_form, uploads_held

LIMIT = 1000


def read(body: Iterable[bytes], headers: dict[str, str], *, max_files: int = 2) -> tuple[Form, int]:
    """The form, and how many chunks were read. Chunks are handed over one by one."""
    chunks = iter(body)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        chunk = next(chunks, None)
        taken += chunk is not None
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    request = Request({"type": "http", "method": "POST", "headers": raw}, receive)
    share = uploads_held(LIMIT + OVERHEAD).share("a")
    form = asyncio.run(
        read_form(request, "file", share=share, max_file=LIMIT, max_total=2 * LIMIT, max_files=max_files)
    )
    return form, taken


def part(data: bytes, disposition: str = 'form-data; name="file"; filename="a.png"') -> bytes:
    return b"--b\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"


MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


@settings(deadline=None)
@given(st.binary(max_size=LIMIT), st.integers(1, 50))
def test_a_file_comes_through_as_it_is(data: bytes, chunk: int) -> None:
    if b"\r\n--b" in data:
        return
    body = part(data) + part(b"3", 'form-data; name="k"') + b"--b--\r\n"
    form, _ = read([body[at : at + chunk] for at in range(0, len(body), chunk)], MULTIPART)
    assert [(file.filename, file.data) for file in form.files] == [("a.png", data)]
    assert form.fields == {"k": "3"}


_piece = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b"--b", b"--b--", b"\r\n", b"\r\n\r\n", b"Content-Disposition: ", b"form-data; ", b'name="file"; ']
    ),
    st.sampled_from([b'filename="a"', b"filename*=utf-8''%ff", b'name="', b"Content-Type: text/plain; charset=x\r\n"]),
    st.builds(part, st.binary(max_size=30), st.text(st.characters(max_codepoint=255), max_size=30)),
    st.just(part(b"x")),
)


@given(
    st.lists(_piece, max_size=12),
    st.sampled_from([MULTIPART["Content-Type"], "multipart/form-data", "multipart/form-data; boundary=", "text/plain"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40).map("multipart/form-data; ".__add__),
    st.none() | st.text(max_size=8) | st.integers(-1, 10_000).map(str),
)
def test_garbage_is_a_form_or_told_as_what_it_is(pieces: list[bytes], content_type: str, length: str | None) -> None:
    headers = {"Content-Type": content_type} | ({} if length is None else {"Content-Length": length})
    try:
        form, _ = read(pieces, headers)
    except (BadUpload, TooLarge) as error:
        assert str(error)
    else:
        assert 1 <= len(form.files) <= 2


def test_the_length_is_believed_when_it_is_over_the_limit() -> None:
    with pytest.raises(TooLarge, match="MAX_UPLOAD_MB"):
        read(pytest.fail("it was read") for _ in range(1)) if False else read(_unreadable(), MULTIPART | {"Content-Length": "99999999999999999999"})  # fmt: skip  # noqa: E501


def _unreadable() -> Iterable[bytes]:
    pytest.fail("the body was read")
    yield b""


def test_what_is_longer_than_it_said_is_cut_off() -> None:
    endless = iter([part(b"")[:-2], *[bytes(1000)] * 10_000])
    with pytest.raises(TooLarge):
        read(endless, MULTIPART | {"Content-Length": "10"})
    left = sum(1 for _ in endless)
    assert left > 10_000 - (2 * LIMIT + OVERHEAD) / 1000 - 2


def test_one_file_over_its_limit_is_named() -> None:
    with pytest.raises(TooLarge, match=r"a\.png"):
        read([part(bytes(LIMIT + 1)), b"--b--\r\n"], MULTIPART)


def test_too_many_files_and_fields_are_refused() -> None:
    with pytest.raises(BadUpload, match="Too many files"):
        read([part(b"x")] * 3 + [b"--b--\r\n"], MULTIPART)
    with pytest.raises(BadUpload, match="Too many fields"):
        read([part(b"x", 'form-data; name="k"')] * 17 + [b"--b--\r\n"], MULTIPART)


def test_a_file_without_a_name_gets_a_number() -> None:
    form, _ = read([part(b"x", 'form-data; name="file"; filename=""'), b"--b--\r\n"], MULTIPART)
    assert form.files[0].filename == "picture 1"


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "hex", "no-such", "utf-16"])
def test_any_charset_is_a_form_or_a_bad_upload(charset: str) -> None:
    for name in ("file", "ü"):
        body = (
            part(b"a", f'form-data; name="{name}"; filename="\xfc.png"')
            + part(b"\xff", 'form-data; name="k"')
            + b"--b--\r\n"
        )
        with contextlib.suppress(BadUpload):
            form, _ = read([body], {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"})
            assert form.files[0].data == b"a"


@pytest.mark.parametrize(
    ("name", "told"),
    [("\\ud800.png", ".png"), ("\\x1b[31m\\u202ea", "[31ma"), ("a" * 999, "a" * 200), ("\\x00", "picture 1")],
)
def test_a_name_can_be_told_and_stored_whatever_the_charset_makes_of_it(name: str, told: str) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b; charset=unicode_escape"}
    # The parser reads one backslash more away.
    body = part(b"a", f'form-data; name="file"; filename="{name}"'.replace("\\", "\\\\")) + b"--b--\r\n"
    form, _ = read([body], kind)
    assert form.files[0].filename == told
    with pytest.raises(TooLarge) as refusal:
        read([body.replace(b"\r\n\r\na", b"\r\n\r\n" + bytes(LIMIT + 1))], kind)
    assert str(refusal.value).encode()


def test_a_media_type_is_taken_in_any_case() -> None:
    form, _ = read([part(b"a") + b"--b--\r\n"], {"Content-Type": "Multipart/Form-Data; boundary=b"})
    assert form.files[0].data == b"a"
