"""The archives of a plant's gateways in one place: what each has on its disk is put into the plant's store, too.

``archive/YYYY-MM-DD/ID.zip``, the same file as here; its day is that of the history's entry. A thread of its own puts
them there, and nothing waits for it. A file here that is in the store is marked (:func:`is_shared`): so what could not
be put is found again by looking at what lies here, whatever came in between. Of what two gateways say of a picture, the
later holds. What is too old is removed by any gateway: twice is harmless.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from server.archive.folder import FOLDER, SUFFIX, Folder, day_of
from server.archive.pictured import MOST_BYTES, Damaged, Disposition, Pictured, began, pack, said_of, unpack
from server.plant import ObjectStore, PlantAway
from server.records import iso

log = logging.getLogger("defectvision.archive")

MOST_QUEUED = 1000
"""Ids of pictures that were written and wait to be put; of more, they are found by looking."""
RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between tries while the store is away; the last again and again."""
TIDY_S = 3600.0
MOST_TIDIED = 500
"""Pictures that are removed from the store before one is put again."""
AWAY_S = 3.0
"""Seconds that nobody asks a store that did not answer."""
_SHUTDOWN_S = 0.2


@dataclass
class _Asked:
    """Whether the store answers those who read: none waits for one that just did not."""

    until: float = 0.0
    words: str = ""


class SharedPictures:
    """Call :meth:`put_soon` and :meth:`start` from the event loop, :meth:`fetch` and :meth:`say` from threads.

    Args:
        store: of the plant.
        folder: the pictures here.
        aged_by: the day that what is old is old by; after ``days`` and one more, when it is gone from every disk, a
            picture goes from the store, if it is as old by the store's clock.

    Attributes:
        put: pictures that were put into the store since the start.
        on_gone: called in its thread with the ids of those that were removed from it.
        warning: what the operator should see to; or nothing.
    """

    def __init__(
        self,
        store: ObjectStore,
        folder: Folder,
        *,
        days: int,
        aged_by: Callable[[], date],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._folder, self._clock = store, folder, clock
        self._days, self._aged_by = days, aged_by
        self._queue: dict[str, None] = {}
        self._lock = threading.Lock()
        self._came, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._live, name="archive shares", daemon=True)
        self._is_behind = True
        """Whether something may lie here that is neither in the store nor queued."""
        self._failures, self._tidy_at = 0, clock()
        self._asked = _Asked()
        self._said_unreadable = False
        self.put = 0
        self.on_gone: Callable[[list[str]], None] = lambda ids: None
        self.warning: str | None = None

    def start(self) -> None:
        """Put what lies here and what comes, until it is stopped."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing any more; what is not put by then is put after the next start. Returns at once."""
        self._stopping = True
        self._came.set()

    def end(self) -> None:
        """Wait, a moment at the most, for what is being put."""
        if self._thread.is_alive():
            self._thread.join(_SHUTDOWN_S)

    def put_soon(self, id: str) -> None:
        """A picture here was written. Returns at once."""
        with self._lock:
            if len(self._queue) < MOST_QUEUED:
                self._queue[id] = None
            else:
                self._is_behind = True
        self._came.set()

    def is_over(self, at: int) -> bool:
        """Whether a picture of that time (milliseconds since 1970) is too old to be in the store."""
        return iso(at)[:10] < self._eldest

    # Reading, in the readers' threads.

    def fetch(self, id: str, at: int) -> Pictured | None:
        """A picture out of the store; None where it is not there.

        Args:
            at: when it began, milliseconds since 1970, as the history's entry says.

        Raises:
            Damaged: it is not whole, or another one.
            PlantAway: the store does not answer.
        """
        if self._clock() < self._asked.until:
            raise PlantAway(self._asked.words)
        try:
            return self._get(id, at)
        except PlantAway as error:
            self._asked = _Asked(self._clock() + AWAY_S, str(error))
            raise

    def newest(self, here: Pictured) -> Pictured:
        """A picture that lies here, with what was said of it last at any gateway, as far as the store answers."""
        try:
            there = self.fetch(here.facts.id, began(here.facts))
            if there is not None and there.facts.said_at > here.facts.said_at:
                return self._folder.replace(there)
        except (Damaged, OSError) as error:
            log.debug("id=%s what others said of it is not known: %s", here.facts.id, error)
        return here

    def say(self, id: str, at: int, disposition: Disposition | None, correction: str | None) -> bool:
        """Note in the store what is said of a picture that is not here. Returns whether it is there.

        Raises:
            Damaged: it is not whole, or another one.
            PlantAway: the store does not answer; it is not noted, or nobody knows.
        """
        pictured = self.fetch(id, at)
        if pictured is None:
            return False
        self._store.write(_name(id, at), pack(said_of(pictured, disposition, correction)))
        return True

    def _get(self, id: str, at: int) -> Pictured | None:
        try:
            data = self._store.read(_name(id, at), most=MOST_BYTES)
        except ValueError as error:
            raise Damaged(f"the archived picture in the plant's store is damaged ({error})") from error
        if data is None:
            return None
        pictured = unpack(data)
        if pictured.facts.id != id:
            raise Damaged("the archived picture in the plant's store is another one")
        return pictured

    # Putting, in its own thread.

    def _live(self) -> None:
        while not self._stopping:
            try:
                self._came.clear()
                more = self._round()
            except PlantAway as error:
                self._trouble(f"{error}: pictures of this gateway lie here until they can be put there")
            except Exception as error:
                if not self._failures:
                    log.exception("archived pictures could not be put into the plant's store")
                words = f"{type(error).__name__}: {error}"
                self._trouble(f"archived pictures could not be put into the plant's store ({words}), which is tried on")
            else:
                self._well()
                if not more:
                    self._came.wait(TIDY_S)
                continue
            self._pause(RETRY_S[min(self._failures, len(RETRY_S)) - 1])

    def _pause(self, seconds: float) -> None:
        until = self._clock() + seconds
        while not self._stopping and (left := until - self._clock()) > 0:
            self._came.wait(left)
            self._came.clear()

    def _round(self) -> bool:
        """Put all that is not there yet, then remove what is too old; returns whether there is more to be done."""
        self._put_queued()
        if self._is_behind:
            self._is_behind = False  # what fails from here on is found by another look
            try:
                for path in self._folder.unshared():
                    if self._stopping:
                        return False
                    self._put(path)
                    self._put_queued()
            except BaseException:
                self._is_behind = True
                raise
        if self._clock() < self._tidy_at:
            return False
        if self._tidy():
            return True
        self._tidy_at = self._clock() + TIDY_S
        self._is_behind = True  # with the next round; it is a look at names
        return False

    def _put_queued(self) -> None:
        while not self._stopping and self._queue:
            with self._lock:
                id = next(iter(self._queue))
                del self._queue[id]
            try:
                if (path := self._folder.find(id)) is not None:
                    self._put(path)
            except BaseException:
                self._is_behind = True
                raise

    def _put(self, path: Path) -> None:
        """Put a file's picture into the store, and mark the file. One that is written in its place meanwhile is another
        file, without the mark."""
        try:
            with path.open("rb") as file:
                mine = unpack(file.read(MOST_BYTES + 1))
                if mine.facts.id + SUFFIX != path.name:
                    raise Damaged("the archived picture is another one")
                if self._is_put(mine, path):
                    _mark(file.fileno())
        except PlantAway:
            if path.exists():  # else it made room for others meanwhile
                raise
        except FileNotFoundError:
            return
        except (Damaged, OSError, ValueError) as error:  # of this one: the others are put
            if not self._said_unreadable:
                self._said_unreadable = True
                log.warning("%s is not put into the plant's store reason=%s; said once", path, error)

    def _is_put(self, mine: Pictured, path: Path) -> bool:
        """Whether the store has this picture now; where another gateway said something of it later, it is taken over
        from there, and put in its own turn."""
        at = began(mine.facts)
        if self.is_over(at):
            return False
        theirs = None
        with contextlib.suppress(Damaged):  # then it is mended by this
            theirs = self._get(mine.facts.id, at)
        if theirs is not None and theirs.facts.said_at > mine.facts.said_at:
            self._folder.replace(theirs)
            self.put_soon(mine.facts.id)
            return False
        if theirs != mine:
            self._store.put(_name(mine.facts.id, at), path)
            self.put += 1
        return True

    def _tidy(self) -> bool:
        """Remove what is too old from the store; returns whether there is more of it."""
        old = [day for day in self._store.folders(FOLDER) if _is_day(day) and day < self._eldest]
        if not old or (now := self._store.now()) is None:
            return False
        eldest = self._eldest_on(day_of(now))
        left, gone = MOST_TIDIED, list[str]()
        try:
            for day in old:
                if day >= eldest:
                    continue
                for one in self._store.below(f"{FOLDER}/{day}"):
                    if left == 0 or self._stopping:
                        return True
                    self._store.remove(one.name)
                    gone.append(one.name.rpartition("/")[2].removesuffix(SUFFIX))
                    left -= 1
                self._store.remove_folder(f"{FOLDER}/{day}")
        finally:
            if gone:
                self.on_gone(gone)
        return False

    @property
    def _eldest(self) -> str:
        return self._eldest_on(self._aged_by())

    def _eldest_on(self, today: date) -> str:
        return (today - timedelta(days=self._days + 1)).isoformat()

    def _trouble(self, words: str) -> None:
        if not self._failures and not self._stopping:
            log.warning("archive %s", words)
        self._failures += 1
        self.warning = words

    def _well(self) -> None:
        if self._failures:
            log.warning("archive pictures are put into the plant's store again")
        self._failures, self.warning = 0, None


def _name(id: str, at: int) -> str:
    return f"{FOLDER}/{iso(at)[:10]}/{id}{SUFFIX}"


def _is_day(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _mark(descriptor: int) -> None:
    """Some network disks keep no modes: then what lies here is put again after a restart."""
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, os.fstat(descriptor).st_mode & ~0o222 & 0o7777)
