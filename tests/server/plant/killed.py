"""A gateway that is killed at each step of a change: the next start, and the other gateway, find the old or the new.

    python -m tests.server.plant.killed FOLDER DATABASE_URL [CHANGE…] [--every]

For each change, and each of its steps, a process begins the change and kills itself (SIGKILL) at that step; another one
starts the other gateway of the plant, and that one anew, and looks at what is there. A step is an object's getting its
name in the mounted store, and what is stored in the plant's database, before it is asked and after it answered; with
``--every`` each call that changes a file or folder here or there, too. One line of JSON says what came of each.

All processes are forked of one that loaded the libraries and began no thread: so a step takes a second. A model that is
brought is not tried out in a process of its own, which takes as long and comes before the first step.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import cv2

import detector
from benchmarks.kills import frame_of
from server import plant_commands
from server.ground import DatabaseAddress
from server.inspection import Calibrations, Inspection
from server.plant import Plant, StoreAddress, object_store
from server.recipes import Kind, ModelVersion, Recipe, SharedModels, shared_models
from server.streams import Hub, InferencePool, Streams
from server.teaching import Correcting, Library, recipe_file
from tests.detector.parts import draw_part, draw_parts

RENAMED = frozenset({"os.rename"})
EVERY = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "open"})
MODELS = 6
PICTURE = draw_part(99)


class Killer:
    """Kills this process at one of the steps of what it does from now on, and says first which that is.

    Args:
        step: from 0 on.
        of: audit events that are steps, below ``folder``.
    """

    def __init__(self, step: int, of: frozenset[str], folder: Path, say: Callable[[object], None]) -> None:
        self._left, self._of, self._folder, self._say = step, of, str(folder), say
        self._lock = threading.Lock()
        ask = Plant._ask_again

        def asked(plant: Plant, *work: Any) -> Any:
            is_step = sys._getframe(1).f_code.co_name in ("store_if", "make")
            if is_step:
                self._came("before the database is asked")
            answer = ask(plant, *work)
            if is_step:
                self._came("after the database answered")
            return answer

        Plant._ask_again = asked  # type: ignore[method-assign]
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in self._of:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        place = arguments[1] if event == "os.rename" else arguments[0]
        if isinstance(place, str | bytes | os.PathLike) and os.fsdecode(place).startswith(self._folder):
            self._came(f"{event} {os.fsdecode(place).removeprefix(self._folder)}")

    def _came(self, name: str) -> None:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                self._say(name)
                os.kill(os.getpid(), signal.SIGKILL)


class Gateway:
    """One of the plant, without its sockets."""

    def __init__(self, folder: Path, name: str, store: StoreAddress, address: DatabaseAddress) -> None:
        data = folder / name
        plant = Plant.of(address, store, data, name)
        assert plant is not None
        self.plant, self.data = plant, data
        self.inspection = Inspection(Calibrations(data, plant))
        streams = Streams(InferencePool(1), Hub(), self.inspection)
        self.library = Library(
            data, self.inspection, streams, runtime="openvino", workers=1, shelf=plant, shared=SharedModels(plant.store)
        )
        self.correcting = Correcting(self.library, self.inspection)
        plant.join()

    async def open(self) -> Gateway:
        await self.library.open(None, None)
        await self.library.bring()
        return self

    def seen(self) -> dict[str, Any]:
        """Of each recipe its version, and a picture's score."""
        return {one.id: [one.version, self._score(one)] for one in self.library.recipes}

    def _score(self, recipe: Recipe) -> float:
        assert (problem := self.library.problem(recipe)) is None, problem
        return self.library.models.of(recipe).detect(PICTURE).score

    def find(self, name: str) -> Recipe:
        return next(one for one in self.library.recipes if one.name.startswith(name))


def models(folder: Path) -> list[Path]:
    return [folder / "taught" / str(number) for number in range(MODELS)]


async def teach(gateway: Gateway, folder: Path) -> Callable[[], Awaitable[Any]]:
    """A model that no recipe has."""
    named = {model.taught for model in gateway.library.book.named()}
    model = next(one for one in models(folder)[1:] if detector.load(one).hash not in named)
    temporary = gateway.library.temporary()
    shutil.copytree(model, temporary / "model")
    shutil.copytree(folder / "pictures", temporary / "pictures")
    discs = gateway.find("discs")
    return lambda: gateway.library.taught_more(
        discs.id,
        temporary / "model",
        temporary / "pictures",
        of=discs.model.taught,
        stream=None,
        who="me",
        why="",
        on="",
    )


async def correct(gateway: Gateway, kind: Kind) -> Callable[[], Awaitable[Any]]:
    recipe = gateway.find("discs")
    frame = frame_of(gateway.inspection, recipe.id, 1000 + recipe.version)
    return lambda: gateway.correcting.correct(
        frame, kind, None, learn=True, dry_run=False, version=recipe.version, who="me", why=""
    )


async def undo(gateway: Gateway, folder: Path) -> Callable[[], Awaitable[Any]]:
    if not gateway.find("discs").model.corrections:
        await (await correct(gateway, "good"))()
    recipe = gateway.find("discs")
    return lambda: gateway.correcting.undo(recipe.id, recipe.model.corrections[-1], recipe.version, who="me")


async def take_in(gateway: Gateway, folder: Path) -> Callable[[], Awaitable[Any]]:
    """A recipe file, with a model and a correction that are not here."""
    if there := [one for one in gateway.library.recipes if one.name.startswith("guest")]:
        await gateway.library.delete(there[0].id, there[0].version)
    data = (folder / "recipe.zip").read_bytes()
    return lambda: recipe_file.unpack(gateway.library, data, who="me", on="recipe.zip")


async def delete(gateway: Gateway, folder: Path) -> Callable[[], Awaitable[Any]]:
    if not any(one.name.startswith("guest") for one in gateway.library.recipes):
        await (await take_in(gateway, folder))()
    recipe = gateway.find("guest")
    return lambda: gateway.library.delete(recipe.id, recipe.version)


CHANGES: dict[str, Callable[[Gateway, Path], Awaitable[Callable[[], Awaitable[Any]]]]] = {
    "teach": teach,
    "forgive": lambda gateway, folder: correct(gateway, "good"),
    "remember": lambda gateway, folder: correct(gateway, "bad"),
    "take back": undo,
    "import": take_in,
    "delete": delete,
}


def forked(work: Callable[[Callable[[object], None]], None]) -> tuple[int, list[Any]]:
    """Do something in a process of its own; its end, as :func:`os.waitstatus_to_exitcode` has it, and what it said."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            work(lambda said: os.write(write, json.dumps(said).encode() + b"\n") and None)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = [json.loads(line) for line in pipe.read().splitlines()]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@dataclasses.dataclass(frozen=True)
class Place:
    """Where all of it lies."""

    folder: Path
    store: StoreAddress
    address: DatabaseAddress
    is_every: bool = False
    """Whether each call that changes a file or folder is a step."""

    async def gateway(self, name: str) -> Gateway:
        return await Gateway(self.folder, name, self.store, self.address).open()

    async def begin(self) -> None:
        """Two gateways, a recipe at both, and what the changes need."""
        for number, model in enumerate(models(self.folder)):
            detector.fit(draw_parts(8 + number), image_size=128, coreset_size=50).save(model)
        (self.folder / "pictures").mkdir()
        cv2.imwrite(str(self.folder / "pictures" / "0.png"), PICTURE)
        one = await self.gateway("one")
        for name, number in (("guest", 0), ("discs", 1)):
            temporary = one.library.temporary()
            shutil.copytree(models(self.folder)[number], temporary / "model")
            shutil.copytree(self.folder / "pictures", temporary / "pictures")
            await one.library.add_taught(
                name, temporary / "model", temporary / "pictures", stream=None, who="me", why="", on=""
            )
        guest = one.find("guest")
        await one.correcting.correct(
            frame_of(one.inspection, guest.id, 1), "good", None, learn=True, dry_run=False, version=1, who="", why=""
        )
        packed = await recipe_file.pack(one.library, one.find("guest"), one.library.temporary())
        shutil.copy(packed, self.folder / "recipe.zip")
        await one.library.choose_default(one.find("discs").id, who="me")
        await one.library.delete(guest.id, 2)
        await self.gateway("two")

    async def change(self, name: str, step: int, say: Callable[[object], None]) -> None:
        """Begin a change, and end at its step."""
        one = await self.gateway("one")
        work = await CHANGES[name](one, self.folder)
        say(one.seen())
        self._kill_at(step, say)
        await work()

    def _kill_at(self, step: int, say: Callable[[object], None]) -> None:
        if self.is_every:
            Killer(step, EVERY, self.folder, say)
        else:
            Killer(step, RENAMED, Path(self.store.place), say)

    async def check(self, before: dict[str, Any]) -> str:
        """Look at what a kill left; whether that is the old or the new.

        Raises:
            AssertionError: it is neither, or something is left that nobody removes.
        """
        two = await self.gateway("two")  # which knows nothing of what the other one still has on its disk
        there = two.seen()
        one = await self.gateway("one")
        assert one.seen() == there, "the gateways see different things"
        for gateway in (one, two):
            book = gateway.library.book
            assert book.warning is None and gateway.library.behind.warning is None
            for recipe in book.recipes:
                assert book.history(recipe.id)[0].after == recipe, "the history says something else than the book"
            assert not [*(gateway.data / "models").rglob("*.tmp")], "left in the data directory"
        changed = [id for id in {*before, *there} if before.get(id) != there.get(id)]
        assert len(changed) <= 1, "more than one recipe changed"
        for id in {*before} & {*there}:
            assert there[id][0] - before[id][0] in (0, 1), "more than one step happened"
            assert (there[id][0] == before[id][0]) == (id not in changed), "a version judges in two ways"
        shared_models.KEPT_S = object_store.UNFINISHED_S = 0.0  # a day later
        for _ in range(2):  # a folder is emptied, and goes with the next one
            one.library._tidy()
        self._require_nothing_left(one)
        return "new" if changed else "old"

    def _require_nothing_left(self, gateway: Gateway) -> None:
        root = Path(self.store.place)
        left = {path.relative_to(root).as_posix() for path in root.rglob("*")}
        files = {name for name in left if (root / name).is_file()}
        book = gateway.library.book
        needed, named = _objects_of(recipe.model for recipe in book.recipes), _objects_of(book.named())
        pictures = {name for name in files if name.endswith("/pictures.zip") and f"{name[:-12]}model.zip" in named}
        assert files >= needed, f"the store lacks {needed - files}"
        assert not (over := files - pictures - named - {"plant", "models/clock"}), f"the store has {over}"
        empty = [name for name in left - files if not any(file.startswith(f"{name}/") for file in files)]
        assert not empty, f"empty folders are left: {empty}"

    # ---- ``plant make`` ---------------------------------------------------------------------------------------------

    async def alone(self) -> None:
        """A data directory of a server that shares nothing."""
        data = self.folder / "alone"
        data.mkdir()
        inspection = Inspection(Calibrations(data))
        library = Library(data, inspection, Streams(InferencePool(1), Hub(), inspection), runtime="openvino", workers=1)
        await library.open(None, None)
        await recipe_file.unpack(library, (self.folder / "recipe.zip").read_bytes(), who="me", on="")

    async def forget(self) -> None:
        """Let there be no plant."""
        import asyncpg

        at = self.address
        connection = await asyncpg.connect(
            host=at.host, port=at.port, database=at.database, user=at.user, password=at.password
        )
        await connection.execute("DROP TABLE IF EXISTS plant, plant_documents, plant_names, plant_gateways")
        await connection.close()
        shutil.rmtree(self.store.place, ignore_errors=True)
        for name in ("old", "new"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.folder / "alone", self.folder / "old")

    def make(self, step: int | None, say: Callable[[object], None]) -> None:
        """``plant make``, to its step, or whole."""
        if step is not None:
            say({})
            self._kill_at(step, say)
        plant_commands.make_of(Plant.of(self.address, self.store, self.folder / "old", "old"), self.folder / "old")

    async def check_made(self) -> str:
        """Do it again, as the operator does; whether there was something left to do."""
        was = "new"
        if not (self.folder / "old" / "plant.json").exists():
            was = "old"
            self.make(None, lambda said: None)
        (recipe,) = (await self.gateway("new")).seen().values()
        (same,) = (await self.gateway("old")).seen().values()
        assert recipe == same
        return was


def _objects_of(models: Iterable[ModelVersion]) -> set[str]:
    found = set()
    for model in models:
        at = f"models/{model.taught}"
        found |= {f"{at}/model.zip", *(f"{at}/corrections/{name}.zip" for name in model.corrections)}
    return found


def sweep(name: str, place: Place) -> None:
    """A change, killed at one step after the other."""
    if name == "make":
        finished(forked(lambda say: asyncio.run(place.alone())))
    for step in range(1 << 30):
        if name == "make":
            finished(forked(lambda say: asyncio.run(place.forget())))
            end, said = forked(lambda say, step=step: place.make(step, say))  # type: ignore[misc]
        else:
            end, said = forked(lambda say, step=step: asyncio.run(place.change(name, step, say)))  # type: ignore[misc]
        assert end in (0, -signal.SIGKILL), f"{name} ended with {end}, {said}"
        if end == 0:
            return
        check = place.check_made() if name == "make" else place.check(said[0])
        looked, found = forked(lambda say, check=check: say(asyncio.run(check)))  # type: ignore[misc]
        check.close()
        print(json.dumps({"change": name, "step": said[1], "found": found[0] if looked == 0 else "broken"}), flush=True)


def finished(outcome: tuple[int, list[Any]]) -> None:
    assert outcome[0] == 0, outcome


async def _not_tried(*_: object) -> None:
    """Instead of :func:`server.teaching.trial.try_out`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("address", type=DatabaseAddress.parse)
    parser.add_argument("changes", nargs="*", default=[*CHANGES, "make"])
    parser.add_argument("--every", action="store_true", help="each call that changes a file or folder is a step")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    recipe_file.try_out = _not_tried  # type: ignore[attr-defined]
    store = StoreAddress.parse(f"file://{folder}/mounted")
    place = Place(folder, store, chosen.address, chosen.every)
    finished(forked(lambda say: asyncio.run(place.begin())))
    for name in chosen.changes:
        sweep(name, place)


if __name__ == "__main__":
    main()
