"""Files that gateways share: in a mounted folder, and in an S3."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from server.ground import NotKept
from server.plant import ObjectStore, StoreAddress

BOTH = pytest.mark.parametrize("store", ["mounted", "bucket"], indirect=True)


@BOTH
def test_what_one_puts_another_gets(store: StoreAddress, tmp_path: Path) -> None:
    mine, theirs = ObjectStore(store), ObjectStore(store)
    (tmp_path / "file").write_bytes(b"patches")
    assert mine.modified("models/a/model.zip") is None and mine.below("models") == []
    mine.put("models/a/model.zip", tmp_path / "file")
    assert theirs.modified("models/a/model.zip") is not None
    assert theirs.get("models/a/model.zip", tmp_path / "got", most=7)
    assert (tmp_path / "got").read_bytes() == b"patches"
    (tmp_path / "file").write_bytes(b"more patches")
    mine.put("models/a/model.zip", tmp_path / "file")
    mine.put("models/b/model.zip", tmp_path / "file")
    assert {(one.name, one.size) for one in theirs.below("models")} == {
        ("models/a/model.zip", 12),
        ("models/b/model.zip", 12),
    }
    assert all(one.modified > 1.7e9 for one in theirs.below(""))
    assert theirs.read("models/a/model.zip", most=12) == b"more patches" and theirs.read("none", most=12) is None
    theirs.write("models/c", b"said")
    theirs.write("models/d", b"")
    assert mine.read("models/c", most=4) == b"said" and mine.read("models/d", most=0) == b""
    for name in ("models/c", "models/d"):
        mine.remove(name)
    theirs.remove("models/a/model.zip")
    theirs.remove("models/a/model.zip")
    assert [one.name for one in mine.below("models")] == ["models/b/model.zip"]
    assert not mine.get("models/a/model.zip", tmp_path / "none", most=100) and not (tmp_path / "none").exists()


@BOTH
def test_what_is_larger_than_it_may_be_is_not_fetched(store: StoreAddress, tmp_path: Path) -> None:
    files = ObjectStore(store)
    (tmp_path / "file").write_bytes(b"12345678")
    files.put("large", tmp_path / "file")
    with pytest.raises(ValueError, match="larger"):
        files.get("large", tmp_path / "got", most=7)
    with pytest.raises(ValueError, match="larger"):
        files.read("large", most=7)
    assert not (tmp_path / "got").exists()


def test_a_pipe_where_a_file_should_be_is_not_waited_for(mounted: StoreAddress, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    os.mkfifo(tmp_path / "mounted" / "pipe")
    with pytest.raises(ValueError, match="no file"):
        ObjectStore(mounted).read("pipe", most=7)
    with pytest.raises(ValueError, match="no file"):
        ObjectStore(mounted).get("pipe", tmp_path / "got", most=7)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "a/../b", "a b", "ä", "a/", "x" * 161])
def test_a_name_stays_below_its_folder(mounted: StoreAddress, tmp_path: Path, name: str) -> None:
    files = ObjectStore(mounted)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="no name"):
        files.put(name, tmp_path / "file")


def test_a_store_that_is_away_is_said_in_one_sentence(
    bucket: StoreAddress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(NotKept, match="which the plant's gateways share, cannot be used"):
        ObjectStore(bucket).modified("models/a/model.zip")
    (tmp_path / "mounted").write_text("a file, where a folder should be")
    with pytest.raises(NotKept, match="cannot be used"):
        ObjectStore(StoreAddress.parse(f"file://{tmp_path}/mounted")).put("a/b", tmp_path / "mounted")


@pytest.mark.parametrize(
    "text",
    ["", "bucket", "s3://", "s3://B", "s3://bucket/a b", "s3://key:secret@bucket/x", "s3://bucket/x?endpoint=y",
     "file://host/x", "file://", "http://bucket/x", "s3://bucket/../x"],
)  # fmt: skip
def test_what_cannot_be_a_store_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        StoreAddress.parse(text)


@BOTH
def test_a_store_that_another_plant_marked_is_refused(store: StoreAddress) -> None:
    mine, again, theirs = (ObjectStore(store) for _ in range(3))
    mine.belong_to("a" * 32, is_new=True)
    mine.write("models/a", b"patches")
    again.belong_to("a" * 32, is_new=False)
    again.write("models/b", b"patches")
    theirs.belong_to("b" * 32, is_new=True)
    with pytest.raises(NotKept, match="another plant"):
        theirs.write("models/c", b"patches")
    with pytest.raises(NotKept, match="another plant"):
        theirs.remove("models/a")
    assert {one.name for one in mine.below("models")} == {"models/a", "models/b"}
