"""Files that gateways share: in a mounted folder, and in an S3."""

from __future__ import annotations

import os
import socket
import time
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


DAY_S = 86_400.0


def test_what_was_never_finished_goes_a_day_later(mounted: StoreAddress, tmp_path: Path) -> None:
    """A gateway was killed while it put something: nobody else knows the name of what it wrote."""
    files, root = ObjectStore(mounted), tmp_path / "mounted"
    files.write("models/a/model.zip", b"patches")
    old, young = root / "models/a/corrections/b.zip.0123abcd.tmp", root / "models/c/model.zip.4567cdef.tmp"
    for path in (old, young):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    now = time.time()
    os.utime(old, (now - DAY_S, now - DAY_S))
    assert [one.name for one in files.below("models")] == ["models/a/model.zip"]
    assert files.remove_unfinished("models", now) == ["models/a/corrections/b.zip.0123abcd.tmp"]
    assert not old.exists() and young.exists()
    files.remove_unfinished("models", now + 2 * DAY_S)  # and the folders that are empty by then
    assert sorted(path.name for path in root.rglob("*")) == ["a", "model.zip", "models"]


def test_a_folder_goes_with_what_was_never_finished_in_it(mounted: StoreAddress, tmp_path: Path) -> None:
    files, day = ObjectStore(mounted), tmp_path / "mounted/archive/2026-11-27"
    day.mkdir(parents=True)
    for name, age_s in (("p1.zip.0123abcd.tmp", DAY_S), ("p2.zip.0123abcd.tmp", 0.0)):
        (day / name).write_bytes(b"half")
        os.utime(day / name, (time.time() - age_s,) * 2)
    files.remove_folder("archive/2026-11-27")
    assert [path.name for path in day.iterdir()] == ["p2.zip.0123abcd.tmp"], "somebody may write it right now"
    (day / "p2.zip.0123abcd.tmp").unlink()
    files.remove_folder("archive/2026-11-27")
    assert not day.exists()


def test_parts_of_an_upload_that_was_cut_off_go_a_day_later(bucket: StoreAddress) -> None:
    files = ObjectStore(bucket)
    name, folder = bucket.place.split("/", 1)
    call = files._files().call_s3
    for key in (f"{folder}/models/a/model.zip", "another/a"):
        call("create_multipart_upload", Bucket=name, Key=key)
    files.remove_unfinished("models", 0.0)
    assert len(call("list_multipart_uploads", Bucket=name)["Uploads"]) == 2
    assert files.remove_unfinished("models", time.time()) == [f"{folder}/models/a/model.zip"]
    assert [one["Key"] for one in call("list_multipart_uploads", Bucket=name)["Uploads"]] == ["another/a"]
