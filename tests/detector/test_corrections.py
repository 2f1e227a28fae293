from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

import detector
from detector import BadPatches, GoodPatches, ImageError, ModelError, TaughtModel, self_contained
from detector import corrections as module
from detector.corrections import MOST_BAD, MOST_GOOD, Polygon, cells, most_deviating, to_forgive, to_remember
from detector.heads import KnownBad, MemoryBanks, ball, no_corrections
from detector.images import BGRImage
from detector.region import Region
from detector.runtimes.runtime import Seen, runtime
from detector.score import PatchMaps
from tests.detector.parts import draw_part, draw_parts

SIDE = 256
DEFECT = ((0.5, 0.25), (0.75, 0.25), (0.75, 0.5), (0.5, 0.5))
"""Where :func:`draw_part` puts it, with a margin."""
ELSEWHERE = ((0.1, 0.6), (0.4, 0.6), (0.4, 0.9), (0.1, 0.9))


def part(number: int, *, defect: bool = False) -> BGRImage:
    """With less noise than others: what is seen again is the part, not the noise."""
    return np.asarray(
        cv2.GaussianBlur(draw_part(number, defect=defect, width=SIDE, height=SIDE), (0, 0), 1.5), np.uint8
    )


def scratched(number: int) -> BGRImage:
    """A defect of another kind, left of and below the middle."""
    picture = part(number)
    cv2.line(picture, (80, 150), (110, 180), (200, 60, 60), 5)
    return picture


@pytest.fixture(scope="module")
def model() -> TaughtModel:
    """With both scales, what drawn defects taught, and a region that is the whole frame."""
    made = detector.fit([part(number) for number in range(7)], image_size=SIDE, coreset_size=200, inspect="full")
    assert isinstance(made.head, MemoryBanks) and made.head.coarse is not None
    return made


@pytest.fixture(scope="module")
def forgiven(model: TaughtModel) -> GoodPatches:
    return model.good_of(model.input_of(part(50, defect=True)))


@pytest.fixture(scope="module")
def high(model: TaughtModel) -> float:
    """A threshold under which defects escape."""
    return 1.5 * model.detect(part(50, defect=True)).score


@pytest.fixture(scope="module")
def remembered(model: TaughtModel, high: float) -> BadPatches:
    return model.bad_of(model.input_of(part(50, defect=True)), high)


def same(one: detector.Detection, other: detector.Detection) -> bool:
    return one.score == other.score and np.array_equal(one.anomaly_map, other.anomaly_map)


def test_an_input_is_all_of_a_frame_that_counts() -> None:
    frames = [np.pad(frame, ((200, 120), (300, 100), (0, 0)), "edge") for frame in draw_parts(8)]
    model = detector.fit(frames, image_size=64, coreset_size=100)
    assert not model.manifest.region.is_full
    small = model.input_of(frames[0])
    assert small.shape == (64, 64, 3) and small.dtype == np.uint8 and small.base is None
    assert same(model.detect_input(small), model.detect(frames[0]))
    assert small.flags.owndata, "the frame is not kept by it"


@pytest.mark.parametrize("wrong", [np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE, 3)), part(0)[:-1]])
def test_what_is_no_input_is_refused(wrong: Any, model: TaughtModel) -> None:
    for look in (model.detect_input, model.good_of, lambda small: model.bad_of(small, 1.0)):
        with pytest.raises(ImageError, match="an input of this model is 256×256×3 uint8 BGR"):
            look(wrong)


def test_a_forgiven_part_passes(model: TaughtModel, forgiven: GoodPatches) -> None:
    frame = part(50, defect=True)
    assert model.detect(frame).score > model.threshold > model.corrected([forgiven]).detect(frame).score


def test_seen_again_it_is_nearly_as_good(model: TaughtModel) -> None:
    """A stain three times the threshold. Real false rejects pass (benchmarks/corrections.py)."""
    stained = part(50).astype(np.float32)
    stained += 40 * np.exp(-(np.hypot(*(np.mgrid[:SIDE, :SIDE] - 128)) ** 2) / 200)[..., None]
    frame = np.clip(stained, 0, 255).astype(np.uint8)
    corrected = model.corrected([model.good_of(model.input_of(frame))])
    for move, gain in (((0, 0), 1.0), ((1, 1), 1.02), ((-1, 1), 0.99)):
        again = np.clip(np.roll(frame, move, (0, 1)) * gain, 0, 255).astype(np.uint8)
        assert corrected.detect(again).score < 0.6 * model.detect(again).score


def test_nothing_else_is_forgiven(model: TaughtModel, forgiven: GoodPatches) -> None:
    other = scratched(51)
    assert model.corrected([forgiven]).detect(other).score > model.threshold


def test_forgiving_below_a_threshold_that_is_in_force(model: TaughtModel) -> None:
    small = model.input_of(part(50, defect=True))
    low, high = (model.good_of(small, threshold=times * model.threshold) for times in (1, 1.5))
    assert len(low.fine) + len(low.coarse) > len(high.fine) + len(high.coarse)
    assert model.threshold < model.corrected([high]).detect_input(small).score < 1.5 * model.threshold
    assert model.corrected([low]).detect_input(small).score < model.threshold
    usual = model.input_of(part(60))
    below = 0.97 * model.detect_input(usual).score
    assert model.corrected([model.good_of(usual, threshold=below)]).detect_input(usual).score <= below


def test_only_the_marked_place_is_forgiven(model: TaughtModel) -> None:
    both = scratched(52)
    both[80:112, 144:176] = (20, 240, 250)
    small = model.input_of(both)
    corrected = model.corrected([model.good_of(small, DEFECT)])
    found = corrected.detect(both)
    assert found.score > model.threshold
    assert found.anomaly_map[8:16, 16:24].max() < model.threshold, "the place is cold"
    assert found.anomaly_map[18:24, 9:15].max() > model.threshold, "the scratch is not"


def test_a_remembered_defect_alarms_and_good_parts_do_not(
    model: TaughtModel, remembered: BadPatches, high: float
) -> None:
    corrected = model.corrected(bad=[remembered])
    assert model.detect(part(50, defect=True)).score < high
    assert corrected.detect(part(50, defect=True)).score >= 1.2 * high
    assert corrected.detect(part(53, defect=True)).score > high, "its like, on another part"
    for number in range(60, 64):
        assert corrected.detect(part(number)).score == pytest.approx(model.detect(part(number)).score, rel=0.05)


def test_the_place_says_which_of_two_is_the_defect(model: TaughtModel, high: float) -> None:
    both = part(54, defect=True)
    cv2.line(both, (80, 150), (110, 180), (200, 60, 60), 5)
    corrected = model.corrected(bad=[model.bad_of(model.input_of(both), high, ELSEWHERE)])
    assert corrected.detect(scratched(55)).score > high
    assert corrected.detect(part(50, defect=True)).score < high


def test_known_bad_outweighs_forgiven(
    model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches, high: float
) -> None:
    both = model.corrected([forgiven], [remembered])
    assert both.detect(part(50, defect=True)).score >= 1.2 * high


def test_a_good_part_that_is_only_like_a_known_defect_can_be_forgiven(
    model: TaughtModel, remembered: BadPatches, high: float
) -> None:
    """The direction yields; the defect's own patches do not."""
    directions = BadPatches(KnownBad(*(array[:1] for array in vars(remembered.known).values())))
    assert directions.known.square[0] == 0
    corrected = model.corrected(bad=[directions])
    like = model.input_of(part(53, defect=True))
    assert corrected.detect_input(like).score > high
    again = model.corrected([corrected.good_of(like, threshold=high)], [directions])
    assert again.detect_input(like).score < high


def test_taking_back_restores_every_bit(model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches) -> None:
    frames = [part(50, defect=True), part(60), scratched(51)]
    before = [model.detect(frame) for frame in frames]
    one = model.corrected([forgiven])
    after_one = [one.detect(frame) for frame in frames]
    two = one.corrected([forgiven], [remembered])
    assert [two.detect(frame).score for frame in frames] != [found.score for found in before]
    for found, frame in zip(after_one, frames, strict=True):
        assert same(two.corrected([forgiven]).detect(frame), found)
    for found, frame in zip(before, frames, strict=True):
        assert same(two.corrected().detect(frame), found) and same(model.detect(frame), found)


def test_hashes(model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches) -> None:
    one, two = model.corrected([forgiven]), model.corrected([forgiven], [remembered])
    assert len({model.hash, one.hash, two.hash, model.corrected(bad=[remembered]).hash}) == 4
    assert model.corrected([forgiven]).hash == two.corrected([forgiven]).hash == one.hash
    assert model.hash == model.taught_hash == two.taught_hash == two.corrected().hash
    assert model.corrected([forgiven, forgiven]).hash == one.hash, "what is forgiven already adds nothing"


def test_corrections_are_made_of_the_model_as_it_was_taught(model: TaughtModel, forgiven: GoodPatches) -> None:
    again = model.corrected([forgiven]).good_of(model.input_of(part(50, defect=True)), threshold=model.threshold)
    expected = model.good_of(model.input_of(part(50, defect=True)), threshold=model.threshold)
    assert all(np.array_equal(array, again.tensors()[name]) for name, array in expected.tensors().items())


def test_nothing_is_compiled_after_the_first_correction(
    model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.corrected([forgiven])

    def not_again(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(type(model._engine), "_compile", not_again)
    many = np.random.default_rng(0).integers(-20, 20, (3, 200, forgiven.fine.shape[1]), np.int8)
    grown = model.corrected([forgiven, *(replace(forgiven, fine=fine) for fine in many)], [remembered])
    grown.detect(part(0))
    grown.corrected().detect(part(0))


def test_two_at_once_compile_once(model: TaughtModel, forgiven: GoodPatches) -> None:
    fresh = model.on(model._engine)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: fresh.corrected([forgiven]).detect(part(50, defect=True)), range(2))
    assert same(first, second)


def test_both_runtimes_agree(model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches) -> None:
    pytest.importorskip("torch", reason="torch is an extra and not installed")
    loaded = model.on(runtime("torch"))
    one, other = (of.corrected([forgiven], [remembered]) for of in (model, loaded))
    assert one.hash == other.hash
    for frame in (part(50, defect=True), part(60)):
        assert other.detect(frame).score == pytest.approx(one.detect(frame).score, rel=0.03)
    seen = loaded._distances.seen(loaded.input_of(part(60)))
    expected = model._distances.seen(model.input_of(part(60)))
    for found, own in zip(seen.signatures, expected.signatures, strict=True):
        assert np.abs(found.astype(int) - own).max() <= 1


def test_a_graph_has_the_corrections_in_it(
    model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches, tmp_path: Path
) -> None:
    corrected = model.corrected([forgiven], [remembered])
    self_contained.write(corrected, tmp_path)
    written = self_contained.Written(tmp_path)
    for frame in (part(50, defect=True), part(60)):
        assert written.detect(frame).score == pytest.approx(corrected.detect(frame).score, rel=1e-3)


def test_a_model_is_written_as_it_was_taught(model: TaughtModel, forgiven: GoodPatches, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a model is written as it was taught"):
        model.corrected([forgiven]).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_other_kinds_of_models_cannot_be_corrected() -> None:
    padim = detector.fit(draw_parts(8), method="padim", image_size=64)
    small = padim.input_of(draw_part(0))
    for correct in (padim.good_of, lambda small: padim.bad_of(small, 1.0), lambda small: padim.corrected()):
        with pytest.raises(ModelError, match="a padim model can neither forgive nor remember: use patchcore"):
            correct(small)


def test_what_does_not_deviate_is_no_defect(model: TaughtModel) -> None:
    seen = model._distances.seen(model.input_of(part(0)))
    same = seen._replace(maps=seen.maps._replace(distances=np.zeros_like(seen.maps.distances)))
    assert isinstance(model.head, MemoryBanks)
    with pytest.raises(ModelError, match="nothing there differs from the good parts"):
        to_remember(same, model.head, (32, 32), np.ones((32, 32), np.bool_), 1.0)


def hot_and_hinted(model: TaughtModel) -> Seen:
    """A part that deviates in one place, of another place of which drawn defects say next to nothing."""
    seen = model._distances.seen(model.input_of(part(0)))
    distances, drawn = np.full((32, 32), 5, np.float32), np.zeros((32, 32), np.float32)
    distances[4:8, 4:8], drawn[24, 24] = 30, 0.6
    return seen._replace(maps=PatchMaps(distances, None, drawn))


def test_the_defect_is_where_the_part_deviates_and_not_where_a_little_is_added(model: TaughtModel) -> None:
    seen = hot_and_hinted(model)
    assert isinstance(model.head, MemoryBanks)
    without = seen._replace(maps=PatchMaps(seen.maps.distances))
    there, expected = (most_deviating(one, (32, 32)) for one in (seen, without))
    assert np.array_equal(there, expected) and there[5, 5] and not there[24, 24]


def test_what_is_not_inspected_is_neither_forgiven_nor_remembered(model: TaughtModel) -> None:
    label = part(50, defect=True)
    both = np.where(label != part(50), label, scratched(50)).astype(np.uint8)
    inspected = ~cells(DEFECT, model.manifest.region, (32, 32))

    def seen(one: TaughtModel, frame: BGRImage) -> float:
        return one.detect(frame).only(inspected).score

    threshold = model.threshold
    assert threshold < seen(model, both) < model.detect(both).score
    small = model.input_of(both)
    good = model.good_of(small, threshold=threshold, inspected=inspected)
    assert len(good) < len(model.good_of(small, threshold=threshold))
    forgiving = model.corrected([good])
    assert seen(forgiving, both) <= threshold < forgiving.detect(both).score
    told = model.corrected(bad=[model.bad_of(small, 10 * threshold, inspected=inspected)])
    assert seen(told, both) > 10 * threshold


def test_a_marked_place_is_judged_without_what_is_elsewhere(model: TaughtModel) -> None:
    seen = hot_and_hinted(model)
    assert isinstance(model.head, MemoryBanks)
    there, grids = np.zeros((32, 32), np.bool_), [(32, 32)]
    there[20:28, 20:28] = True
    head = replace(model.head, coarse=None)
    assert len(to_forgive([seen], head, grids, [there], 8, 9)) == 0
    assert len(to_forgive([seen], head, grids, [there], 3, 5)) > 0


def test_what_would_take_too_many_patches_is_refused(model: TaughtModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_FRAME", (3, 1))
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ModelError, match="too much of this part is unlike"):
        model.good_of(model.input_of(noise))


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_thresholds_that_cannot_be(threshold: float, model: TaughtModel) -> None:
    small = model.input_of(part(50, defect=True))
    for correct in (lambda: model.good_of(small, threshold=threshold), lambda: model.bad_of(small, threshold)):
        with pytest.raises(ModelError, match="cannot be: give the raw one in force"):
            correct()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((), "a polygon of 3 to 1000 corners"),
        (((0.1, 0.1), (0.2, 0.2)), "a polygon of 3 to 1000 corners"),
        (((0.1, 0.1),) * 1001, "a polygon of 3 to 1000 corners"),
        (((0.1, 0.1, 0.1),) * 3, "a polygon of 3 to 1000 corners"),
        (((0.1, 0.1), (0.2, 0.2), (1.1, 0.2)), "lies within the frame"),
        (((0.1, 0.1), (0.2, 0.2), (float("nan"), 0.2)), "lies within the frame"),
        (((0.1, 0.1), (0.2, 0.2), (float("inf"), 0.2)), "lies within the frame"),
    ],
)
def test_places_that_cannot_be(place: Polygon, message: str, model: TaughtModel) -> None:
    small = model.input_of(part(50, defect=True))
    for correct in (lambda: model.good_of(small, place), lambda: model.bad_of(small, 1.0, place)):
        with pytest.raises(ModelError, match=message):
            correct()


def test_a_place_is_of_the_frame_and_not_of_the_region() -> None:
    region = Region(columns=20, rows=10, left=10, top=0, width=10, height=10)
    touched = cells(((0.5, 0.0), (0.54, 0.0), (0.54, 0.09), (0.5, 0.09)), region, (10, 10))
    assert touched[0, 0] and touched.sum() == 1
    assert cells(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), region, (10, 10)).all()
    with pytest.raises(ModelError, match="lies outside of what is inspected"):
        cells(((0.0, 0.0), (0.3, 0.0), (0.3, 1.0)), region, (10, 10))


corner = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(st.lists(corner, min_size=3, max_size=12))
@example([(0.0, 1.0)] * 3)  # on the very edge
def test_any_polygon_within_the_frame_touches_something(place: list[tuple[float, float]]) -> None:
    """Crossing itself, of no area, at the very edge."""
    assert cells(place, Region(20, 20, 0, 0, 20, 20), (20, 20)).any()


def test_what_is_kept_can_be_stored(model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches) -> None:
    good, bad = GoodPatches.from_tensors(forgiven.tensors()), BadPatches.from_tensors(remembered.tensors())
    assert model.corrected([good], [bad]).hash == model.corrected([forgiven], [remembered]).hash
    assert sum(array.nbytes for array in forgiven.tensors().values()) < 80_000
    assert sum(array.nbytes for array in remembered.tensors().values()) < 6_000


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tensors: {other: array for other, array in tensors.items() if other != name}


def instead(name: str, array: NDArray[Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tensors: tensors | {name: array}


@pytest.mark.parametrize(
    "damage",
    [
        without("fine"),
        instead("more", np.zeros((1, 128), np.int8)),
        instead("fine", np.zeros((1, 128), np.float32)),
        instead("fine", np.zeros((417, 128), np.int8)),
        instead("fine", np.zeros((1, 129), np.int8)),
        instead("fine", np.zeros(128, np.int8)),
        instead("coarse", np.zeros((177, 128), np.int8)),
    ],
)
def test_damaged_forgiven_parts(damage: Callable[[dict[str, Any]], dict[str, Any]], forgiven: GoodPatches) -> None:
    with pytest.raises(ModelError, match=r"the forgiven part is damaged: .*; take this correction back"):
        GoodPatches.from_tensors(damage(dict(forgiven.tensors())))


@pytest.mark.parametrize(
    "damage",
    [
        without("offset"),
        instead("more", np.zeros(1, np.float32)),
        instead("towards", np.zeros((0, 128), np.float32)),
        instead("towards", np.zeros((11, 128), np.float32)),
        instead("towards", np.zeros((10, 129), np.float32)),
        instead("towards", np.full((10, 128), np.nan, np.float32)),
        instead("towards", np.full((10, 128), 1e20, np.float32)),
        instead("square", np.zeros(3, np.float32)),
        instead("offset", np.zeros(10)),
    ],
)
def test_damaged_remembered_defects(damage: Callable[[dict[str, Any]], dict[str, Any]], remembered: BadPatches) -> None:
    with pytest.raises(ModelError, match=r"the remembered defect is damaged: .*; take this correction back"):
        BadPatches.from_tensors(damage(dict(remembered.tensors())))


tensors = st.dictionaries(
    st.sampled_from(["fine", "coarse", "towards", "square", "offset"]),
    arrays.arrays(st.sampled_from([np.int8, np.float32, np.float64]), arrays.array_shapes(max_dims=3, max_side=4)),
)


@given(tensors)
def test_any_tensors_are_taken_or_refused(tensors: dict[str, NDArray[Any]]) -> None:
    for kind in (GoodPatches, BadPatches):
        with suppress(ModelError):
            kind.from_tensors(tensors)


def test_corrections_of_another_model(model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches) -> None:
    with pytest.raises(ModelError, match="a forgiven part is of another model"):
        model.corrected([GoodPatches(forgiven.fine[:, :40], forgiven.coarse)])
    with pytest.raises(ModelError, match="a remembered defect is of another model"):
        model.corrected(bad=[BadPatches(replace(remembered.known, towards=remembered.known.towards[:, :40]))])
    flat = detector.fit(draw_parts(5), image_size=64, coreset_size=20)
    with pytest.raises(ModelError, match="has no coarse scale"):
        flat.corrected([GoodPatches(forgiven.fine[:0], forgiven.coarse)])


def test_corrections_have_a_bound(model: TaughtModel, forgiven: GoodPatches, remembered: BadPatches) -> None:
    random = np.random.default_rng(0)
    most = MOST_GOOD[0] // 200
    many = [GoodPatches(random.integers(-99, 99, (200, 128), np.int8), forgiven.coarse[:0]) for _ in range(most + 1)]
    model.corrected(many[:most])
    with pytest.raises(ModelError, match=r"too many forgiven parts .*: teach again with these parts"):
        model.corrected(many)
    with pytest.raises(ModelError, match=r"more than .* remembered defects: take back some"):
        model.corrected(bad=[remembered] * (MOST_BAD // len(remembered.known) + 1))


def test_a_ball_says_most_at_its_centre_and_nothing_beyond_its_radius() -> None:
    centre = np.array([3, -4, 100], np.int8)
    known = ball(centre, radius=10, level=7)
    places = np.array([[3, -4, 100], [3, 1, 100], [13, -4, 100], [3, -4, 120]], np.int8)
    assert known.says(places) == pytest.approx([7, 7 * 0.75, 0, 0], abs=1e-3)
    assert not no_corrections(3).bad.says(places).any()
