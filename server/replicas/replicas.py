"""The replicas of this gateway: which are free, what each has loaded, which are gone, and how many there should be.

Nothing waits on the other side: a thread of the pool takes a replica that is known to be free, gives it one frame, and
waits for the answer. A replica belongs to one gateway, so what is known of it is true.

A model is in force on all replicas or on none: a frame names its model by hash, so what is found is of that very
model, and what becomes of it (threshold, recipe, verdict) was read together with it. Before a new version is put in
force here, every replica has it (:meth:`Replicas.spread`); one that does not, gets no frames until it has.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from detector import VERSION, Detection, Detector, ImageError, ModelError, TaughtModel
from detector.counted import counted
from detector.images import BGRImage
from server.inspection import Ask, Encoded, Here, Looked, NotLooked, Wanted, all_of
from server.replicas.choice import ReplicasWanted
from server.replicas.cluster import Cluster, Gone, NoCluster, Peer
from server.replicas.packed_model import Packed, base_of, packed
from server.replicas.replica import Answer, Broken, Hello, NotHere, Request
from server.replicas.scaling import Scaling
from server.replicas.strikes import Strikes
from server.words import Figure, Load

S = TypeVar("S")
T = TypeVar("T")

log = logging.getLogger("defectvision.replicas")

TICK_S = 0.05
LATE_S = 0.1
"""Seconds since its last look after which the keeper is late; by how much it is, is no replica's silence."""
BEAT_S = 0.2
"""Seconds between two signs of life of a replica."""
SILENT_S = 0.6
"""Seconds without one after which a replica gets no frames, and the one it has is given up."""
LOST_S = 10.0
"""Seconds after which one that is silent is ended, and another started."""
LOAD_S = 120.0
"""Seconds after which one that is loading a model still is ended: it hangs."""
FAILED_S = 10.0
"""Seconds after which a model that a replica could not load is tried there again."""
YOUNG_S = 60.0
"""Seconds for which a replica has to take frames, so that the next one is started at once when it dies."""
START_S = 60.0
"""Seconds more for one that has not loaded any model yet: compiling the first may keep it from saying anything."""
SPREAD_S = 10.0
"""Seconds for which a new version waits for replicas to have it; those that take longer get no frames until they do."""
COMING_S = 60.0
"""Seconds for which a version that was spread stays wanted, until a recipe names it."""
FREE_S = 1.0
"""Seconds for which a thread waits for a replica at the most, and a quarter of what a frame may take: one may go the
moment it is to be given a frame."""
AGAIN_S, AGAIN_LATER_S = 2.0, 30.0
"""Seconds between two attempts to reach a cluster: more after each, up to the latter. Ray writes some lines to
standard error with each, past our log."""
CHECK_S = 5.0
"""Seconds without any replica after which it is seen whether the cluster is there still."""


_Models = dict[str, tuple[Packed, Detector, bool]]
"""By hash: all that is in force, which is true of it, or about to be."""


@dataclass(eq=False)
class _One:
    """A replica.

    Attributes:
        loaded: models it has, and when that was heard.
        loading: models it is about to have, and since when.
        failed: models it cannot load: why, and when that was.
        is_ready: it has started, gives signs of life, and everything that is in force is loaded, or cannot be there.
        is_silent: it gives none.
        taken: since when a thread has it, if one has; ``look``: the frame it has, until it is done with it, whoever
            still waits for that; ``told``: what the thread waits for; ``since``: when it was given that frame;
            ``sender``: whose it is, until it is done with it, or he is struck for it; ``struck``: who was struck for
            the frame that it still has.
        heard: when it gave its last sign of life.
        came: when it took frames for the first time.
        refused: why it cannot be used.
    """

    peer: Peer
    began: float
    hello: Future[Hello]
    number: int
    machine: str = ""
    loaded: dict[str, float] = field(default_factory=dict)
    loading: dict[str, tuple[Future[str], float]] = field(default_factory=dict)
    failed: dict[str, tuple[str, float]] = field(default_factory=dict)
    is_ready: bool = False
    is_silent: bool = False
    taken: float | None = None
    look: Future[Answer] | None = None
    told: Future[Answer] | None = None
    since: float = -math.inf
    sender: str | None = None
    struck: str | None = None
    beat: Future[tuple[str, ...]] | None = None
    asked: float = -math.inf
    heard: float = -math.inf
    came: float = math.inf
    refused: str | None = None

    @property
    def is_free(self) -> bool:
        return self.is_ready and self.taken is None and self.look is None

    @property
    def problem(self) -> str | None:
        """Why it cannot be used, or not for some recipe; or nothing."""
        return self.refused or next((words for words, _ in [*self.failed.values()]), None)

    def give_up(self, why: Exception) -> None:
        """Whoever waits for its frame is told."""
        if self.told is not None:
            _fail(self.told, why)


class _Silent(Exception):
    """A replica gives no sign of life; it may come back."""


class Replicas:
    """Looks at frames on replicas. ``look`` may be called from many threads at once; the rest belongs to the event loop
    or the keeper's thread.

    Args:
        cluster: where they are started.
        wanted: how many.
        models: those in force now.
        call_s: seconds that a frame may take there; one that takes longer is lost, and its replica ended.
        pack, share_of: name a model, and say what of it travels.
    """

    def __init__(
        self,
        cluster: Cluster,
        wanted: ReplicasWanted,
        models: Callable[[], Iterable[Detector]],
        *,
        call_s: float = 3.0,
        silent_s: float = SILENT_S,
        pack: Callable[[Detector], Packed | None] = packed,
        share_of: Callable[[Detector], Any] = base_of,
    ) -> None:
        self._cluster, self._models, self._call_s, self._silent_s = cluster, models, call_s, silent_s
        self._pack, self._share_of = pack, share_of
        self._scaling = Scaling(wanted.least, wanted.most)
        self._least = wanted.least
        self._all: list[_One] = []
        self._changed = threading.Condition()
        self._shared: dict[str, Future[Any]] = {}
        self._sharing = ThreadPoolExecutor(1, "replicas-share")
        self._coming: dict[str, tuple[Detector, float]] = {}
        self._no_cluster: str | None = "the cluster is being reached"
        self._stopped = threading.Event()
        self._keeper: threading.Thread | None = None
        self._employ: Callable[[int], None] = lambda workers: None
        self._waiting: Callable[[], int] = lambda: 0
        self._ready_before = self._started = self._lost = self._frames_lost = 0
        self._busy_s = self._busy_before = 0.0
        self._start_at, self._failed_starts, self._failed_at = 0.0, 0, -math.inf
        self._strikes = Strikes()
        self._checked = 0.0
        self._here = Here()

    # ---- the event loop ---------------------------------------------------------------------------------------------

    def start(self, employ: Callable[[int], None], waiting: Callable[[], int]) -> None:
        """Begin to start replicas. On the event loop.

        Args:
            employ: told on the event loop how many take frames, whenever that changes.
            waiting: how many sources wait for one.
        """
        loop = asyncio.get_running_loop()

        def tell(workers: int) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(employ, workers)

        self._employ, self._waiting = tell, waiting
        self._keeper = threading.Thread(target=self._keep, name="replicas", daemon=True)
        self._keeper.start()

    async def stop(self) -> None:
        """End all of them, and let go of the cluster."""
        self._stopped.set()
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.join, 10.0)
        self._sharing.shutdown(wait=False, cancel_futures=True)

    async def spread(self, model: Detector) -> None:
        """Have a model on all replicas before it is put in force. Returns once they have it, or no longer count.

        Raises:
            ModelError: none of them can load it.
        """
        name = self._pack(model)
        if name is None:
            return
        with self._changed:
            self._coming[name.hash] = model, time.monotonic()
        await asyncio.to_thread(self._load_everywhere, name, model)

    @property
    def trouble(self) -> str | None:
        """Why frames are not looked at; nothing while at least one replica takes some."""
        if any(one.is_ready for one in self._all):
            return None
        if self._no_cluster is not None:
            return f"no frame is inspected: {self._no_cluster}"
        if (problem := self._problem) is not None:
            return f"no frame is inspected: {problem}"
        return (
            "no frame is inspected: no detector replica is left, others are being started; if this stays, the cluster "
            "has no room for one: add a machine, or lower RAY_CPUS and RAY_GPUS"
        )

    @property
    def warning(self) -> str | None:
        """That there are fewer replicas than are asked for at the least, or one cannot be used."""
        if (problem := self._problem) is not None:
            return problem
        ready = sum(one.is_ready for one in self._all)
        if not 0 < ready < self._least:
            return None
        return (
            f"{counted(ready, 'detector replica takes', 'detector replicas take')} frames of the {self._least} that "
            "RAY_REPLICAS asks for: the others are starting, or the cluster has no room for them"
        )

    @property
    def _problem(self) -> str | None:
        return next((problem for one in self._all if (problem := one.problem)), None)

    def figures(self) -> Iterator[Figure]:
        """How many there are, and what they lost."""
        yield Figure("replicas_ready", "detector replicas that take frames", sum(one.is_ready for one in self._all))
        yield Figure("replicas_wanted", "detector replicas that there should be", self._scaling.wanted)
        yield Figure("replicas_started", "detector replicas started", self._started, kind="counter")
        yield Figure("replicas_lost", "detector replicas that died or fell silent", self._lost, kind="counter")
        yield Figure("replicas_frames_lost", "frames lost with a replica", self._frames_lost, kind="counter")

    # ---- a thread of the pool ---------------------------------------------------------------------------------------

    def look(self, load: Load, ask: Ask, progress: Callable[[], None]) -> Looked:
        """Look at a frame on a replica that is free."""
        if isinstance(load, Encoded) and load.is_jpeg:
            model, wanted = ask()
            name = self._pack(model)
            if name is None:
                return self._here.look(load, lambda: (model, wanted), progress)
            answer = self._ask(name, model, load, wanted)
            progress()
            assert isinstance(answer, Looked)
            return answer
        frame = load()
        progress()
        model, wanted = ask()
        name = self._pack(model)
        if name is None or not isinstance(model, TaughtModel):
            return self._here.look(lambda: frame, lambda: (model, wanted), progress)

        def detect(small: BGRImage) -> Detection:
            found = self._ask(name, model, small, wanted)
            assert isinstance(found, Detection)
            return found

        found = model.detect_through(frame, detect)
        progress()
        return all_of(frame, found, model, wanted)

    def _ask(self, name: Packed, model: Detector, frame: Encoded | BGRImage, wanted: Wanted) -> Answer:
        self._let_in(_sender(frame))
        one = self._take(name.hash)
        began = time.monotonic()
        until = began + self._call_s
        request = Request(name.hash, frame, wanted)
        try:
            answer = self._asked_of(one, request, self._call_s)
            if isinstance(answer, NotHere):
                # It was let go of there, or comes from a recipe that was never spread: it is loaded before it counts.
                self._load_late(one, name, model, until)
                answer = self._asked_late(one, request, until)
        except _Silent as error:
            raise self._lost_frame("the detector replica that had this frame gives no sign of life") from error
        except Gone as error:
            self._is_gone(one, str(error))
            raise self._lost_frame("the detector replica that had this frame is gone") from error
        except TimeoutError as error:
            self._is_gone(one, f"a frame took more than {self._call_s:g} s")
            raise self._lost_frame(f"a detector replica took more than {self._call_s:g} s and was ended") from error
        finally:
            with self._changed:
                one.taken = one.told = None
                self._busy_s += time.monotonic() - began
                self._changed.notify_all()
        if isinstance(answer, Broken):
            raise ImageError(answer.words)
        if isinstance(answer, NotHere):
            raise self._lost_frame("a detector replica let go of the model before it looked")
        return answer

    def _load_late(self, one: _One, name: Packed, model: Detector, until: float) -> None:
        try:
            self._load(one, name, model).result(max(0.0, until - time.monotonic()))
        except TimeoutError as error:  # it goes on loading, and nothing is wrong with the replica
            raise self._lost_frame("a detector replica is still loading the model") from error
        except Gone:
            raise
        except Exception as error:
            raise self._lost_frame(self._cannot_load(one, name.hash, error, time.monotonic())) from error

    def _asked_late(self, one: _One, request: Request, until: float) -> Answer:
        """Of what loading left of the frame's time: where that is too little, nothing is wrong with the replica. One
        that does not come to an end with the frame is ended later."""
        try:
            return self._asked_of(one, request, until - time.monotonic())
        except TimeoutError as error:
            raise self._lost_frame("a detector replica had to load the model first, which took too long") from error

    def _let_in(self, sender: str | None) -> None:
        if sender is None:
            return
        with self._changed:
            wait, count = self._strikes.wait(sender, time.monotonic()), self._strikes.count(sender)
        if wait > 0:
            raise NotLooked(
                f"{counted(count, 'detector replica', 'detector replicas')} died or hung with a picture of this "
                f"stream: no other gets one for {math.ceil(wait)} s; see to what its camera sends"
            )

    def _strike(self, one: _One) -> None:
        """Once for a frame, whoever is first to see what it did."""
        with self._changed:
            sender, one.sender = one.sender, None
            if sender is None:
                return
            self._strikes.strike(sender, time.monotonic())
            one.struck = sender
        log.warning("replica died or hangs with a picture number=%d stream=%s", one.number, sender)

    def _came_to_an_end(self, one: _One) -> None:
        """Where it had fallen silent, and looked at its frame in time all the same, that was not the frame's doing."""
        if one.struck is not None and time.monotonic() - one.since <= self._call_s:
            self._strikes.take_back(one.struck)
        one.sender = one.struck = None

    def _lost_frame(self, words: str) -> NotLooked:
        with self._changed:
            self._frames_lost += 1
        return NotLooked(f"{words}: this frame is lost")

    def _asked_of(self, one: _One, request: Request, within_s: float) -> Answer:
        told: Future[Answer] = Future()
        answer = one.peer.look(request)
        with self._changed:
            one.look, one.told, one.since = answer, told, time.monotonic()
            is_heard = one in self._all and not one.is_silent
            one.sender, one.struck = _sender(request.frame) if is_heard else None, None
        answer.add_done_callback(partial(self._came, one, told))
        if not is_heard:
            _fail(told, _Silent())
        return told.result(max(0.0, within_s))

    def _came(self, one: _One, told: Future[Answer], answer: Future[Answer]) -> None:
        error = answer.exception()
        with self._changed:
            if one.look is answer:
                one.look = None
                if not isinstance(error, Gone):
                    self._came_to_an_end(one)
                self._changed.notify_all()
        if error is None:
            with suppress(InvalidStateError):  # it was given up
                told.set_result(answer.result())
        else:
            _fail(told, error)

    def _take(self, hash: str) -> _One:
        """A replica that is free and can load the model; one that has it already, if any that is free does."""
        until = time.monotonic() + min(FREE_S, self._call_s / 4)
        with self._changed:
            while True:
                ready = [one for one in self._all if one.is_ready]
                failed = [one.failed.get(hash) for one in ready]  # which the keeper forgets at any time
                if failed and (first := failed[0]) is not None and all(failed):
                    raise self._lost_frame(first[0])
                free = [one for one in ready if one.is_free and hash not in one.failed]
                if free:
                    one = next((one for one in free if hash in one.loaded), free[0])
                    one.taken = time.monotonic()
                    return one
                if (left := until - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)
        raise self._lost_frame("the detector replica that was free is gone")

    # ---- the keeper's thread ----------------------------------------------------------------------------------------

    def _keep(self) -> None:
        last, wait_s = time.monotonic(), AGAIN_S
        while not self._stopped.is_set():
            if self._no_cluster is None or self._reach():
                now = time.monotonic()
                goes_on, last = self._look_after_all(now, now - last), now
            else:
                goes_on = False
            self._stopped.wait(TICK_S if goes_on else wait_s)
            wait_s = AGAIN_S if goes_on else min(AGAIN_LATER_S, 1.5 * wait_s)
        self._let_go("the server stops")
        self._cluster.close()

    def _look_after_all(self, now: float, seconds: float) -> bool:
        """Whether that may be done again at once, or, where the cluster is gone, it be reached anew."""
        try:
            for one in self._all:  # while this thread was held up, nobody was asked, and no answer seen
                one.heard += max(0.0, seconds - LATE_S)
            self._scale(now, seconds)
            self._attend(now)
            self._check(now)
        except NoCluster as error:
            self._no_cluster = str(error)
            log.error("%s", error)
            self._let_go("the cluster is gone")
        except Exception as error:  # the cluster fails in its own ways
            self._no_cluster = f"the cluster failed ({_of(error)}); it is reached anew"
            log.exception("cluster failed")
            self._let_go("the cluster failed")
            return False
        return True

    def _check(self, now: float) -> None:
        """Replicas look at frames although the head of their cluster is gone; without any, no other is started."""
        if any(one.is_ready for one in self._all):
            self._checked = now
        elif now - self._checked > CHECK_S:
            self._cluster.check()
            self._checked = now

    def _let_go(self, why: str) -> None:
        with self._changed:
            gone, self._all, self._shared = self._all, [], {}
            self._changed.notify_all()
        for one in gone:
            one.is_ready = False
            one.give_up(Gone(why))
        self._tell()

    def _reach(self) -> bool:
        try:
            self._cluster.connect()
        except NoCluster as error:
            if str(error) != self._no_cluster:
                log.error("%s", error)
            self._no_cluster = str(error)
            return False
        except Exception as error:  # nobody else would ever try again
            self._no_cluster = f"the cluster cannot be reached ({_of(error)}); it is tried again"
            log.exception("cluster cannot be reached")
            return False
        self._no_cluster = None
        return True

    def _scale(self, now: float, seconds: float) -> None:
        ready = sum(one.is_ready for one in self._all)
        busy = self._busy_since_last(now) / seconds if seconds > 0 else 0.0
        wanted = self._scaling.see(now, ready=ready, busy=busy, waiting=self._waiting())
        if now >= self._start_at:
            for _ in range(wanted - len(self._all)):
                self._start(now)
        if len(self._all) > wanted:
            self._retire()

    def _busy_since_last(self, now: float) -> float:
        """Seconds for which replicas had frames, of all together, those of frames that they still have included."""
        with self._changed:
            busy = self._busy_s + sum(now - one.taken for one in self._all if one.taken is not None)
        before, self._busy_before = self._busy_before, busy
        return busy - before

    def _start(self, now: float) -> None:
        self._started += 1
        peer = self._cluster.start()
        one = _One(peer, now, peer.hello(), self._started)
        with self._changed:
            self._all = [*self._all, one]

    def _retire(self) -> None:
        """One fewer: one that takes no frames, as while there is no room for it; else the newest that has none."""
        with self._changed:
            idle = [one for one in self._all if one.look is None and one.taken is None]
            if not idle:
                return
            least = min(idle, key=lambda one: (one.is_ready, -one.number))
            self._all = [one for one in self._all if one is not least]
        log.info("replica retired number=%d left=%d", least.number, len(self._all))
        least.peer.end()
        self._tell()

    def _attend(self, now: float) -> None:
        wanted = self._wanted(now)
        for one in self._all:
            try:
                self._attend_to(one, now, wanted)
            except Gone as error:
                self._is_gone(one, str(error))
        self._tell()

    def _attend_to(self, one: _One, now: float, wanted: _Models) -> None:
        if one.machine == "":
            if not one.hello.done():
                return  # it waits for room, which may take as long as it takes
            self._greet(one, one.hello.result(), now)
        for hash, (future, since) in [*one.loading.items()]:
            if future.done():
                del one.loading[hash]
                self._loaded(one, hash, future, now)
            elif now - since > LOAD_S:
                one.sender = None  # the frame that it may have is not what it hangs with
                raise Gone(f"it did not load a model within {LOAD_S:g} s")
        self._load_missing(one, now, wanted)
        self._listen(one, now, wanted)
        if one.look is not None and one.told is None and now - one.since > self._call_s + LOST_S:
            raise Gone("it does not come to an end with a frame that was given up")
        was_silent, one.is_silent = one.is_silent, now - one.heard > self._silent_s
        # What is only about to be in force is loaded, and keeps no frame waiting; nor does what cannot be loaded there
        # keep frames of others from it.
        in_force = [hash for hash, (_, _, is_in_force) in wanted.items() if is_in_force]
        has_all = all(hash in one.loaded or hash in one.failed for hash in in_force)
        has_all = has_all and (not in_force or any(hash in one.loaded for hash in in_force))
        was_ready, one.is_ready = one.is_ready, has_all and not one.is_silent and one.refused is None
        if one.is_silent and not was_silent:
            self._fell_silent(one, was_ready)
        elif one.is_ready and not was_ready:
            one.came = min(one.came, now)
            log.info("replica ready number=%d machine=%s models=%d", one.number, one.machine, len(one.loaded))
        if one.came > self._failed_at and now - one.came > YOUNG_S:  # one that was started since is well
            self._failed_starts = 0
        if now - one.heard > LOST_S + (0 if one.loaded else START_S):
            raise Gone("it gave no sign of life for long")

    def _fell_silent(self, one: _One, was_ready: bool) -> None:
        if was_ready:
            log.warning("replica silent number=%d machine=%s", one.number, one.machine)
            self._lost += 1
        with self._changed:
            if one.since > one.asked:  # it did not answer before it was given the frame
                one.sender = None
        self._strike(one)
        one.give_up(_Silent())

    def _load_missing(self, one: _One, now: float, wanted: _Models) -> None:
        for hash in [*one.failed]:
            if hash not in wanted:
                del one.failed[hash]
        for hash, (name, model, _) in wanted.items():
            if hash in one.loaded or hash in one.loading or one.refused is not None:
                continue
            if hash in one.failed and now - one.failed[hash][1] < FAILED_S:
                continue
            one.loading[hash] = self._load(one, name, model), now

    def _greet(self, one: _One, hello: Hello, now: float) -> None:
        one.machine, one.heard, one.began = hello.machine or "?", now, now
        if hello.version != VERSION:
            one.refused = (
                f"a replica on {one.machine} runs DefectVision {hello.version}, and this gateway "
                f"{VERSION}: install the same version on all machines"
            )

    def _loaded(self, one: _One, hash: str, future: Future[str], now: float) -> None:
        error = future.exception()
        if error is None:
            one.loaded[hash] = now
            one.failed.pop(hash, None)
        elif isinstance(error, Gone):
            raise error
        else:
            self._cannot_load(one, hash, error, now)

    def _cannot_load(self, one: _One, hash: str, error: BaseException, now: float) -> str:
        words = f"a replica on {one.machine} cannot load a model: {_of(error)}"
        if one.failed.get(hash, ("", 0.0))[0] != words:
            log.error("replica cannot load number=%d model=%s reason=%s", one.number, hash[:12], _of(error))
        one.failed[hash] = words, now
        return words

    def _listen(self, one: _One, now: float, wanted: Iterable[str]) -> None:
        if one.beat is not None and one.beat.done():
            there = one.beat.result()
            for hash, since in [*one.loaded.items()]:
                if hash not in there and since < one.asked:  # what came later it could not name
                    one.loaded.pop(hash, None)
            one.beat, one.heard = None, now
        if one.beat is None and now - one.asked >= BEAT_S:
            one.asked = now
            one.beat = one.peer.beat([*wanted])

    def _wanted(self, now: float) -> _Models:
        found: _Models = {}
        with self._changed:
            for hash, (_, since) in [*self._coming.items()]:
                if now - since > COMING_S:
                    del self._coming[hash]
            coming = [model for model, _ in self._coming.values()]
        for models, in_force in ((coming, False), (self._models(), True)):
            for model in models:
                if (name := self._pack(model)) is not None:
                    found[name.hash] = name, model, in_force
        taught = {name.taught for name, _, _ in found.values()}
        with self._changed:
            self._shared = {one: shared for one, shared in self._shared.items() if one in taught}
        return found

    def _load(self, one: _One, name: Packed, model: Detector) -> Future[str]:
        """Have a model ready there, once what it learned can be fetched."""
        return _then(self._base(name, model), partial(one.peer.load, name))

    def _base(self, name: Packed, model: Detector) -> Future[Any]:
        """What a model learned, put where all machines can fetch it: once, whoever asks, in a thread of its own. It may
        be 100 MB, and who asks has frames or replicas that wait."""
        with self._changed:
            shared = self._shared.get(name.taught)
            if shared is None:
                shared = self._shared[name.taught] = self._sharing.submit(self._share, name.taught, model)
        return shared

    def _share(self, taught: str, model: Detector) -> Any:
        try:
            return self._cluster.share(self._share_of(model))
        except Exception:
            with self._changed:
                self._shared.pop(taught, None)  # the next one tries it again
            raise

    def _load_everywhere(self, name: Packed, model: Detector) -> None:
        ready = [one for one in self._all if one.is_ready and name.hash not in one.loaded]
        if not ready:
            return
        try:
            self._base(name, model).result()
        except Exception as error:
            raise self._refused_by_all(name, error) from error
        asked = [(one, self._load(one, name, model)) for one in ready]
        until, failures = time.monotonic() + SPREAD_S, list[Exception]()
        for one, future in asked:
            try:
                _await(future, until, partial(self._is_there, one))
                one.loaded[name.hash] = time.monotonic()
            except Exception as error:  # it gets no frames until it has it: the keeper sees to that
                failures.append(error)
                one.is_ready = False
                log.warning("replica not ready number=%d model=%s reason=%r", one.number, name.hash[:12], error)
        self._tell()
        if len(failures) == len(asked) and not any(isinstance(error, Gone | TimeoutError) for error in failures):
            raise self._refused_by_all(name, failures[0])

    def _refused_by_all(self, name: Packed, error: Exception) -> ModelError:
        with self._changed:
            self._coming.pop(name.hash, None)
        return ModelError(f"the detector replicas cannot load it ({_of(error)}): what was in force stays so")

    def _is_there(self, one: _One) -> bool:
        return one in self._all and not one.is_silent

    def _is_gone(self, one: _One, why: str) -> None:
        with self._changed:
            if one not in self._all:
                return
            self._all = [other for other in self._all if other is not one]
            self._strike(one)
            self._lost += one.is_ready
            one.is_ready = False
            # It never took frames, or not for long: whatever was wrong with it may be wrong with the next one, too.
            now = time.monotonic()
            if now - one.came < YOUNG_S:
                self._failed_starts, self._failed_at = self._failed_starts + 1, now
                self._start_at = now + min(10.0, 0.25 * 2.0 ** min(self._failed_starts, 8))
            self._changed.notify_all()
        one.give_up(Gone(why))
        log.warning("replica gone number=%d machine=%s reason=%s left=%d", one.number, one.machine, why, len(self._all))
        one.peer.end()
        self._tell()

    def _tell(self) -> None:
        """Say how many there are. Several threads do: who counted last is heard last."""
        with self._changed:
            ready = sum(one.is_ready for one in self._all)
            if ready != self._ready_before:
                self._ready_before = ready
                self._employ(ready)
                self._changed.notify_all()


def _of(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__


def _sender(frame: Encoded | BGRImage) -> str | None:
    return frame.sender if isinstance(frame, Encoded) else None


def _await(future: Future[Any], until: float, is_there: Callable[[], bool]) -> None:
    """Wait for what a replica does, for as long as it is there.

    Raises:
        Exception: what came of it; TimeoutError: nothing did in time; Gone: the replica did.
    """
    while not future.done() and (left := until - time.monotonic()) > 0 and is_there():
        wait([future], min(left, TICK_S))
    if not future.done() and not is_there():
        raise Gone("it gives no sign of life")
    future.result(0.0)


def _then(first: Future[S], step: Callable[[S], Future[T]]) -> Future[T]:
    """What comes of a step that is taken with what came of the first. Nobody waits for it meanwhile."""
    found: Future[T] = Future()

    def end(second: Future[T]) -> None:
        try:
            found.set_result(second.result())
        except Exception as error:
            found.set_exception(error)

    def go_on(ended: Future[S]) -> None:
        try:
            second = step(ended.result())
        except Exception as error:
            found.set_exception(error)
        else:
            second.add_done_callback(end)

    first.add_done_callback(go_on)
    return found


def _fail(future: Future[Any], error: BaseException) -> None:
    with suppress(InvalidStateError):
        future.set_exception(error)
