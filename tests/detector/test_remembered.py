"""Teaching again on pictures most of which were there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import detector
from detector.backbones import load_backbone
from detector.input_size import square
from detector.runtimes import runtime
from detector.teaching import Remembered
from detector.teaching.kept import Kept
from detector.teaching.learner import Learner
from tests.detector.parts import draw_part


class Counting(Remembered):
    """Counts the inputs that are looked at."""

    looked = 0

    def compiled(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
        look = super().compiled(*arguments, **options)  # type: ignore[arg-type]

        def counted(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.looked += 1
            return look(frame)

        return counted


def teach(count: int, memory: Remembered | None = None) -> detector.TaughtModel:
    return detector.fit(
        [draw_part(number) for number in range(count)], image_size=96, coreset_size=60, inspect="full", memory=memory
    )


def test_only_what_is_new_is_looked_at_and_the_model_is_the_same() -> None:
    memory, alone = Counting(), teach(9)
    teach(8, memory)
    before = memory.looked
    teach(8, memory)
    drawn = memory.looked - before  # what is drawn on pictures is never remembered
    again = teach(9, memory)
    assert memory.looked - before - 2 * drawn == 1
    assert again.threshold == alone.threshold
    assert np.array_equal(again.head.fine.memory_bank, alone.head.fine.memory_bank)  # type: ignore[union-attr]


def test_no_more_is_held_than_there_is_room_for() -> None:
    network, engine, size = load_backbone(), runtime("openvino"), square(64)
    frames = [np.full((64, 64, 3), value, np.uint8) for value in range(5)]
    one = engine.features(network, size)(frames[0]).nbytes
    memory = Counting(3 * one)
    look = memory.features(engine, network, size)
    for frame in frames:
        look(frame)
    look(frames[4])
    look(frames[2])
    assert memory.looked == 5
    look(frames[0])  # gone
    assert memory.looked == 6


def test_what_ends_teaching_ends_it_everywhere() -> None:
    class Enough(Exception):
        pass

    def enough(stage: str, fraction: float) -> None:
        if fraction > 0.6:
            raise Enough

    with pytest.raises(Enough):
        detector.fit([draw_part(number) for number in range(6)], image_size=96, coreset_size=60, progress=enough)


@pytest.mark.parametrize("shrinks", [[1], [1, 2]])
def test_what_is_found_by_patches_is_what_the_runtime_finds(shrinks: list[int]) -> None:
    network, engine, size = load_backbone(), runtime("openvino"), square(256)
    features = {shrink: engine.features(network, size, shrink) for shrink in shrinks}
    kept = Kept(0, 48, shrinks)
    for number in range(6):
        frame = draw_part(number, width=256, height=256)
        kept.add(frame, {shrink: look(frame) for shrink, look in features.items()}, 1.0)
    learner = Learner(kept, network, features, dict.fromkeys(shrinks, 80), None, 0)
    head = learner.learn({5}, lambda _: None)
    quick = learner.inspecting(head, engine, size)(kept.frames[5], kept.looked_at(5))
    whole = engine.distances(network, size, head)(kept.frames[5])
    for ours, theirs in zip(quick, whole, strict=True):
        if theirs is None:
            assert ours is None
        else:
            assert ours is not None and ours.shape == theirs.shape
            # The projection is rounded differently in its last bits: a number may be one step away now and then.
            assert np.median(np.abs(ours - theirs)) < 1e-3 and np.abs(ours - theirs).max() < 0.2
