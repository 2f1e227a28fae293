"""One part being taught: from its first picture to a recipe, or to nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from detector import DetectorError, ImageError
from detector.counted import counted
from detector.images import FILE_FORMATS, BGRImage, decode
from detector.showing import Quality, Stillness, fault_of, quality_of
from detector.teaching import PresetName
from server.recipes import RecipeError
from server.teaching import files
from server.teaching.album import FEWEST, Album, Kept
from server.teaching.archive import Brought, Packed
from server.teaching.files import Files, Stored, TooMuch
from server.teaching.learner import Learner, LearnerGone
from server.teaching.library import NoRecipe
from server.teaching.others import Earlier, Find, Shelf, TaughtMeanwhile, Watched
from server.teaching.showing import SAME_PART, Showing
from server.teaching.words import (
    Answer,
    Box,
    IsCopy,
    Learn,
    Learned,
    LeaveOut,
    Progress,
    Refused,
    Region,
    Rehearse,
    Request,
    Seen,
    Show,
    Shown,
)
from server.teaching.work_thread import NotStored
from server.words import now

log = logging.getLogger("defectvision.teaching")

State = Literal["showing", "learning", "done", "failed"]
PRESS_S = 12.0
"""How long a press is waited for: a part is held still, and what was taken is looked at."""
REHEARSED = 10
"""Pictures from which on it is learned ahead, while nothing changed for so many seconds. What was learned is thrown
away when another picture comes, but not what was seen in those there were (:class:`detector.teaching.Remembered`)."""
PAUSE_S = 0.5
REASONS = 5
"""Pictures of an upload of which it is told one by one why they were not taken."""


class CannotNow(Exception):
    """What is asked for cannot be done in this state; one sentence."""


class CannotBe(ValueError):
    """What is asked for cannot be; one sentence."""


class NotThere(Exception):
    """There is no such teaching, picture or stream; one sentence."""


@dataclass(frozen=True)
class Wanted:
    """What is to be taught.

    Attributes:
        name: of the recipe.
        stream: whose frames are shown; None where pictures are uploaded.
        more_of: id of the recipe whose model is taught more.
        who: teaches.
    """

    name: str
    stream: str | None
    more_of: str | None
    auto: bool
    preset: PresetName
    who: str


@dataclass(frozen=True)
class Look:
    """A frame, and what is to be said of it before it may be taken. ``at``: seconds."""

    frame: BGRImage
    quality: Quality
    still: bool
    at: float


@dataclass
class Report:
    """What became of the pictures of an upload.

    Attributes:
        of: how many there are; 0 where it broke off before they came.
        state: broken: who sent them was gone before all were looked at.
    """

    of: int = 0
    state: Literal["going", "over", "broken"] = "going"
    taken: int = 0
    copies: int = 0
    not_taken: list[str] = field(default_factory=list)

    @property
    def looked_at(self) -> int:
        return self.taken + self.copies + len(self.not_taken)

    @property
    def broke_off(self) -> str | None:
        """That it did, and what to do."""
        if self.state != "broken":
            return None
        when = f"after {self.looked_at} of {counted(self.of, 'picture')}" if self.of else "before its pictures had come"
        return f"the upload broke off {when}: bring the same again, what was taken is known"

    @property
    def sentences(self) -> list[str]:
        found = []
        if self.copies:
            show = counted(self.copies, "picture shows a part that was", "pictures show parts that were")
            found.append(f"{show} shown already, lying still: they count once")
        found += self.not_taken[:REASONS]
        if (more := len(self.not_taken) - REASONS) > 0:
            found.append(f"and {counted(more, 'more picture was', 'more pictures were')} not taken")
        return found


class Teaching:
    """The event loop owns it; what costs is done in threads and in the process that learns.

    Args:
        id: names it.
        earlier: what the model was taught on before, of one that is taught more.
        make_learner: makes the process that learns; given what is called with what it says by itself.
        clock: seconds, monotonic.

    Attributes:
        recipe, threshold, seconds: once done: the recipe's id, what its threshold promises, and how long it took.
        error: why it failed, one sentence.
        progress: of learning, 0..1.
        region: what will be inspected, as it looks now.
        uploaded: what became, or becomes, of the latest upload; None before the first.
        latest: the newest frame it was shown, H×W×3 uint8 BGR; None before the first and once it is done or ended.
    """

    def __init__(
        self,
        id: str,
        wanted: Wanted,
        place: Files,
        shelf: Shelf,
        find: Find,
        make_learner: Callable[[Callable[[Progress | Region], None]], Learner],
        *,
        earlier: Earlier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id, self.wanted = id, wanted
        self.showing, self.album = Showing(wanted.auto), Album()
        self.state: State = "showing"
        self.region: Box | None = None
        self.latest: BGRImage | None = None
        self.uploaded: Report | None = None
        self.progress = 0.0
        self.error: str | None = None
        self.recipe: str | None = None
        self.threshold: str | None = None
        self.seconds: float | None = None
        self.touched = clock()
        self._files, self._shelf, self._find, self._clock = place, shelf, find, clock
        self._make_learner = make_learner
        self._learner: Learner | None = None
        self._watched: Watched | None = None
        self._stillness = Stillness()
        self._qualities: dict[int, Quality] = {}
        self._changed_at = self._begun = self.touched
        self._rehearsed: list[str] = []
        self._away: str | None = None
        self._report: list[str] = []
        self._left_out = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._warned = self._putting_in_force = self._ended = False
        self._of = ""
        self._earlier: asyncio.Task[None] | None = None
        if earlier is not None:
            self._of = earlier.taught
            self._earlier = self._spawn(self._show_earlier(earlier.pictures))

    @property
    def learning_s(self) -> float | None:
        """Seconds since Done, while learning."""
        return round(self._clock() - self._begun, 1) if self.state == "learning" else None

    @property
    def is_open(self) -> bool:
        """Whether it still holds its stream, or its pictures."""
        return self.state != "done" and not self._ended

    @property
    def notes(self) -> list[str]:
        """What the person should know, sentences."""
        broke_off = self.uploaded.broke_off if self.uploaded else None
        found = [*(one for one in (broke_off, self._away) if one and self.is_open), *self._report]
        if self._left_out:
            what = counted(self._left_out, "picture that looks", "pictures that look")
            found.append(f"{what} unlike the others and that nobody called good: not learned from")
        return found

    def touch(self) -> None:
        """Somebody is interested in it."""
        self.touched = self._clock()

    def change(self, *, name: str | None = None, auto: bool | None = None) -> None:
        """Call it something else, or take pictures by themselves, or not.

        Raises:
            CannotNow: it is not being shown parts.
            CannotBe: the name is that of the recipe whose model is taught more.
        """
        self._require_showing()
        if name is not None and self.wanted.more_of is not None and name != self.wanted.name:
            raise CannotBe("what is taught more keeps its name: change that of the recipe")
        if name is not None:
            self.wanted = replace(self.wanted, name=name)
        if auto is not None:
            self.showing.auto = auto

    # The stream.

    def attach(self) -> None:
        """Be shown the frames of the stream, if somebody sends it and it is not so already.

        Raises:
            CannotNow: somebody else is shown them.
        """
        if self.wanted.stream is None or self._watched is not None or not self.is_open or self.recipe is not None:
            return
        found = self._find(self.wanted.stream)
        if found is not None:
            try:
                found.watch(self)
            except ValueError as error:
                raise CannotNow(str(error)) from error
            self._watched, self._away = found, None

    def look(self, frame: BGRImage) -> Look | None:
        """In a worker thread: what is to be known of a frame; nothing while nobody asks."""
        if self.state not in ("showing", "failed"):
            return None
        at = self._clock()
        return Look(frame, quality_of(frame), self._stillness.see(frame, at), at)

    def seen(self, outcome: Look | BaseException | None) -> None:
        """On the event loop: take the frame, or say why not."""
        if outcome is None or self.state not in ("showing", "failed") or self._ended:
            return
        if not isinstance(outcome, BaseException):
            self.latest = outcome.frame
        if isinstance(outcome, BaseException):
            words = str(outcome) if isinstance(outcome, ImageError) else "the frame could not be looked at"
            if not isinstance(outcome, ImageError) and not self._warned:
                self._warned = True  # the next ones would say the same
                log.error("a frame could not be looked at teaching=%s", self.id, exc_info=outcome)
            self.showing.see(words, False, self._clock())
            self._tell_changed()
            return
        fault = fault_of(outcome.quality, [*self._qualities.values()])
        if self.showing.see(fault, outcome.still, outcome.at):
            self._spawn(self._take(outcome))
        self._tell_changed()

    def gone(self, why: str) -> None:
        """On the event loop: the stream ended; it is waited for."""
        self._watched = None
        self._away = f"{why}: start it again, the pictures are still here"

    async def take(self) -> None:
        """Take the next good frame, by a press; returns once it is known what became of it.

        Raises:
            CannotNow: it is not being shown parts.
            CannotBe: there is no stream.
        """
        self._require_showing()
        if self.wanted.stream is None:
            raise CannotBe("this teaching has no stream: upload pictures")
        self.showing.press()
        try:
            async with asyncio.timeout(PRESS_S):
                while self.showing.is_pressed and self.is_open:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            if not self.showing.in_work:
                self.showing.give_up(f"no frame of {self.wanted.stream} came: check its camera, then press again")

    async def _take(self, look: Look) -> None:
        why: str | None
        try:
            why = await self._keep(look.frame, look.quality)
        except OSError as error:
            why = cannot_write(error)
        except CannotNow as error:
            why = str(error)
        except Exception:
            log.exception("a picture could not be kept teaching=%s", self.id)
            why = "the picture could not be kept; the server's log says why"
        if why is None:
            self.showing.took()
        else:
            self.showing.refuse(why)
        self._tell_changed()

    # Pictures.

    async def upload(self, pictures: Sequence[Packed] | Brought, gone: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Show pictures, one after the other.

        Args:
            pictures: files of any of our formats; the next one is asked for in a thread.
            gone: whether who sends them is gone; the rest is left out then, which is said until more are brought.

        Raises:
            CannotNow: it is not being shown parts, or not any more.
            OSError: the data directory cannot be written; those before are kept.
            ArchiveError: of the pictures.
        """
        self._require_showing()
        self.uploaded = report = Report(len(pictures))
        waiting = iter(pictures)
        try:
            while (picture := await asyncio.to_thread(next, waiting, None)) is not None:
                if await gone():
                    report.state = "broken"
                    break
                if (why := await self._upload(picture)) is None:
                    report.taken += 1
                elif why == SAME_PART:
                    report.copies += 1
                else:
                    report.not_taken.append(f"{_shown(picture.name)}: {why}")
                self._report = report.sentences
        finally:
            self._report = report.sentences
            if report.state == "going":
                report.state = "over"

    def upload_broke_off(self) -> None:
        """Who sends pictures was gone before they had come; harmless once it is not being shown parts."""
        self.uploaded = Report(state="broken")

    async def _upload(self, picture: Packed) -> str | None:
        """Why it was not taken."""
        self._require_showing()
        try:
            frame = await asyncio.to_thread(partial(decode, picture.data, formats=FILE_FORMATS))
        except ImageError as error:
            return str(error)
        quality = await asyncio.to_thread(quality_of, frame)
        return fault_of(quality, [*self._qualities.values()]) or await self._keep(frame, quality)

    async def _keep(self, frame: BGRImage, quality: Quality) -> str | None:
        """Keep one picture and look at what it brings.

        Returns:
            why it was not taken, one sentence.

        Raises:
            OSError: it cannot be written.
            CannotNow: it is not being shown parts any more.
        """
        async with self._turn:
            self._require_showing()
            number = self.album.number()
            try:
                stored = await asyncio.to_thread(self._files.store, number, frame, self.album.room)
            except TooMuch:
                return self.album.why_no_room
            return await self._count(number, stored, quality)

    async def _count(
        self, number: int, stored: Stored, quality: Quality, *, always: bool = False, is_known: bool | None = None
    ) -> str | None:
        """Put a stored picture into the album, if it is not one of a part that is there already.

        Args:
            always: whether it is put there all the same.
            is_known: to be good, however unlike the others it looks; None where nobody said so.
        """
        try:
            answer = await self._ask(Show(number, str(stored.path)))
        except LearnerGone as error:
            answer = Refused(str(error))
        is_copy = isinstance(answer, IsCopy)
        if not isinstance(answer, Shown) and not (is_copy and always):
            await asyncio.to_thread(files.discard, stored.path)
            return SAME_PART if is_copy else _why(answer)
        seen = Seen(copy=is_copy)
        self.album.put(Kept(number, now(), stored.path, stored.size, stored.thumbnail, seen, is_known))
        self._learn_of(answer)
        self._qualities[number] = quality
        self._shows_again()
        self.touch()
        return None

    async def decide(self, number: int, keep: bool) -> None:
        """A person says whether a picture is learned from; that stays.

        Raises:
            NotThere: there is no such picture.
            CannotNow: it is not being shown parts.
        """
        self._get(number)
        async with self._turn:
            kept = self._get(number)
            counted = kept.decision is not False and not kept.seen.copy
            self.album.decide(number, keep)
            self._shows_again()
            if kept.seen.copy or counted == keep:
                return
            await self._tell(Show(number, str(kept.path), always=True) if keep else LeaveOut(number))

    async def remove(self, number: int) -> None:
        """A picture is not wanted; otherwise as :meth:`decide`."""
        self._get(number)
        async with self._turn:
            kept = self._get(number)
            self.album.remove(number)
            self._qualities.pop(number, None)
            self._shows_again()
            await asyncio.to_thread(files.discard, kept.path)
            if kept.decision is not False and not kept.seen.copy:
                await self._tell(LeaveOut(number))

    def _get(self, number: int) -> Kept:
        self._require_showing()
        if (kept := self.album.get(number)) is None:
            raise NotThere("there is no such picture, or not any more")
        return kept

    async def _show_earlier(self, earlier: list[Path], *, again: bool = False) -> None:
        """Show what the model was taught on; pictures of parts that are there already, too, unless ``again``."""
        lost = 0
        for path in earlier:
            async with self._turn:
                if self._ended:
                    return
                number = self.album.number()
                try:
                    stored, frame = await asyncio.to_thread(self._files.take_over, number, path, self.album.room)
                    quality = await asyncio.to_thread(quality_of, frame)
                    # The tenth that looks least like the others is not struck out with each round.
                    refused = await self._count(number, stored, quality, always=not again, is_known=True)
                    lost += refused not in (None, SAME_PART)
                except (ImageError, OSError, TooMuch) as error:
                    log.warning("a picture of the recipe is not there any more teaching=%s reason=%s", self.id, error)
                    lost += 1
        if lost:
            self._report = [
                f"not there any more: {lost} of {counted(len(earlier), 'picture')} that it was taught on before"
            ]

    # Learning.

    def done(self) -> None:
        """Learn from what was shown, in the background.

        Raises:
            CannotNow: it is not being shown parts.
            CannotBe: too few were shown.
        """
        self._require_showing()
        if not self.album.can_finish:
            raise CannotBe(f"show at least {FEWEST} different good parts first, 30 or more are better")
        self.state, self.error, self.progress = "learning", None, 0.0
        if self.showing.is_pressed and not self.showing.in_work:
            self.showing.give_up("it is learning already")
        self._tell_changed()
        self._begun = self._clock()
        self._spawn(self._learn())

    async def rehearse(self) -> None:
        """Have it learned ahead, if it is likely that nothing more is shown; to be called now and then."""
        paths = [str(kept.path) for kept in self.album.to_learn]
        is_quiet = self._clock() - self._changed_at >= PAUSE_S and not self._turn.locked() and self._is_all_shown
        if self.state != "showing" or self._ended or len(paths) < REHEARSED or paths == self._rehearsed or not is_quiet:
            return
        async with self._turn:
            self._rehearsed = paths
            await self._tell(Rehearse(paths, self.wanted.name))

    @property
    def _is_all_shown(self) -> bool:
        """Whether nothing is left of what the model was taught on before."""
        return self._earlier is None or self._earlier.done()

    async def _learn(self) -> None:
        if self._earlier is not None:
            await asyncio.wait([self._earlier])  # a model of some of these would forget the others
        async with self._turn:
            try:
                await self._learn_and_use()
            except TaughtMeanwhile as error:
                self._fail(str(error))
                self._earlier = self._spawn(self._catch_up())
            except (RecipeError, NoRecipe, NotStored, DetectorError, LearnerGone, CannotBe, CannotNow) as error:
                self._fail(str(error))
            except OSError as error:
                self._fail(cannot_write(error))
            except Exception:
                log.exception("teaching failed teaching=%s", self.id)
                self._fail("it failed; the server's log says why")
            else:
                self._let_stream_go()
                self.seconds = self._clock() - self._begun
                await self._let_go()
                self.state, self.progress = "done", 1.0
                self.touch()
            finally:
                self._putting_in_force = False
        self._tell_changed()

    async def _catch_up(self) -> None:
        """Its recipe has another model by now: show what that was taught on as well."""
        try:
            earlier = await self._shelf.pictures_of(str(self.wanted.more_of))
        except (RecipeError, NoRecipe, NotStored, DetectorError) as error:
            self._report = [str(error)]
            return
        await self._show_earlier(earlier.pictures, again=True)
        self._of = earlier.taught

    async def _learn_and_use(self) -> None:
        used = self.album.to_learn
        paths = [kept.path for kept in used]
        await self._shelf.require_room(sum(kept.size for kept in used))
        await asyncio.to_thread(self._files.forget_model)
        model = self._files.model
        answer = await self._ask(Learn([str(path) for path in paths], str(model), self.wanted.name))
        if isinstance(answer, Refused):
            raise CannotBe(answer.why)
        if isinstance(answer, Learned) and answer.registration:
            self._report = [f"registration: {answer.registration}"]
        self._left_out = len(self.album.undecided)
        pictures = await asyncio.to_thread(self._files.to_hand_over, paths)
        self._require_not_ended()
        wanted = self.wanted
        where = f"of {wanted.stream}" if wanted.stream else "that were uploaded"
        self._putting_in_force = True  # until it is done: a cancel that came late would be told that nothing is left
        more_of = wanted.more_of
        add = self._shelf.add_taught if more_of is None else partial(self._shelf.taught_more, of=self._of)
        self.recipe, self.threshold = await add(
            more_of or wanted.name,
            model,
            pictures,
            stream=wanted.stream,
            who=wanted.who,
            why="",
            on=f"{counted(len(paths), 'picture')} {where}",
        )

    def _fail(self, why: str) -> None:
        if not self._ended:
            log.warning("teaching failed teaching=%s reason=%s", self.id, why)
        self.state, self.error = "failed", why

    def _shows_again(self) -> None:
        """What will be learned from changed, also since it failed."""
        self._changed_at = self._clock()
        if self.state == "failed":
            self.state, self.error = "showing", None

    # The process that learns.

    async def _ask(self, request: Request) -> Answer:
        """Ask the process that learns, which is started where there is none, and shown what it would have seen.

        Raises:
            LearnerGone: it cannot be started, or ended; it is started again next time.
        """
        try:
            if self._learner is None:
                self._learner = self._make_learner(self._heard)
                for kept in self.album.to_cover:
                    self._learn_of(await self._learner.ask(Show(kept.number, str(kept.path), always=True)))
            return await self._learner.ask(request)
        except LearnerGone:
            if self._learner is not None:
                await self._learner.close()
            self._learner = None
            raise

    async def _tell(self, request: Request) -> None:
        """Let it know; where it is gone, it will be told when it is started again."""
        try:
            self._learn_of(await self._ask(request))
        except LearnerGone as error:
            log.warning("teaching=%s %s", self.id, error)

    def _learn_of(self, answer: Answer) -> None:
        if isinstance(answer, Shown):
            self.album.learn_of(answer.pictures, answer.coverage)

    def _heard(self, said: Progress | Region) -> None:
        if isinstance(said, Progress):
            self.progress = said.fraction
        else:
            self.region = said.box

    # The end.

    async def end(self) -> None:
        """Nothing is left of it; a recipe that was made stays. Harmless when said twice.

        Raises:
            CannotNow: its recipe is being put in force this moment.
        """
        if self._putting_in_force:
            raise CannotNow("it is put in force this very moment: look again in a second")
        self._ended = True
        if self._learner is not None:
            await self._learner.close()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with self._turn:
            await self._let_go()
        self._tell_changed()

    async def finish_putting_in_force(self) -> None:
        """Wait for what must not be cut in two; for a shutdown."""
        while self._putting_in_force:
            self._changed.clear()
            await self._changed.wait()

    def _let_stream_go(self) -> None:
        watched, self._watched, self.latest = self._watched, None, None
        if watched is not None:
            watched.unwatch()

    async def _let_go(self) -> None:
        self._let_stream_go()
        learner, self._learner = self._learner, None
        if learner is not None:
            await learner.close()
        await asyncio.to_thread(self._files.remove)

    def _require_not_ended(self) -> None:
        if self._ended:
            raise CannotNow("this teaching was ended")

    def _require_showing(self) -> None:
        self._require_not_ended()
        if self.state == "learning":
            raise CannotNow("it is learning: wait until it is done, or cancel")
        if self.state == "done":
            raise CannotNow("it is done: teach more onto its recipe instead")

    def _tell_changed(self) -> None:
        self._changed.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def cannot_write(error: OSError) -> str:
    """What is said where pictures or models cannot be written."""
    return f"the data directory cannot be written ({error.strerror}): make room, then go on; nothing was changed"


def _why(answer: Answer) -> str:
    return answer.why if isinstance(answer, Refused) else "it could not be looked at"


def _shown(name: str) -> str:
    """The name of somebody's file, as it may stand in a sentence."""
    return "".join(sign for sign in name if sign.isprintable())[:60] or "a picture"
