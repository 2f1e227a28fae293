"""Files that all gateways of a plant share, in an S3-compatible store or a folder that all of them mount."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from detector.extras import to_install
from server.ground import one_line
from server.plant.link import PlantAway, cannot_be_used

EXAMPLE = "s3://BUCKET/FOLDER"
MARK = "plant"
"""Object that says which plant's store it is."""
CLOCK = "models/clock"
"""Object that is written to see what time it is there; in the folder from which what a kill left of it is removed."""
CONNECT_S, READ_S, TRIES = 5, 20, 2
ANSWER_S, LEAST_BYTES_S = 45.0, 1_000_000
"""Seconds that a call may take, and one more for so many bytes that it moves."""
UNFINISHED_S = 86_400.0
"""Seconds after which nobody goes on writing what was begun."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_UNFINISHED = re.compile(r"\.[0-9a-f]{8}\.tmp")
"""How the name of a file ends that is being written."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,159}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,159}){0,7}")

T = TypeVar("T")


@dataclass(frozen=True)
class StoreAddress:
    """``kind``: ``s3`` or ``file``; ``place``: bucket and folder, or a folder that begins with a slash."""

    kind: str
    place: str

    @classmethod
    def parse(cls, text: str) -> StoreAddress:
        """The address as a setting says it.

        Raises:
            ValueError: it cannot be one.
        """
        parts = urlsplit(text.strip())
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError(f"write {EXAMPLE}; keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        path = parts.path.strip("/")
        if path and not _NAME.fullmatch(path) and parts.scheme == "s3":
            raise ValueError("its folder may have letters, digits, dots, dashes and underscores")
        if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc):
            return cls("s3", f"{parts.netloc}/{path}".rstrip("/"))
        if parts.scheme == "file" and not parts.netloc and path:
            return cls("file", f"/{path}")
        raise ValueError(f"it must be {EXAMPLE}, or file:///FOLDER, a folder that all gateways mount")

    def __str__(self) -> str:
        return f"{self.kind}://{self.place}"


class NotOurs(PlantAway):
    """The store is another plant's, or not there; one sentence that says what to do."""


class _Unfit(ValueError):
    """An object, or a name, is not what was asked for."""


@dataclass(frozen=True)
class Listed:
    """An object. ``modified``: seconds since 1970, by the store's clock."""

    name: str
    size: int
    modified: float


class ObjectStore:
    """Objects by names with slashes, written whole or not at all. Everything here waits: for threads. What comes from
    the store is bounded by whoever asks. Once it is known whose store it is (:meth:`belong_to`), nothing is written to,
    or removed from, one that is not marked as that: another plant would lose what its recipes name, and below a folder
    that is not mounted nobody else would find anything.

    Every call raises PlantAway where the store does not answer, after :data:`ANSWER_S` at the latest: a folder whose
    machine is gone would be waited for, for ever. As long as one call is stuck in there, others are refused at once.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._made: Any = None
        self._plant: str | None = None
        self._is_new = self._is_checked = False
        self._stuck: list[concurrent.futures.Future[Any]] = []

    def belong_to(self, plant: str, *, is_new: bool) -> None:
        """It is the store of the plant of this id; ``is_new``: it may be empty and without a mark."""
        self._plant, self._is_new = plant, is_new

    def check(self) -> None:
        """See whose store it is, and mark one that nobody marked.

        Raises:
            NotOurs: it is another plant's, or there is nothing where a folder should be mounted.
        """
        self._do(self._require_ours, writes=True)

    def put(self, name: str, file: Path) -> None:
        """Store a file's bytes under a name."""
        self._put(name, lambda files, target: files.put_file(str(file), target), file.stat().st_size)

    def _put(self, name: str, put: Callable[[Any, str], object], size: int) -> None:
        def work(files: Any) -> None:
            self._require_ours(files)
            self._write(files, name, put)

        self._do(work, size, writes=True)

    def get(self, name: str, file: Path, *, most: int) -> bool:
        """Write an object's bytes into a file; whether there is one.

        Raises:
            ValueError: it is larger than ``most`` bytes.
        """
        try:
            size = self._do(lambda files: self._size(files, name, most))
            self._do(lambda files: files.get_file(self._at(name), str(file)), size)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str, *, most: int) -> bytes | None:
        """An object's bytes; None where there is none.

        Raises:
            ValueError: it is larger than ``most`` bytes.
        """
        try:
            return self._do(lambda files: self._read(files, name, most))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Store bytes under a name."""
        self._put(name, lambda files, target: files.pipe_file(target, data), len(data))

    def modified(self, name: str) -> float | None:
        """When an object was stored, seconds since 1970 by the store's clock; None where there is none."""
        try:
            return self._do(lambda files: _modified(files.info(self._at(name))))
        except FileNotFoundError:
            return None

    def now(self) -> float | None:
        """What time it is, seconds since 1970 by the store's clock: by a gateway's own, which may be wrong, nothing of
        the plant's becomes old. None where somebody empties the store meanwhile."""
        self.write(CLOCK, b"")
        return self.modified(CLOCK)

    def below(self, folder: str) -> list[Listed]:
        """All objects in a folder and those below it."""
        return [one for one in self._all_below(folder) if not _UNFINISHED.search(one.name)]

    def _all_below(self, folder: str) -> list[Listed]:
        place = f"{self.address.place}/"

        def work(files: Any) -> list[Listed]:
            found = files.find(self._at(folder), detail=True)
            return [
                Listed(name.removeprefix(place), int(one["size"]), _modified(one)) for name, one in found.items() if one
            ]

        try:
            return self._do(work)
        except FileNotFoundError:
            return []

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""
        try:
            found = self._do(lambda files: files.ls(self._at(folder), detail=True))
        except FileNotFoundError:
            return []
        return sorted(one["name"].rpartition("/")[2] for one in found if one["type"] == "directory")

    def remove_folder(self, folder: str) -> None:
        """Remove a folder in which nothing is, but what was never finished; an S3 has none."""
        if self.address.kind == "file":
            self.remove_unfinished(folder, time.time())

            def work(files: Any) -> None:
                with contextlib.suppress(OSError):
                    files.rmdir(self._at(folder))

            self._do(work)

    def remove(self, name: str) -> None:
        """Remove an object, if there is one."""

        def work(files: Any) -> None:
            self._require_ours(files)
            files.rm_file(self._at(name))

        with contextlib.suppress(FileNotFoundError):
            self._do(work)

    def remove_unfinished(self, folder: str, now: float) -> list[str]:
        """Remove what gateways began to write a day ago or before in a folder and those below it, and did not finish:
        they were killed, or lost power; with it, folders that are empty. Returns what was there.

        Args:
            now: seconds since 1970 by the store's clock.
        """
        if self.address.kind == "s3":
            return self._do(lambda files: self._abort_uploads(files, folder, now), writes=True)
        old = [
            one.name
            for one in self._all_below(folder)
            if _UNFINISHED.search(one.name) and now - one.modified >= UNFINISHED_S
        ]

        def work(files: Any) -> list[str]:
            self._require_ours(files)
            unused = _unused_folders(Path(self._at(folder)), now)
            for name in old:
                with contextlib.suppress(FileNotFoundError):
                    files.rm_file(f"{self.address.place}/{name}")
            for place in unused:
                with contextlib.suppress(OSError):  # it is not empty
                    place.rmdir()
            return old

        return self._do(work, writes=True)

    def _abort_uploads(self, files: Any, folder: str, now: float) -> list[str]:
        """Of an S3: parts of objects, which take room and are listed nowhere."""
        self._require_ours(files)
        bucket, _, prefix = self._at(folder).partition("/")
        found = files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/").get("Uploads", [])
        old = [one for one in found if now - one["Initiated"].timestamp() >= UNFINISHED_S]
        for one in old:
            with contextlib.suppress(FileNotFoundError):  # another gateway did
                files.call_s3("abort_multipart_upload", Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])
        return [str(one["Key"]) for one in old]

    def _require_ours(self, files: Any) -> None:
        if self._plant is None or self._is_checked:
            return
        mark = self._plant.encode()
        try:
            found = self._read(files, MARK, 100)
        except _Unfit:  # no file, or larger than a mark
            found = b""
        except FileNotFoundError as error:
            if self.address.kind == "file" and not self._is_new and not self._is_used(files):
                raise NotOurs(
                    f"{self.address}, which the plant's gateways share, is empty: is it mounted here? If it is to be a "
                    f"new one, write {self._plant} into a file {MARK} there"
                ) from error
            self._write(files, MARK, lambda files, target: files.pipe_file(target, mark))
            found = mark
        if found.strip() != mark:
            raise NotOurs(
                f"{self.address} holds the files of another plant, as its {MARK} says: give PLANT_STORE a folder of "
                "this plant's own"
            )
        self._is_new = False
        self._is_checked = self.address.kind == "s3"  # a folder's mount may go

    def _is_used(self, files: Any) -> bool:
        """Whether files of a plant lie there, which had no mark in earlier versions."""
        return any(files.isdir(self._at(folder)) for folder in ("models", "archive"))

    def _write(self, files: Any, name: str, put: Callable[[Any, str], object]) -> None:
        target = self._at(name)
        if self.address.kind == "s3":
            put(files, target)
            return
        beside = f"{target}.{secrets.token_hex(4)}.tmp"
        files.makedirs(target.rpartition("/")[0], exist_ok=True)
        try:
            put(files, beside)
            with Path(beside).open("rb") as file:
                os.fsync(file.fileno())  # a power cut leaves none that is empty under this name
            Path(beside).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                files.rm_file(beside)
            raise

    def _read(self, files: Any, name: str, most: int) -> bytes:
        size = self._size(files, name, most)
        return bytes(files.cat_file(self._at(name), start=0, end=size)) if size else b""

    def _size(self, files: Any, name: str, most: int) -> int:
        found = files.info(self._at(name))
        if found["type"] != "file":  # whoever opens a pipe waits for ever
            raise _Unfit(f"{name} is no file")
        if int(found["size"]) > most:
            raise _Unfit(f"{name} is larger than {most} bytes")
        return int(found["size"])

    def _at(self, name: str) -> str:
        if name and not _NAME.fullmatch(name):
            raise _Unfit(f"{name[:80]!r} is no name of an object")
        return f"{self.address.place}/{name}".rstrip("/")

    def _do(self, work: Callable[[Any], T], size: int = 0, *, writes: bool = False) -> T:
        """What a piece of work with fsspec's file system comes to; with what goes wrong in words.

        Args:
            size: bytes that it moves.
            writes: where it finds nothing, no object is missing, but the place itself: an S3 without the bucket.
        """
        self._stuck = [one for one in self._stuck if not one.done()]
        if self._stuck:
            raise self._cannot("it has not answered yet")
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                outcome.set_result(work(self._files()))
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=run, name="plant store", daemon=True).start()
        try:
            return outcome.result(ANSWER_S + size / LEAST_BYTES_S)
        except (PlantAway, _Unfit):
            raise
        except Exception as error:  # botocore, aiohttp and fsspec each raise their own
            if isinstance(error, FileNotFoundError) and not writes:
                raise
            if not outcome.done():
                self._stuck.append(outcome)
                raise self._cannot("it does not answer in time") from error
            raise self._cannot(one_line(error)) from error

    def _cannot(self, why: str) -> PlantAway:
        return PlantAway(cannot_be_used(self.address, why))

    def _files(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        needed = ("fsspec", "s3fs") if self.address.kind == "s3" else ("fsspec",)
        if any(importlib.util.find_spec(one) is None for one in needed):
            raise PlantAway(f"a plant needs more packages: {to_install('plant')}")
        import fsspec

        if self.address.kind == "file":
            return fsspec.filesystem("file", auto_mkdir=True, skip_instance_cache=True)
        files = fsspec.filesystem(
            "s3",
            skip_instance_cache=True,
            use_listings_cache=False,  # others write here, too
            config_kwargs={
                "connect_timeout": CONNECT_S,
                "read_timeout": READ_S,
                "retries": {"total_max_attempts": TRIES, "mode": "standard"},
            },
        )
        files.retries = 1  # its own, five of each of those
        return files


def _modified(one: dict[str, Any]) -> float:
    when = one.get("LastModified", one.get("mtime", 0.0))
    return float(when.timestamp()) if hasattr(when, "timestamp") else float(when)


def _unused_folders(folder: Path, now: float) -> list[Path]:
    """Folders below one in which nothing came or went for a day, the innermost first: into others somebody may be about
    to write."""
    found = []
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            if Path(place) != folder and now - Path(place).stat().st_mtime >= UNFINISHED_S:
                found.append(Path(place))
    return found
