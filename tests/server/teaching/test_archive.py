"""ZIPs of pictures, and of people who mean harm."""

from __future__ import annotations

import contextlib
import io
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.teaching import archive
from server.teaching.archive import ArchiveError, Packed, is_archive, pictures_in

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def packed(files: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def unpacked(data: bytes, most: int = 300, most_each: int = 100_000) -> list[Packed]:
    return [*pictures_in(data, most=most, most_each=most_each)]


def refused(data: bytes, words: str, **limits: int) -> None:
    with pytest.raises(ArchiveError, match=words):
        unpacked(data, **limits)


def test_the_pictures_of_a_folder_come_in_order_and_what_is_none_is_passed_over() -> None:
    data = packed(
        {
            "good/": b"",
            "good/b.PNG": PICTURE,
            "good/a.jpg": PICTURE[:9],
            "good/Thumbs.db": b"x",
            "__MACOSX/good/._a.jpg": b"x",
            "readme.txt": b"x",
        }
    )
    assert is_archive(data)
    assert unpacked(data) == [Packed("b.PNG", PICTURE), Packed("a.jpg", PICTURE[:9])]


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_every_byte_that_is_another_is_damage_or_none(compression: int) -> None:
    whole = packed({"a-picture-é.png": PICTURE, "b.png": PICTURE}, compression=compression)
    for position in range(len(whole)):
        for other in (0xFF, 0x00, whole[position] ^ 1 << position % 8):
            data = bytearray(whole)
            data[position] = other
            with contextlib.suppress(ArchiveError):
                unpacked(bytes(data))


@pytest.mark.parametrize("name", ["../../etc/a.png", "/etc/a.png", "C:\\windows\\a.png", "a/../../a.png"])
def test_a_name_that_climbs_out_is_a_name_and_nothing_more(name: str) -> None:
    (only,) = unpacked(packed({name: PICTURE}))
    assert only.name == "a.png" and only.data == PICTURE


def test_a_bomb_is_refused_before_anything_is_unpacked() -> None:
    refused(packed({"a.png": bytes(50_000_000)}), "over 0.1 MB")
    refused(packed({"a.png": bytes(50_000_000)}), "100 times its size", most_each=100_000_000)


def test_many_pictures_that_are_large_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_UNPACKED", 1000)
    refused(packed({f"{n}.png": PICTURE for n in range(10)}), "unpacked: send fewer")


def test_too_many_pictures_are_refused() -> None:
    refused(packed({f"{n}.png": PICTURE for n in range(5)}), "5 pictures in the ZIP, at most 4", most=4)


def test_a_long_list_is_refused_before_it_is_read() -> None:
    refused(packed({f"{n:0200}.txt": b"" for n in range(5000)}), "list of entries is too long")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_what_is_packed_may_be_longer_than_a_list(compression: int) -> None:
    large = random.Random(0).randbytes(archive.MOST_DIRECTORY + 1)
    with archive.opened(packed({"a.png": large}, compression=compression), "") as file:
        assert file.read("a.png") == large


def test_an_archive_in_it_is_refused() -> None:
    refused(packed({"a.png": PICTURE, "more.zip": packed({"b.png": PICTURE})}), "another archive")


def test_nothing_in_it_is_refused() -> None:
    refused(packed({"readme.txt": b"x"}), "no picture in the ZIP")
    refused(packed({}), "no picture in the ZIP")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        entry = zipfile.ZipInfo("a.png")
        entry.external_attr = (kind | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    refused(buffer.getvalue(), "a link in the ZIP")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(compression: int) -> None:
    refused(packed({"a.png": PICTURE}, compression=compression), "deflate")


def changed(data: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    """With something else in the first entry of its list, which begins at that place."""
    writable = bytearray(data)
    change(writable, writable.index(b"PK\x01\x02"))
    return bytes(writable)


def test_encryption_is_refused() -> None:
    def encrypt(data: bytearray, entry: int) -> None:
        data[entry + 8] |= 1

    refused(changed(packed({"a.png": PICTURE}), encrypt), "encrypted")


def test_a_list_that_lies_about_a_size_unpacks_no_more_than_it_says() -> None:
    def lie(data: bytearray, entry: int) -> None:
        struct.pack_into("<I", data, entry + 24, 10)

    refused(changed(packed({"a.png": PICTURE * 10}), lie), "incomplete or damaged")


def test_entries_that_share_bytes_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.png", PICTURE)
        file.writestr("b.png", PICTURE)
        file.filelist[1].header_offset = 0
    refused(buffer.getvalue(), "overlap|damaged")


def test_a_damaged_picture_stops_it_where_it_is() -> None:
    data = bytearray(packed({"a.png": PICTURE, "b.png": PICTURE}, compression=zipfile.ZIP_STORED))
    data[data.rindex(PICTURE) + 20] ^= 1
    found = iter(pictures_in(bytes(data), most=9, most_each=9999))
    assert next(found).data == PICTURE
    with pytest.raises(ArchiveError, match="incomplete or damaged"):
        next(found)


def test_half_a_file_is_refused() -> None:
    data = packed({"a.png": PICTURE})
    for end in range(4, len(data), 7):
        refused(data[:end], "incomplete or damaged")


@given(st.data())
def test_any_bytes_are_unpacked_within_bounds_or_refused_in_words(data: st.DataObject) -> None:
    good = bytearray(packed({"a.png": PICTURE, "b/c.jpg": PICTURE * 3}))
    for _ in range(data.draw(st.integers(0, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = unpacked(bytes(good), most_each=2000)
    except ArchiveError as error:
        assert str(error)
    else:
        assert all(len(one.data) <= 2000 and "/" not in one.name for one in found) and len(found) <= 2


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unpacked(packed({"../a.png": PICTURE}))
    assert not [*tmp_path.parent.glob("a.png")] and not [*tmp_path.iterdir()]
