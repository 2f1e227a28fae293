"""A stream, a library and a process that learns, as teaching meets them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from detector.images import BGRImage, encode_png, read
from server.recipes import RecipeError
from server.teaching import NoRecipe, NotStored, words
from server.teaching.learner import LearnerGone
from server.teaching.others import Earlier, TaughtMeanwhile, Watcher
from server.teaching.words import Answer, Progress, Region, Request
from tests.detector.parts import draw_part

BLACK = np.zeros((96, 128, 3), np.uint8)


def part(number: int) -> BGRImage:
    """A good part, unlike the others; H×W×3 uint8 BGR."""
    frame = draw_part(number, width=128, height=96)
    cells = np.random.default_rng(number).integers(90, 220, (6, 6), np.uint8)
    frame[24:72, 40:88] = np.kron(cells, np.ones((8, 8), np.uint8))[..., None]
    return frame


def blurred(number: int) -> BGRImage:
    return np.asarray(cv2.GaussianBlur(part(number), (0, 0), 8), np.uint8)


def picture(number: int) -> bytes:
    return encode_png(part(number))


class FakeStream:
    """A stream of a camera: what it shows goes to the one who watches."""

    def __init__(self) -> None:
        self.watcher: Watcher | None = None

    def watch(self, watcher: Watcher) -> None:
        assert self.watcher is None
        self.watcher = watcher

    def unwatch(self) -> None:
        self.watcher = None

    async def show(self, frame: BGRImage, times: int = 1) -> None:
        for _ in range(times):
            assert self.watcher is not None
            self.watcher.seen(await asyncio.to_thread(self.watcher.look, frame))

    def end(self, why: str) -> None:
        watcher, self.watcher = self.watcher, None
        assert watcher is not None
        watcher.gone(why)


class FakeLibrary:
    """Keeps models and pictures in a folder.

    Attributes:
        made: what it was given, by recipe.
        fails: raised instead.
        full: raised where room is asked for.
        newest: the model of a recipe that has another one than it was made with.
        fetched: pictures of earlier models are waited for while it is not set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.full: NotStored | None = None
        self.made: dict[str, dict[str, object]] = {}
        self.fails: Exception | None = None
        self.newest: dict[str, str] = {}
        self.fetched = asyncio.Event()
        self.fetched.set()

    async def add_taught(
        self, name: str, folder: Path, pictures: Path, *, stream: str | None, who: str, why: str, on: str
    ) -> tuple[str, str]:
        if self.fails is not None:
            raise self.fails
        recipe = f"recipe-{len(self.made) + 1}"
        self.made[recipe] = {"name": name, "stream": stream, "who": who, "on": on}
        place = self.folder / recipe
        await asyncio.to_thread(shutil.copytree, pictures, place / "pictures")
        await asyncio.to_thread(shutil.move, folder, place / "model")
        return recipe, "about 1 in 30 good parts is rejected"

    async def taught_more(
        self, recipe: str, folder: Path, pictures: Path, *, of: str, stream: str | None, who: str, why: str, on: str
    ) -> tuple[str, str]:
        if of != self.newest.get(recipe, recipe):
            raise TaughtMeanwhile("bracket was given another model meanwhile: press Done again")
        return await self.add_taught(self.name_of(recipe), folder, pictures, stream=stream, who=who, why=why, on=on)

    async def require_room(self, more: int = 0) -> None:
        if self.full is not None:
            raise self.full

    def name_of(self, recipe: str) -> str:
        if recipe not in self.made:
            raise NoRecipe("there is no such recipe")
        return str(self.made[recipe]["name"])

    async def pictures_of(self, recipe: str) -> Earlier:
        self.name_of(recipe)
        await self.fetched.wait()
        taught = self.newest.get(recipe, recipe)
        if not (pictures := self.pictures(taught)):
            raise RecipeError("the pictures that it was taught on are not kept here")
        return Earlier(taught, pictures)

    async def picture_of(self, recipe: str) -> Path | None:
        self.name_of(recipe)
        return next(iter(self.pictures(recipe)), None)

    def pictures(self, taught: str) -> list[Path]:
        """What a model was taught on."""
        folder = self.folder / taught / "pictures"
        return sorted(folder.iterdir()) if folder.is_dir() else []


class FakeLearner:
    """Looks at pictures, and writes a file where a model should be.

    Attributes:
        shown: what it was shown and was not left out since.
        learned: the paths it was asked to learn from; ``rehearsed``: and ahead, each time.
        gate: learning waits while it is not set.
        fails: why learning does not succeed.
        is_gone: whether it does not answer any more.
    """

    def __init__(self, wanted: words.Wanted, heard: Callable[[Progress | Region], None]) -> None:
        self.wanted, self.heard = wanted, heard
        self.shown: dict[int, BGRImage] = {}
        self.learned: list[str] = []
        self.rehearsed: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails: str | None = None
        self.is_gone = self.is_closed = False

    async def ask(self, request: Request) -> Answer:
        if self.is_gone or self.is_closed:
            raise LearnerGone("the process that learns was ended (by signal 9)")
        match request:
            case words.Show(number=number, path=path, always=always):
                frame = read(Path(path))
                if not always and any(np.array_equal(frame, other) for other in self.shown.values()):
                    return words.IsCopy()
                self.shown[number] = frame
                self.heard(Region((0.1, 0.2, 0.9, 0.8)))
            case words.LeaveOut(number=number):
                self.shown.pop(number, None)
            case words.Rehearse(paths=paths):
                self.rehearsed.append(paths)
            case words.Learn(paths=paths, folder=folder):
                self.heard(Progress(0.5))
                await self.gate.wait()
                if self.is_closed:
                    raise LearnerGone("the teaching was ended")
                if self.fails is not None:
                    return words.Refused(self.fails)
                self.learned = paths
                await asyncio.to_thread(_write_model, Path(folder), [Path(path) for path in paths])
                return words.Learned()
        seen = {number: self._seen(frame) for number, frame in self.shown.items()}
        return words.Shown(seen, words.Coverage(len(seen), len(seen), len(seen), False, "show more"))

    def _seen(self, frame: BGRImage) -> words.Seen:
        outlier = bool((frame[..., 2] > 240).sum() > 100)  # the defect that parts.py draws
        why, place = ("it looks unlike the others", (0.4, 0.3, 0.6, 0.5)) if outlier else (None, None)
        return words.Seen(True, False, outlier, why, place)

    async def close(self) -> None:
        self.is_closed = True
        self.gate.set()


def _write_model(folder: Path, pictures: list[Path]) -> None:
    assert all(path.is_file() for path in pictures)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
