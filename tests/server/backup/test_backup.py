"""Backups: made while everything changes, put back whole, and refused in words where they are not."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sqlite3
import stat
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import VERSION
from detector.files import write_atomically
from detector.folder_lock import hold
from server import cli
from server.backup import BackupError, back_up, making, restore, to_be_fetched
from server.backup.contents import MANIFEST, Kept, Manifest, is_name
from server.ground import RESTORING, DataDirectoryError, checksum, data_directory


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with something of each kind."""
    data = tmp_path / "data"
    for name, what in {
        "recipes.json": b'{"a": 1}',
        "access_code": b"7KQ2-M9XR-4TBD\n",
        "models/abc/model/manifest.json": b"{}",
        "models/abc/model/bank.safetensors": os.urandom(10_000),
        "certificates/authority.pem": b"PEM",
        "backlog/0000000001.jsonl": b'{"whole": 1}\n{"half',
        "archive/2026-11-26/p.zip": b"picture",
        "out/mes/1.json": b"{}",
        "teaching/abc/1.png": b"picture",
        "calibration.json.damaged-1": b"?",
        "before-upgrade-0.9/recipes.json": b"old",
        ".recipes.json.0123abcd.tmp": b"half",
        "models/.abc.0123abcd.tmp/x": b"half",
        "server.lock": b"",
    }.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(what)
    (data / "access_code").chmod(0o600)
    with contextlib.closing(sqlite3.connect(data / "history.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, twin INTEGER)")
        database.execute("INSERT INTO entries VALUES (1, 1)")
        database.commit()
    return data


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


KEPT = {
    "recipes.json",
    "access_code",
    "models/abc/model/manifest.json",
    "models/abc/model/bank.safetensors",
    "certificates/authority.pem",
    "backlog/0000000001.jsonl",
    "history.db",
}


@pytest.mark.parametrize("pictures", [False, True])
def test_what_was_backed_up_comes_back(data: Path, tmp_path: Path, pictures: bool) -> None:
    made = back_up(data, tmp_path / "monday.zip", pictures=pictures)
    expected = KEPT | ({"archive/2026-11-26/p.zip", "out/mes/1.json"} if pictures else set())
    assert made.files == len(expected) and made.size == made.path.stat().st_size
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600, "it holds keys"
    done = restore(made.path, tmp_path / "other")
    assert done.aside is None and done.files == len(expected)
    assert names(tmp_path / "other") - {"server.lock"} == expected
    for name in expected - {"history.db", "backlog/0000000001.jsonl"}:
        assert (tmp_path / "other" / name).read_bytes() == (data / name).read_bytes()
    assert stat.S_IMODE((tmp_path / "other" / "access_code").stat().st_mode) == 0o600
    assert (tmp_path / "other" / "backlog" / "0000000001.jsonl").read_bytes() == b'{"whole": 1}\n'
    with contextlib.closing(sqlite3.connect(tmp_path / "other" / "history.db")) as database:
        assert database.execute("SELECT * FROM entries").fetchall() == [(1, 1)]
    assert sorted(os.listdir(tmp_path)) == ["data", "monday.zip", "other"], "nothing is left over"  # noqa: PTH208


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to others")
def test_what_root_puts_back_belongs_to_the_server_s_user(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "monday.zip")
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, 65534, 65534)
    for _ in range(2):
        restore(tmp_path / "monday.zip", other)
        assert {path.stat().st_uid for path in other.rglob("*")} == {65534}
    assert [*other.glob("before-restore-*")], "what was put aside, too"


def test_what_was_there_is_kept_aside_and_pictures_that_are_not_in_it_stay(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "monday.zip")
    (data / "recipes.json").write_bytes(b"changed since")
    (data / "cameras.json").write_bytes(b"new since")
    done = restore(tmp_path / "monday.zip", data)
    assert done.aside is not None and done.aside.parent == data
    assert (data / "recipes.json").read_bytes() == b'{"a": 1}' and not (data / "cameras.json").exists()
    assert (done.aside / "recipes.json").read_bytes() == b"changed since"
    assert (done.aside / "cameras.json").read_bytes() == b"new since"
    assert (data / "archive/2026-11-26/p.zip").exists() and (data / "before-upgrade-0.9/recipes.json").exists()
    assert not (data / RESTORING).exists()
    again = restore(tmp_path / "monday.zip", data)
    assert again.aside is not None and again.aside != done.aside


def test_a_backup_is_of_one_moment_while_others_write(data: Path, tmp_path: Path) -> None:
    """Transactions whole, files whole, and no recipes that name a model which is not there."""
    stop = threading.Event()

    def work() -> None:
        number = 1
        with contextlib.closing(sqlite3.connect(data / "history.db", timeout=30)) as database:
            while not stop.is_set():
                number += 1
                model = data / "models" / f"m{number}"
                model.mkdir()
                (model / "bank").write_bytes(b"x" * 1000)
                write_atomically(data / "recipes.json", json.dumps({"model": f"m{number}"}).encode())
                database.execute("INSERT INTO entries VALUES (?, ?)", (2 * number, 1))
                database.execute("INSERT INTO entries VALUES (?, ?)", (2 * number + 1, 1))
                database.commit()
                if number % 3 == 0:
                    stop.wait(0.05)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for turn in range(6):
            try:
                back_up(data, tmp_path / f"{turn}.zip")
            except BackupError as error:
                assert "changed all the while" in str(error)
    finally:
        stop.set()
        worker.join()
    back_up(data, tmp_path / "last.zip")
    for number, path in enumerate(sorted(tmp_path.glob("*.zip"))):
        restore(path, there := tmp_path / f"there{number}")
        model = json.loads((there / "recipes.json").read_bytes()).get("model", "abc")
        assert (there / "models" / model).is_dir()
        with contextlib.closing(sqlite3.connect(there / "history.db")) as database:
            (count,) = database.execute("SELECT count(*) FROM entries").fetchone()
            assert count % 2 == 1, "half of a transaction"


def test_what_changes_without_end_is_said(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(10_000))
    monkeypatch.setattr(making, "_stamp", lambda path: (next(count), 0))
    with pytest.raises(BackupError, match="try again when nobody teaches"):
        back_up(data, tmp_path / "a.zip")
    assert sorted(os.listdir(tmp_path)) == ["data"]  # noqa: PTH208


def test_links_lead_nowhere_and_odd_names_are_left_out(data: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of another")
    (data / "models" / "link").symlink_to(tmp_path)
    (data / "models" / "file").symlink_to(tmp_path / "secret")
    (data / "models" / "odd\nname").touch()
    made = back_up(data, tmp_path / "a.zip")
    assert made.left_out == ("models/odd\nname",)
    with zipfile.ZipFile(made.path) as archive:
        assert set(archive.namelist()) == KEPT | {MANIFEST}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda data, target: target.touch(), "is there already"),
        (lambda data, target: data.rename(data.with_name("gone")), "no data directory"),
        (
            lambda data, target: (data / "history.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000),
            "cannot be copied",
        ),
        (
            lambda data, target: (data / "sinks.json").symlink_to(data / "nowhere"),
            "sinks.json is a link that leads nowhere: mount what it leads to",
        ),
        (
            lambda data, target: (data / "sinks.json").symlink_to("/proc/self/mem"),
            r"sinks.json cannot be read \(Input/output error\), it is a link: mend its disk, or move it away",
        ),
    ],
)
def test_a_backup_that_cannot_be_made_says_why(
    data: Path, tmp_path: Path, make: Callable[[Path, Path], object], told: str
) -> None:
    make(data, tmp_path / "a.zip")
    with pytest.raises(BackupError, match=told):
        back_up(data, tmp_path / "a.zip")
    assert not list(tmp_path.glob(".*"))


def test_a_backup_does_not_go_into_the_data_directory(data: Path) -> None:
    with pytest.raises(BackupError, match="outside"):
        back_up(data, data / "models" / "a.zip")


def test_a_backup_makes_no_folder_of_a_mistyped_name(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=f"no folder {tmp_path}/bakcup: make it"):
        back_up(data, tmp_path / "bakcup" / "a.zip")


def test_a_full_disk_is_said_and_nothing_left(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making, "_add", full)
    with pytest.raises(BackupError, match="No space left on device: make room"):
        back_up(data, tmp_path / "a.zip")
    assert sorted(os.listdir(tmp_path)) == ["data"]  # noqa: PTH208


def test_a_place_that_fails_is_not_taken_for_a_file_of_the_data_directory(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, piece: bytes) -> int:
        raise OSError(errno.EHOSTDOWN, "Host is down")

    monkeypatch.setattr(zipfile._ZipWriteFile, "write", broken)  # type: ignore[attr-defined]
    with pytest.raises(BackupError, match=r"a\.zip: Host is down: give another place"):
        back_up(data, tmp_path / "a.zip")


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("make", [back_up, lambda data, target: to_be_fetched(data, lambda: True).__enter__()])
def test_what_this_user_may_not_read_is_named_and_room_is_not_asked_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_folder: bool, make: Callable[[Path, Path], object]
) -> None:
    closed = data / "models" / "abc" if is_folder else data / "recipes.json"

    def refuse(path: Any, *arguments: Any, **more: Any) -> Any:
        """As the system does; whoever runs the tests may be root, who may everything."""
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **more)

    owner, name = (os, "scandir") if is_folder else (Path, "open")
    opened: Any = getattr(owner, name)
    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(BackupError, match="give it to the server's user") as refusal:
        make(data, tmp_path / "a.zip")
    assert str(refusal.value).startswith(f"{closed} cannot be read (Permission denied): ")
    assert "room" not in str(refusal.value)
    assert not [one for one in (*tmp_path.iterdir(), *data.iterdir()) if one.name.startswith(".backup")]


def test_what_a_disk_has_at_its_root_is_neither_read_nor_moved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``lost+found`` is root's alone; the data directory and its archive may be disks of their own."""
    foreign = [data / "lost+found", data / "archive" / "lost+found", data / ".Trash-1000"]
    for folder in foreign:
        folder.mkdir()

    def refuse(path: Any) -> Any:
        if not isinstance(path, int) and Path(path) in foreign:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    def stay(self: Path, target: Path) -> Path:
        if self in foreign:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return rename(self, target)

    scandir, rename = os.scandir, Path.rename
    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(Path, "rename", stay)
    done = restore(back_up(data, tmp_path / "monday.zip").path, data)
    whole = back_up(data, tmp_path / "tuesday.zip", pictures=True)
    assert whole.files == len(KEPT) + 2 and done.files == len(KEPT)
    assert all(folder.is_dir() for folder in foreign)
    new = tmp_path / "new"
    (new / "lost+found").mkdir(parents=True)
    assert restore(whole.path, new).aside is None


def test_what_a_killed_backup_left_goes_before_another_into_its_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds keys."""
    write: Any = making._write

    def killed(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    def killed_at_the_database(archive: zipfile.ZipFile, name: str, *arguments: Any) -> Any:
        if name == "history.db":
            raise KeyboardInterrupt
        return write(archive, name, *arguments)

    with monkeypatch.context() as dies, pytest.raises(KeyboardInterrupt):
        dies.setattr(making, "_write", killed_at_the_database)
        dies.setattr(Path, "unlink", killed)
        dies.setattr("shutil.rmtree", lambda *arguments, **more: None)
        back_up(data, tmp_path / "monday.zip")
    left = [*tmp_path.glob(".*")]
    assert sorted(path.is_dir() for path in left) == [False, True]
    back_up(data, tmp_path / "tuesday.zip")
    assert {*tmp_path.glob(".*")} == {*left}, "somebody may be making it yet"
    for path in left:
        os.utime(path, (0, 0))
    back_up(data, tmp_path / "wednesday.zip")
    assert sorted(os.listdir(tmp_path)) == ["data", "tuesday.zip", "wednesday.zip"]  # noqa: PTH208


# --- hostile and damaged ones


@pytest.fixture
def backup(data: Path, tmp_path: Path) -> Path:
    return back_up(data, tmp_path / "monday.zip").path


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path: Path, entries: dict[str, bytes], **change: Any) -> Path:
    """A backup of these entries, with a manifest that is right unless it is changed."""
    files = tuple(
        Kept(name, len(what), hashlib.sha256(what).hexdigest(), 0o600)
        for name, what in entries.items()
        if name != MANIFEST
    )
    manifest = Manifest(1, VERSION, "2026-11-26T00:00:00+00:00", False, checksum(files), files)
    entries = {**entries, MANIFEST: msgspec.json.encode(msgspec.structs.replace(manifest, **change))}
    with zipfile.ZipFile(path, "w") as archive:
        for name, what in entries.items():
            archive.writestr(name, what)
    return path


def refused(path: Path, data: Path) -> str:
    """Why a backup is not put back; nothing has changed."""
    before = {name: (data / name).read_bytes() for name in names(data)}
    with pytest.raises(BackupError) as error:
        restore(path, data)
    after = {name: (data / name).read_bytes() for name in names(data)}
    gone = {name for name in before if ".tmp" in name}  # what a crash had left goes whenever the directory is taken
    assert {n: b for n, b in after.items() if n != "server.lock"} == {
        n: b for n, b in before.items() if n not in gone | {"server.lock"}
    }
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "../escaped", "/etc/passwd", "models/../../x", "models//x", "C:\\x", "a\\..\\b", "models/\0x", "server.lock",
        ".x.0123abcd.tmp", "restoring", "before-restore-x/y", "a/" * 12 + "b", "x" * 201, "models/", "teaching/x", ".",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name: str, data: Path, tmp_path: Path) -> None:
    assert not is_name(name)
    assert "no data directory has" in refused(
        written(tmp_path / "evil.zip", {"recipes.json": b"", name: b"x"}), data
    ) or (
        "no plain file" in refused(tmp_path / "evil.zip", data)
        or "does not hold" in refused(tmp_path / "evil.zip", data)
    )
    assert not (tmp_path / "escaped").exists()


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_name_leads_out(name: str) -> None:
    if is_name(name):
        root = Path("/data")
        assert Path(os.path.normpath(root / name)).is_relative_to(root) and os.path.normpath(root / name) != "/data"


def test_what_is_damaged_or_newer_or_none_is_refused_in_words(backup: Path, data: Path, tmp_path: Path) -> None:
    entries = entries_of(backup)
    whole = backup.read_bytes()
    bad = tmp_path / "bad.zip"
    bad.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refused(bad, data)
    bad.write_bytes(b"")
    assert "damaged" in refused(bad, data)
    bad.write_bytes(b"PK\5\6" + bytes(18))
    assert "no manifest.json" in refused(bad, data)
    assert "newer DefectVision (0.1.0" in refused(written(bad, entries, format=2, software="0.1.0"), data)
    assert "newer DefectVision (999.1" in refused(written(bad, entries, software="999.1"), data)
    assert "checksum" in refused(written(bad, entries, sha256="0" * 64), data)
    assert "no file" not in refused(tmp_path / "nowhere.zip", data)
    written(bad, entries)
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr("models/more", b"x")
    assert "does not hold the files" in refused(bad, data)
    for one in (b"[]", b"{", b'{"format": 1}', b"[" * 100_000, b'{"format": "x"}'):
        with zipfile.ZipFile(bad, "w") as archive:
            archive.writestr(MANIFEST, one)
        assert "cannot be read" in refused(bad, data)


def test_every_flipped_byte_of_what_it_holds_is_found(backup: Path, tmp_path: Path) -> None:
    """As long as it changes what is put back."""
    whole = bytearray(backup.read_bytes())
    reference = tmp_path / "reference"
    restore(backup, reference)
    for place in range(0, len(whole), max(1, len(whole) // 25)):
        flipped = bytearray(whole)
        flipped[place] ^= 0x41
        (bad := tmp_path / "bad.zip").write_bytes(flipped)
        there = tmp_path / f"there{place}"
        try:
            restore(bad, there)
        except BackupError:
            assert names(there) <= {"server.lock"}
        else:
            assert names(there) == names(reference)
            for name in names(reference) - {"server.lock"}:
                assert (there / name).read_bytes() == (reference / name).read_bytes()


def test_a_link_in_it_is_refused(backup: Path, data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(backup, "a") as archive:
        link = zipfile.ZipInfo("models/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "no plain file" in refused(backup, data)


def test_more_than_it_says_is_not_unpacked(data: Path, tmp_path: Path) -> None:
    """A bomb: its directory says a byte, what is packed is more."""
    written(bomb := tmp_path / "bomb.zip", {"recipes.json": bytes(5_000_000)})
    raw = bomb.read_bytes().replace((5_000_000).to_bytes(4, "little"), (1).to_bytes(4, "little"))
    bomb.write_bytes(raw)
    assert "damaged" in refused(bomb, data) or "does not hold" in refused(bomb, data)


def test_what_does_not_fit_is_refused_before_it_is_unpacked(
    backup: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert "no room" in refused(backup, data)


@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_as_no_backup_is_is_refused(packed: int, backup: Path, data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(backup) as archive, zipfile.ZipFile(evil := tmp_path / "evil.zip", "w") as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name), packed if name == "recipes.json" else None)
    assert "no backup of DefectVision" in refused(evil, data)


def test_a_list_of_files_that_are_not_there_is_not_read(data: Path, tmp_path: Path) -> None:
    """A bomb: half a kilobyte, which would be a list of hundreds of megabytes."""
    with zipfile.ZipFile(bomb := tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, b" " * 600_000)
    assert "no manifest.json" in refused(bomb, data)


def test_a_file_that_is_a_folder_too_is_refused(data: Path, tmp_path: Path) -> None:
    evil = written(tmp_path / "evil.zip", {"models/a": b"x", "models/a/b": b"y"})
    assert "a file and a folder alike" in refused(evil, data)


def test_a_database_that_was_damaged_is_refused(data: Path, tmp_path: Path) -> None:
    evil = written(tmp_path / "evil.zip", {"history.db": b"SQLite format 3\0" + b"\1" * 8000})
    assert "was damaged already" in refused(evil, data)


def test_nothing_is_restored_under_a_server(backup: Path, data: Path) -> None:
    lock = hold(data, "at http://localhost:8000/")
    try:
        with pytest.raises(BackupError, match=r"used by another server.*systemctl stop"):
            restore(backup, data)
    finally:
        lock.release()


def test_a_restore_that_was_cut_off_is_no_start(backup: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of the renames: the server says so, restoring again mends it, and nothing is lost."""
    rename, left = Path.rename, [3]

    def dying(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as dies:
        dies.setattr(Path, "rename", dying)
        with pytest.raises(KeyboardInterrupt):
            restore(backup, data)
    with pytest.raises(DataDirectoryError, match="restore` again"), data_directory(data, "a server"):
        pass
    restore(backup, data)
    with data_directory(data, "a server"):
        pass
    kept = {path.name for folder in data.glob("before-restore-*") for path in folder.iterdir()}
    assert {"recipes.json", "history.db", "models", "access_code"} <= kept


@pytest.mark.parametrize("was_cut_off", [False, True])
@pytest.mark.parametrize("busy", ["models", "recipes.json", "history.db"])
def test_a_rename_that_is_refused_in_the_middle_is_all_taken_back(
    backup: Path, data: Path, monkeypatch: pytest.MonkeyPatch, busy: str, was_cut_off: bool
) -> None:
    rename = Path.rename

    def refusing(self: Path, target: Path) -> Path:
        if target == data / busy and self.parent.name.startswith(".restore"):
            raise OSError(errno.EBUSY, "Device or resource busy", str(target))
        return rename(self, target)

    if was_cut_off:
        (data / RESTORING).write_text("a backup is being put back\n")
    monkeypatch.setattr(Path, "rename", refusing)
    assert f"{data / busy} is a mount point" in refused(backup, data)
    assert (data / RESTORING).exists() == was_cut_off and not [*data.glob("before-restore-*")]


def test_a_disk_of_its_own_in_the_data_directory_is_said_before_anything_is_moved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = back_up(data, tmp_path / "monday.zip", pictures=True).path
    part = back_up(data, tmp_path / "tuesday.zip").path
    monkeypatch.setattr(Path, "is_mount", lambda path: path == data / "archive")
    assert f"{data / 'archive'} is a mount point" in refused(whole, data)
    assert not (data / RESTORING).exists() and not [*data.glob("before-restore-*")]
    restore(part, data)


def test_the_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(data))
    monkeypatch.setattr("server.logs.set_up", lambda: None)
    assert cli.main(["backup", "monday.zip"]) == 0
    assert "7 files" in capsys.readouterr().out
    assert cli.main(["backup", "monday.zip"]) == 1
    assert capsys.readouterr().err.startswith("defectvision: monday.zip is there already")
    assert cli.main(["restore", "monday.zip"]) == 0
    assert "What was there before" in capsys.readouterr().out
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@127.0.0.1/plant")
    assert cli.main(["backup", "tuesday.zip"]) == 0
    said = capsys.readouterr().out
    assert "pg_dump" in said and "secret" not in said
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "another"))
    assert cli.main(["restore", "monday.zip", "--data-dir", str(data)]) == 0
    assert f"are back in {data}" in capsys.readouterr().out and not (tmp_path / "another").exists()
    assert cli.main(["backup", "wednesday.zip", "--data-dir", str(data)]) == 0
