"""Teaching from the first picture to a recipe, or to nothing."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.images import BGRImage, encode_png, read
from server.recipes import RecipeError
from server.teaching import (
    CannotBe,
    CannotNow,
    NoRecipe,
    NotThere,
    Packed,
    Taken,
    Teaching,
    Teachings,
    TooMany,
    Wanted,
    album,
    files,
    words,
)
from server.teaching.showing import SAME_PART
from server.teaching.teaching import PAUSE_S
from server.teaching.teachings import IDLE_S
from server.teaching.words import Progress, Region
from tests.detector.parts import draw_part
from tests.server.fakes import until
from tests.server.teaching.fakes import BLACK, FakeLearner, FakeLibrary, FakeStream, blurred, part, picture

WANTED = Wanted(name="bracket", stream="line", more_of=None, auto=True, preset="fast", who="a test")


class Room:
    """A server's teachings, with all that is around them made up."""

    def __init__(self, folder: Path) -> None:
        self.data, self.now = folder / "data", 0.0
        self.stream = FakeStream()
        self.streams: dict[str, FakeStream] = {"line": self.stream}
        self.library = FakeLibrary(folder)
        self.learners: list[FakeLearner] = []
        self.teachings = Teachings(
            self.data, self.library, self.streams.get, make_learner=self._learner, clock=lambda: self.now
        )

    def _learner(self, wanted: words.Wanted, heard: Callable[[Progress | Region], None]) -> FakeLearner:
        self.learners.append(FakeLearner(wanted, heard))
        return self.learners[-1]

    async def begin(self, **changed: Any) -> Teaching:
        values = {name: getattr(WANTED, name) for name in Wanted.__dataclass_fields__}
        return await self.teachings.begin(Wanted(**(values | changed)))

    async def pass_by(self, teaching: Teaching, frame: BGRImage) -> Taken:
        """A part comes, and lies still."""
        for one in (part(999), *[frame] * 6):
            self.now += 0.1
            await self.stream.show(one)
        await until(lambda: not teaching.showing.in_work)
        assert teaching.showing.last is not None
        return teaching.showing.last

    def files(self) -> list[Path]:
        return [path for path in self.data.rglob("*") if path.is_file()]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    yield room
    await room.teachings.close()


async def nobody_left() -> bool:
    return False


def packed(*numbers: int) -> list[Packed]:
    return [Packed(f"{number}.png", picture(number)) for number in numbers]


async def shown(room: Room, *numbers: int, **changed: Any) -> Teaching:
    """A teaching without a stream that was shown these parts."""
    teaching = await room.begin(stream=None, **changed)
    await teaching.upload(packed(*numbers), nobody_left)
    return teaching


async def learned(teaching: Teaching) -> str:
    """The state after Done."""
    teaching.done()
    await until(lambda: teaching.state != "learning")
    return teaching.state


async def test_parts_that_pass_become_a_recipe_and_nothing_else_is_left(room: Room) -> None:
    teaching = await room.begin()
    for number in range(6):
        assert await room.pass_by(teaching, part(number)) == Taken(True)
    assert len(teaching.album) == 6 and teaching.album.can_finish and teaching.region == (0.1, 0.2, 0.9, 0.8)
    kept = [read(path) for path in sorted(room.files())]
    assert all(np.array_equal(frame, part(number)) for number, frame in enumerate(kept)), "without loss"
    await learned(teaching)
    assert (teaching.state, teaching.recipe, teaching.seconds) == ("done", "recipe-1", 0.0)
    assert room.library.made["recipe-1"] == {
        "name": "bracket", "stream": "line", "who": "a test", "on": "6 pictures of line",
    }  # fmt: skip
    assert len(room.library.pictures("recipe-1")) == 6
    assert not room.files() and room.stream.watcher is None and room.learners[0].is_closed
    with pytest.raises(CannotNow, match="it is done"):
        teaching.done()


async def test_frames_nobody_should_learn_from_are_refused_with_the_reason(room: Room) -> None:
    teaching = await room.begin()
    for number in range(3):
        await room.pass_by(teaching, part(number))
    for frame in (BLACK, np.full_like(BLACK, 255), blurred(4)):
        last = await room.pass_by(teaching, frame)
        assert not last.taken and len(last.why) > 10
    assert await room.pass_by(teaching, part(1)) == Taken(False, SAME_PART)
    assert len(teaching.album) == 3 and len(room.files()) == 3


async def test_a_part_that_stays_counts_once(room: Room) -> None:
    teaching = await room.begin()
    for _ in range(5):
        await room.pass_by(teaching, part(1))
    assert len(teaching.album) == 1


async def test_by_a_press_the_next_frame_is_taken_and_the_answer_waits_for_it(room: Room) -> None:
    teaching = await room.begin(auto=False)
    await room.stream.show(part(1), 6)
    assert not len(teaching.album)
    pressed = asyncio.create_task(teaching.take())
    await until(lambda: teaching.showing.is_pressed)
    room.now += 1.0  # a second without another frame: nothing tells whether it moves
    await room.stream.show(part(1))
    await pressed
    assert teaching.showing.last == Taken(True) and len(teaching.album) == 1
    pressed = asyncio.create_task(teaching.take())
    await until(lambda: teaching.showing.is_pressed)
    room.now += 1.0  # a second without another frame: nothing tells whether it moves
    await room.stream.show(part(1))
    await pressed
    assert teaching.showing.last == Taken(False, SAME_PART)


async def test_a_press_that_no_frame_comes_for_says_so(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.teaching.teaching.PRESS_S", 0.01)
    teaching = await room.begin()
    await teaching.take()
    assert teaching.showing.last is not None and "no frame of line came" in teaching.showing.last.why
    uploads = await room.begin(stream=None)
    with pytest.raises(CannotBe, match="has no stream"):
        await uploads.take()


async def test_outliers_are_left_out_until_a_person_keeps_them_and_that_stays(room: Room) -> None:
    teaching = await shown(room, 1, 2)
    odd = Packed("odd.png", encode_png(draw_part(5, defect=True)))
    await teaching.upload([odd, *packed(3)], nobody_left)
    assert [kept.used for kept in teaching.album.pictures] == [True, True, False, True]
    await teaching.decide(3, True)
    await teaching.decide(1, False)
    await teaching.upload(packed(4), nobody_left)
    assert [kept.used for kept in teaching.album.pictures] == [False, True, True, True, True]
    assert set(room.learners[0].shown) == {2, 3, 4, 5}, "what a person left out does not count"
    await teaching.decide(1, True)
    assert set(room.learners[0].shown) == {1, 2, 3, 4, 5}


async def test_a_picture_can_be_removed_and_its_number_is_not_given_again(room: Room) -> None:
    teaching = await shown(room, 1, 2, 3)
    await teaching.remove(3)
    await teaching.upload(packed(4), nobody_left)
    assert [kept.number for kept in teaching.album.pictures] == [1, 2, 4]
    assert len(room.files()) == 3 and set(room.learners[0].shown) == {1, 2, 4}
    with pytest.raises(NotThere):
        await teaching.remove(3)


async def test_an_upload_says_what_was_not_taken_and_why(room: Room) -> None:
    teaching = await shown(room, 1, 2, 2, 2)
    assert teaching.notes == ["2 pictures show parts that were shown already, lying still: they count once"]
    many = [Packed(f"bad\n{n}.png", b"no picture") for n in range(7)]
    await teaching.upload([*many, Packed("black.png", encode_png(BLACK))], nobody_left)
    assert len(teaching.notes) == 6 and teaching.notes[0].startswith("bad0.png: not a JPEG")
    assert teaching.notes[-1] == "and 3 more pictures were not taken"


async def test_an_upload_stops_where_nobody_waits_for_it(room: Room) -> None:
    teaching = await room.begin(stream=None)
    asked = iter([False, False, True])

    async def gone() -> bool:
        return next(asked)

    await teaching.upload(packed(1, 2, 3, 4), gone)
    assert len(teaching.album) == 2
    assert teaching.notes == [
        "the upload broke off after 2 of 4 pictures: bring the same again, what was taken is known"
    ]
    await teaching.upload(packed(1, 2, 3, 4), nobody_left)
    assert len(teaching.album) == 4
    assert teaching.notes == ["2 pictures show parts that were shown already, lying still: they count once"]


async def test_too_few_parts_cannot_be_learned_from(room: Room) -> None:
    teaching = await shown(room, 1, 2, 3, 4)
    with pytest.raises(CannotBe, match="at least 5 different"):
        teaching.done()
    assert teaching.state == "showing"


async def test_pictures_are_bounded(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "MOST_PICTURES", 2)
    teaching = await shown(room, 1, 2, 3)
    assert len(teaching.album) == 2 and "more are not taken" in teaching.notes[0]
    monkeypatch.setattr(album, "MOST_PICTURES", 300)
    monkeypatch.setattr(album, "MOST_BYTES", teaching.album.size + 10)
    await teaching.upload(packed(3), nobody_left)
    assert len(teaching.album) == 2 and "MB already, more are not taken" in teaching.notes[0]
    assert len(room.files()) == 2


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_is_said_and_what_was_taken_stays(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    teaching = await room.begin()
    await room.pass_by(teaching, part(1))
    monkeypatch.setattr(files, "write_atomically", full_disk)
    last = await room.pass_by(teaching, part(2))
    assert not last.taken and "No space left on device" in last.why
    with pytest.raises(OSError, match="No space"):
        await teaching.upload(packed(3), nobody_left)
    monkeypatch.undo()
    assert (await room.pass_by(teaching, part(2))).taken and len(room.files()) == 2


async def test_what_goes_wrong_while_learning_is_said_and_more_can_be_shown(room: Room) -> None:
    teaching = await shown(room, 1, 2, 3, 4, 5)
    room.learners[0].fails = "the normal images show one part lying still"
    assert await learned(teaching) == "failed" and teaching.error == "the normal images show one part lying still"
    room.learners[0].fails = None
    await teaching.upload(packed(6), nobody_left)
    assert teaching.error is None
    room.library.fails = OSError(errno.ENOSPC, "No space left on device")
    assert await learned(teaching) == "failed" and "No space left" in str(teaching.error)
    room.library.fails = RecipeError("there are 200 recipes already")
    assert await learned(teaching) == "failed" and teaching.error == "there are 200 recipes already"
    room.library.fails = None
    assert await learned(teaching) == "done" and len(room.library.pictures("recipe-1")) == 6


async def test_a_process_that_died_is_started_again_and_shown_what_it_had_seen(room: Room) -> None:
    teaching = await shown(room, 1, 2, 3, 4, 5)
    room.learners[0].is_gone = True
    assert await learned(teaching) == "failed" and "signal 9" in str(teaching.error)
    assert (
        await learned(teaching) == "done" and len(room.learners) == 2 and set(room.learners[1].shown) == {1, 2, 3, 4, 5}
    )


@pytest.mark.parametrize("state", ["showing", "learning"])
async def test_cancelling_leaves_nothing(room: Room, state: str) -> None:
    teaching = await room.begin()
    for number in range(5):
        await room.pass_by(teaching, part(number))
    if state == "learning":
        room.learners[0].gate.clear()
        teaching.done()
        await until(lambda: teaching.progress == 0.5)
        with pytest.raises(CannotNow, match="it is learning"):
            await teaching.remove(1)
    await room.teachings.end(teaching.id)
    assert not [*room.data.rglob("*")] and not room.library.made
    assert room.stream.watcher is None and room.learners[0].is_closed and not room.teachings.all
    with pytest.raises(CannotNow, match="ended"):
        await teaching.upload(packed(9), nobody_left)


async def test_what_is_in_force_cannot_be_cancelled(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in the moments until its teaching is done: it would be said that nothing is left."""
    teaching = await shown(room, 1, 2, 3, 4, 5)
    closing, may_close = asyncio.Event(), asyncio.Event()

    async def close() -> None:
        closing.set()
        await may_close.wait()

    monkeypatch.setattr(room.learners[0], "close", close)
    teaching.done()
    await closing.wait()
    assert room.library.made and teaching.state == "learning"
    with pytest.raises(CannotNow, match="this very moment"):
        await room.teachings.end(teaching.id)
    may_close.set()
    await until(lambda: teaching.state == "done")
    assert teaching.recipe == "recipe-1" and not room.files()
    await room.teachings.end(teaching.id)


async def test_what_a_crash_left_is_removed_at_the_start(tmp_path: Path) -> None:
    left = tmp_path / "data" / "teaching" / "abc" / "pictures"
    left.mkdir(parents=True)
    (left / "0001.png").write_bytes(picture(1))
    await Room(tmp_path).teachings.open()
    assert not (tmp_path / "data" / "teaching").exists()


async def test_a_camera_that_goes_away_is_waited_for(room: Room) -> None:
    teaching = await room.begin()
    await room.pass_by(teaching, part(1))
    room.stream.end("the camera of line went away")
    del room.streams["line"]
    await room.teachings.tick()
    assert teaching.notes == ["the camera of line went away: start it again, the pictures are still here"]
    room.stream = room.streams["line"] = FakeStream()
    await room.teachings.tick()
    assert not teaching.notes and (await room.pass_by(teaching, part(2))).taken


async def test_a_teaching_nobody_cares_for_ends_by_itself(room: Room) -> None:
    teaching = await room.begin()
    await room.pass_by(teaching, part(1))
    room.now += IDLE_S - 1
    await room.teachings.tick()
    room.teachings.get(teaching.id)
    room.now += IDLE_S - 1
    await room.teachings.tick()
    assert room.teachings.all == [teaching]
    room.now += 2
    await room.teachings.tick()
    assert not room.teachings.all and not room.files() and room.stream.watcher is None


async def test_two_are_taught_at_once_and_one_on_a_stream(room: Room) -> None:
    await room.begin()
    with pytest.raises(CannotNow, match="taught already"):
        await room.begin()
    with pytest.raises(NotThere, match="no stream nowhere"):
        await room.begin(stream="nowhere")
    other = await room.begin(stream=None)
    with pytest.raises(TooMany):
        await room.begin(stream=None)
    await room.teachings.end(other.id)
    await room.begin(stream=None)


async def test_more_is_taught_on_what_was_taught_before_and_the_new_together(room: Room) -> None:
    first = await shown(room, 1, 2, 3, 4, 5)
    await learned(first)
    more = await room.begin(name="bracket", more_of="recipe-1")
    await until(lambda: len(more.album) == 5)
    assert await room.pass_by(more, part(2)) == Taken(False, SAME_PART)
    assert await room.pass_by(more, part(6)) == Taken(True)
    with pytest.raises(CannotBe, match="keeps its name"):
        more.change(name="another")
    await learned(more)
    assert more.state == "done" and len(room.learners[1].learned) == 6
    assert len(room.library.pictures(str(more.recipe))) == 6
    with pytest.raises(NoRecipe):
        await room.begin(more_of="recipe-9", stream=None)
    room.library.made["imported"] = room.library.made["recipe-1"]
    with pytest.raises(RecipeError, match="not kept here"):
        await room.begin(more_of="imported", stream=None)


async def test_what_was_kept_before_is_not_struck_out_when_more_is_taught(room: Room) -> None:
    """The tenth that looks least like the others was, with each round: the rare good parts first."""
    first = await room.begin(stream=None)
    await first.upload(packed(1, 2, 3, 4, 5), nobody_left)
    await first.upload([Packed("rare.png", encode_png(draw_part(6, defect=True)))], nobody_left)
    (rare,) = first.album.undecided
    await first.decide(rare.number, True)
    await learned(first)
    more = await room.begin(stream=None, more_of="recipe-1")
    await until(lambda: len(more.album) == 6)
    assert more.album.undecided == []
    await learned(more)
    assert len(room.learners[1].learned) == 6


async def test_done_that_is_pressed_early_learns_from_all_that_was_taught_before(room: Room) -> None:
    """A model of some of them would forget the others, and be in force."""
    await learned(await shown(room, *range(20)))
    more = await room.begin(stream=None, more_of="recipe-1")
    await until(lambda: more.album.can_finish)
    assert len(more.album) < 20
    await learned(more)
    assert more.state == "done" and len(room.learners[1].learned) == 20


async def test_a_recipe_is_taught_more_in_one_place(room: Room) -> None:
    await learned(await shown(room, 1, 2, 3, 4, 5))
    await room.begin(more_of="recipe-1", stream=None)
    with pytest.raises(CannotNow, match="bracket is taught more already"):
        await room.begin(more_of="recipe-1")


async def test_those_that_are_only_about_to_begin_count(room: Room) -> None:
    """Pictures of a model that another gateway taught are fetched first."""
    for _ in range(3):
        await learned(await shown(room, 1, 2, 3, 4, 5))
    room.library.fetched.clear()
    begun = [asyncio.create_task(room.begin(more_of=f"recipe-{number}", stream=None)) for number in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany):
        await room.begin(more_of="recipe-3", stream=None)
    with pytest.raises(CannotNow, match="taught more already"):
        await room.begin(more_of="recipe-1")
    room.library.fetched.set()
    assert all(one.is_open for one in await asyncio.gather(*begun))


async def test_what_somebody_else_taught_meanwhile_is_not_lost(room: Room) -> None:
    await learned(await shown(room, 1, 2, 3, 4, 5))
    await learned(await shown(room, 1, 2, 3, 4, 5, 6, 7))
    more = await shown(room, 8, more_of="recipe-1")
    room.library.newest["recipe-1"] = "recipe-2"
    await until(lambda: len(more.album) == 6)
    assert await learned(more) == "failed" and "another model meanwhile" in str(more.error)
    await until(lambda: len(more.album) == 8)
    assert await learned(more) == "done" and len(room.learners[-1].learned) == 8


async def test_stopping_the_server_leaves_nothing(room: Room) -> None:
    await shown(room, 1, 2)
    await room.teachings.close()
    assert not [*room.data.rglob("*")] and room.learners[0].is_closed


async def test_in_a_pause_it_is_learned_ahead_once(room: Room) -> None:
    teaching = await shown(room, *range(9))
    room.now += PAUSE_S
    await room.teachings.tick()
    assert not room.learners[0].rehearsed, "too few"
    await teaching.upload(packed(9), nobody_left)
    await room.teachings.tick()
    assert not room.learners[0].rehearsed, "perhaps more is shown"
    room.now += PAUSE_S
    await room.teachings.tick()
    await room.teachings.tick()
    await teaching.decide(1, False)
    await teaching.upload(packed(10), nobody_left)
    room.now += PAUSE_S
    await room.teachings.tick()
    assert [len(paths) for paths in room.learners[0].rehearsed] == [10, 10]
    await learned(teaching)
    assert room.learners[0].learned == room.learners[0].rehearsed[-1]
