"""A small file of our own: read once, checked, replaced in one step, and never overwritten while it cannot be read."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from detector.files import read_at_most, set_aside, write_atomically
from server.ground import private_file
from server.ground.before_upgrade import keep_before_upgrade

T = TypeVar("T")

log = logging.getLogger("defectvision.files")

LONGEST_REASON = 200
"""Characters of what is wrong with a file."""


class NewerVersion(ValueError):
    """It was written by newer software."""


@dataclass(frozen=True)
class Form(Generic[T]):
    """How contents lie in a file, and what is read at the most.

    Attributes:
        largest: bytes that are read.
        encode: contents as the bytes of a file.
        decode: the contents of a file, and whether it is of an older version; raises msgspec.MsgspecError, ValueError
            (:class:`NewerVersion`) or RecursionError.
        empty: where there is no file; ``unknown``: where there is one that cannot be used, None: the same.
        without: what is in force without it; ``then``: what to do once it was damaged; one clause each.
        mode: rights of the file; where others have none, they are taken from a file that is found.
    """

    largest: int
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], tuple[T, bool]]
    empty: T
    without: str
    then: str
    mode: int = 0o644
    unknown: T | None = None

    def bytes_of(self, contents: T, name: str) -> bytes:
        """Contents as they are stored.

        Raises:
            OSError: they are larger than what is read: the next start would call them damaged.
        """
        data = self.encode(contents)
        if len(data) > self.largest:
            raise OSError(errno.EFBIG, f"{name} would be over {self.largest // 1_000_000} MB")
        return data

    @property
    def in_doubt(self) -> T:
        """Contents where there are some that cannot be used."""
        return self.empty if self.unknown is None else self.unknown


class KeptFile(Generic[T]):
    """One such file.

    Attributes:
        contents: what it says; never changed in place.
        warning: what was wrong with it at the start, for the operator; or nothing.
    """

    def __init__(self, path: Path, form: Form[T]) -> None:
        self._path, self._form = path, form
        self.warning: str | None
        self._unread: bool
        self.contents = self._read()

    @property
    def is_whole(self) -> bool:
        """Whether what is known is all there is: not while the file is not there, cannot be read, or one like it was
        set aside, which somebody may put back."""
        aside = self._path.parent.glob(f"{glob.escape(self._path.name)}.damaged-*")
        return not self._unread and self._path.is_file() and next(aside, None) is None

    @property
    def is_unread(self) -> bool:
        """Whether the file is there and could not be read."""
        return self._unread

    def recover(self) -> bool:
        """Read what could not be read at the start: whatever is written now would take its place.

        Returns:
            whether there is more than before.

        Raises:
            OSError: it still cannot be read; nothing may be changed until it can.
        """
        if not self._unread:
            return False
        contents = self._read()
        if self._unread:
            raise OSError(errno.EIO, f"{self._path.name} is there and cannot be read")
        self.contents = contents
        return True

    def change(self, step: Callable[[T], T]) -> None:
        """Make it what ``step`` makes of what it says; what could not be read before is read first.

        Raises:
            OSError: it could not be read or written; nothing has changed then.
        """
        self.recover()
        self.replace(step(self.contents))

    def replace(self, contents: T) -> None:
        """Store other contents, on disk, then in memory: what is in force is always what a restart would find.

        Raises:
            OSError: it could not be written; nothing has changed then.
        """
        data = self._form.bytes_of(contents, self._path.name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, data, mode=self._form.mode)
        self.contents = contents
        self.warning = None  # the operator has acted on it

    def _read(self) -> T:
        self._unread, self.warning = False, None
        form = self._form
        try:
            data = read_at_most(self._path, form.largest + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self._path.is_symlink():
                return form.empty
            self._unread = True
            self.warning = (
                f"{self._path} cannot be read ({error.strerror}): {form.without}, and nothing can be set until it can"
            )
            log.warning(self.warning)
            return form.in_doubt
        if not form.mode & 0o077:
            with contextlib.suppress(OSError):  # a read-only disk
                private_file.close_to_others(self._path)
        try:
            if len(data) > form.largest:
                raise ValueError(f"it is larger than {form.largest // 1_000_000} MB")
            contents, is_older = form.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            try:
                then = f"it was set aside as {set_aside(self._path).name}"
            except OSError as refusal:
                self._unread = True  # nothing takes its place
                then = f"it could not be set aside ({refusal.strerror})"
            what = "is of a newer version" if isinstance(error, NewerVersion) else "was damaged"
            self.warning = f"{self._path.name} {what} ({_short(error)}); {then} and {form.without}: {form.then}"
            log.warning(self.warning)
            return form.in_doubt
        if is_older:
            # A read-only disk: the older file is as good, but for the checksum. Where the way back cannot be kept, it
            # is not cut off.
            with contextlib.suppress(OSError):
                keep_before_upgrade(self._path, data)
                write_atomically(self._path, form.encode(contents), mode=form.mode)
        return contents


def checksum(contents: object) -> str:
    """sha256 of contents as JSON, without a space."""
    return hashlib.sha256(msgspec.json.encode(contents)).hexdigest()


def _short(error: Exception) -> str:
    """It may repeat what it found, up to all of the file."""
    text = str(error)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def only_looked_at(path: Path, form: Form[T]) -> T:
    """What a file says, without setting aside or bringing up to date; as without it, where it cannot be used."""
    try:
        return form.decode(read_at_most(path, form.largest))[0]
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
        return form.empty


def fault(path: Path, form: Form[Any]) -> str | None:
    """Why a file cannot be used and what follows of that, as one clause; nothing where it can, or there is none. Only
    looked at."""
    try:
        data = read_at_most(path, form.largest + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return None
        return f"cannot be read ({error.strerror}): {form.without}; see to its rights"
    try:
        if len(data) > form.largest:
            raise ValueError(f"it is larger than {form.largest // 1_000_000} MB")
        form.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        what = "is of a newer version" if isinstance(error, NewerVersion) else "is damaged"
        return f"{what} ({_short(error)}): {form.without}; `defectvision restore` a backup, or {form.then}"
    return None


class _Version(msgspec.Struct):
    version: int


class ListFile(Generic[T]):
    """How a list of things lies in a file that holds secrets: its version, its checksum, and the list by its name.

    Args:
        kind: of its things; ``name``: of the list in the file, and in sentences.
        version: that is written, and alone is read.
        check: raises ValueError where there can be no such list.
    """

    def __init__(self, kind: type[T], name: str, version: int, check: Callable[[tuple[T, ...]], None]) -> None:
        self._name, self._version, self._check = name, version, check
        fields = [("version", int), ("sha256", str), (name, tuple[kind, ...])]  # type: ignore[valid-type]
        self._file = msgspec.defstruct(f"{name.capitalize()}File", fields, forbid_unknown_fields=True)

    def form(self, *, largest: int, without: str, then: str) -> Form[tuple[T, ...]]:
        """Of its file, which nobody else may read."""
        return Form(
            largest=largest,
            encode=self.encode,
            decode=lambda data: (self.decode(data), False),
            empty=(),
            without=without,
            then=then,
            mode=0o600,
        )

    def encode(self, things: tuple[T, ...]) -> bytes:
        file = self._file(self._version, checksum(things), things)
        return msgspec.json.format(msgspec.json.encode(file), indent=1)

    def decode(self, data: bytes) -> tuple[T, ...]:
        """What a file says.

        Raises:
            ValueError: it is not such a file, or not what it says of itself. The sentence repeats nothing of the file:
                a damaged one may have a secret anywhere.
        """
        try:
            version = msgspec.json.decode(data, type=_Version).version
            if version > self._version:
                raise NewerVersion(f"its version is {version}, this software reads {self._version}")
            file: Any = msgspec.json.decode(data, type=self._file)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"it is no list of {self._name} as this software writes it") from error
        if version != self._version:
            raise ValueError(f"its version is {version}, this software reads {self._version}")
        things: tuple[T, ...] = getattr(file, self._name)
        if file.sha256 != checksum(things):
            raise ValueError("its checksum is not that of its contents")
        self._check(things)
        return things
