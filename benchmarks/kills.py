"""A server's recipes while its process is killed at random moments: the old version or the new one, whole, always.

    python -m benchmarks.kills [--times 200]

A process teaches, forgives, remembers, calibrates and changes recipes, one thing after another, as the server does; it
is killed (SIGKILL) at a random moment, and what it left is read: every file must be sound, every recipe must be what
the newest step of its history says, every model it names must load with its corrections, and the scores of a picture
must be those that the step before the kill, or the one that was in work, had written down. What was begun and not
finished must be gone after the next start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import detector
from detector.thresholds import OneIn
from server.inspection import Calibrations, Captured, Inspection, KeptPicture
from server.inspection.inspected import Inspected, kept_of, sample_of
from server.recipes import Regions, ThresholdRule
from server.streams import Hub, InferencePool, KeptFrame, Streams
from server.teaching import Correcting, Library
from tests.detector.parts import draw_part, draw_parts

ROOT = Path(__file__).parent.parent
PICTURE = draw_part(99)


async def opened(data: Path) -> tuple[Library, Correcting, Inspection]:
    """What a server has when it has started, without its sockets."""
    inspection = Inspection(Calibrations(data))
    streams = Streams(InferencePool(1), Hub(), inspection)
    library = Library(data, inspection, streams, runtime="openvino", workers=1)
    await library.open(None, None)
    return library, Correcting(library, inspection), inspection


def frame_of(inspection: Inspection, recipe: str, number: int) -> KeptFrame:
    """A kept frame that shows a defect."""
    model, threshold = inspection.model_of(recipe), inspection.threshold_of(recipe)
    assert isinstance(model, detector.TaughtModel) and threshold is not None
    picture = draw_part(number, defect=True)
    kept: KeptPicture = kept_of(picture, model, (b"\xff\xd8jpeg", 128, 128), model.taught_hash)
    found = model.detect(picture)
    recipe_now = next(one for one in inspection.recipes if one.id == recipe)
    inspected = Inspected(
        found.score, threshold, np.zeros((1, 1), np.uint8), (128, 128), (model.hash, "openvino"), recipe=recipe_now
    )
    return KeptFrame(str(number), "alarm", "press", "now", None, "ANOMALY", inspected, kept)


def captured(inspection: Inspection, recipe: str, start: int) -> Captured:
    """Frames of good parts, scored."""
    model = inspection.model_of(recipe)
    assert isinstance(model, detector.TaughtModel)
    frames = [draw_part(start + number) for number in range(6)]
    samples = [sample_of(frame, model) for frame in frames]
    return Captured(
        (model.hash, model.runtime),
        "press",
        "websocket",
        tuple(model.detect(frame).score for frame in frames),
        tuple(sample.look for sample in samples),
        tuple(sample.picture for sample in samples),
        recipe=recipe,
    )


async def work(data: Path, seed: int) -> None:
    """Change things without end, and write down what each step left before the next is begun."""
    library, correcting, inspection = await opened(data)
    chance = random.Random(seed)
    print("ready", flush=True)
    for step in range(1 << 30):
        recipe = chance.choice(library.recipes)
        doing = chance.choice(
            ["teach", "forgive", "forgive", "remember", "undo", "region", "rule", "calibrate", "back"]
        )
        try:
            await _do(doing, library, correcting, inspection, recipe.id, recipe.version, chance, data, step)
        except (detector.ModelError, ValueError):
            continue
        print(json.dumps({"done": doing, **_seen(library, inspection)}), flush=True)


async def _do(
    doing: str,
    library: Library,
    correcting: Correcting,
    inspection: Inspection,
    recipe: str,
    version: int,
    chance: random.Random,
    data: Path,
    step: int,
) -> None:
    number = 1000 + chance.randrange(500)
    match doing:
        case "teach":
            folder, pictures = data / "work" / str(step) / "model", data / "work" / str(step) / "pictures"
            pictures.mkdir(parents=True, exist_ok=True)
            parts = [draw_part(number + part) for part in range(6)]
            model = await asyncio.to_thread(lambda: detector.fit(parts, image_size=128, coreset_size=50))
            model.save(folder)
            await library.taught_more(recipe, folder, pictures, stream=None, who="me", why="", on="6 pictures")
        case "forgive" | "remember":
            await correcting.correct(
                frame_of(inspection, recipe, number),
                "good" if doing == "forgive" else "bad",
                None,
                learn=True,
                dry_run=False,
                version=version,
                who="me",
                why="",
            )
        case "undo":
            corrections = library.get(recipe).model.corrections
            if not corrections:
                raise ValueError("nothing to undo")
            await correcting.undo(recipe, chance.choice(corrections), version, who="me")
        case "region":
            ignore = ((0.0, 0.0), (chance.uniform(0.1, 0.4), 0.0), (0.2, 0.3))
            await library.change(recipe, version, who="me", regions=Regions(ignore=(ignore,)))
        case "rule":
            await library.change(recipe, version, who="me", rule=ThresholdRule(one_in=chance.randrange(5, 1000)))
        case "calibrate":
            draft = inspection.judge(captured(inspection, recipe, number), OneIn(30))
            if draft.judgement.calibration is None:
                raise ValueError("no calibration")
            await asyncio.to_thread(
                lambda: inspection.set(draft, draft.judgement.calibration, who="me", why="a test")  # type: ignore[arg-type]
            )
        case _:
            await library.restore(recipe, version, max(1, version - chance.randrange(1, 4)), who="me")


def _seen(library: Library, inspection: Inspection) -> dict[str, Any]:
    """What is in force: of each recipe its version, a picture's score, and the threshold."""
    state = {}
    for recipe in library.recipes:
        model, threshold = inspection.model_of(recipe.id), inspection.threshold_of(recipe.id)
        assert isinstance(model, detector.TaughtModel) and threshold is not None
        state[recipe.id] = [recipe.version, model.detect(PICTURE).score, threshold.value]
    return {"state": state}


async def check(data: Path, before: dict[str, Any]) -> str:
    """Read what a kill left; says whether it is the old or the new.

    Raises:
        AssertionError: it is neither.
    """
    library, _, inspection = await opened(data)
    try:
        assert library.book.warning is None, library.book.warning
        assert Calibrations(data).warning is None
        now, changed = _seen(library, inspection)["state"], 0
        for recipe in library.recipes:
            assert library.problem(recipe) is None, library.problem(recipe)
            history = library.book.history(recipe.id)
            assert history[0].after == recipe, "the history says something else than the book"
            versions = [step.after.version for step in history]
            assert versions == [*range(recipe.version, recipe.version - len(versions), -1)], "a step is missing"
            was = before[recipe.id]
            assert recipe.version - was[0] in (0, 1), "more than one step happened"
            if now[recipe.id] != was:
                changed += 1
        assert changed <= 1, "two recipes changed at once"
        left = [path for path in (data / "models").iterdir() if path.name.startswith(".")]
        assert not left, f"left over: {left}"
        return "new" if changed else "old"
    finally:
        library.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.work is not None:
        asyncio.run(work(chosen.work, chosen.seed))
        return
    outcomes = {"old": 0, "new": 0}
    doing: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        before = asyncio.run(_begin(data))
        chance = random.Random(0)
        for number in range(chosen.times):
            last, state = _kill(data, number, chance)
            before = state or before
            doing[last] = doing.get(last, 0) + 1
            outcomes[asyncio.run(check(data, before))] += 1
            before = asyncio.run(_state(data))
            print(f"\r{number + 1} of {chosen.times}", end="", file=sys.stderr, flush=True)
    print(
        f"\n{chosen.times} kills: {outcomes['old']} left what was before, {outcomes['new']} the step in work, none else"
    )


async def _begin(data: Path) -> dict[str, Any]:
    library, _, inspection = await opened(data)
    for number in range(2):
        folder, pictures = data / "work" / f"first{number}" / "model", data / "work" / f"first{number}" / "pictures"
        pictures.mkdir(parents=True)
        detector.fit(draw_parts(8 + number), image_size=128, coreset_size=50).save(folder)
        await library.add_taught(f"part {number}", folder, pictures, stream=None, who="me", why="", on="8 pictures")
    state = _seen(library, inspection)["state"]
    library.close()
    return dict(state)


async def _state(data: Path) -> dict[str, Any]:
    library, _, inspection = await opened(data)
    state = _seen(library, inspection)["state"]
    library.close()
    return dict(state)


def _kill(data: Path, number: int, chance: random.Random) -> tuple[str, dict[str, Any] | None]:
    """Let it work, and kill it at some moment; the last step it said was done, and what that left."""
    command = [sys.executable, "-m", "benchmarks.kills", "--work", str(data), "--seed", str(number)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(chance.uniform(0, 1.5))
    process.send_signal(signal.SIGKILL)
    said = [line for line in process.stdout.read().splitlines() if line.endswith("}}")]
    process.wait()
    if not said:
        return "nothing", None
    found = json.loads(said[-1])
    return found["done"], {name: list(values) for name, values in found["state"].items()}


if __name__ == "__main__":
    main()
