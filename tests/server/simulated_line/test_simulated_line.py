from __future__ import annotations

import numpy as np
import pytest

from detector import fit
from server.simulated_line import SimulatedFrame, SimulatedLine, good_frames
from server.simulated_line.defects import KINDS
from server.simulated_line.line import CYCLE_SECONDS, DWELL_SECONDS, TRAVEL_SECONDS

MID_DWELL = DWELL_SECONDS / 2
MID_TRAVEL = DWELL_SECONDS + TRAVEL_SECONDS / 2


@pytest.fixture(scope="module")
def line() -> SimulatedLine:
    return SimulatedLine()


def at_rest(line: SimulatedLine, part: int) -> SimulatedFrame:
    return line.frame_at(part * CYCLE_SECONDS + MID_DWELL)


def brightness_of_sides(image: np.ndarray) -> float:
    """Mean grey value of the belt's left and right quarters, where a centred part does not reach."""
    return float(np.concatenate((image[80:400, 100:140], image[80:400, 500:540])).mean())


def test_a_frame_is_640_by_480_bgr(line: SimulatedLine) -> None:
    frame = line.frame_at(0.0)
    assert frame.image.shape == (480, 640, 3)
    assert frame.image.dtype == np.uint8
    assert frame.image.flags.c_contiguous


def test_the_same_seed_and_time_give_the_same_picture_in_any_order() -> None:
    times = (0.3, 1.7, 5.0, 14.2)
    forwards, backwards = SimulatedLine(4), SimulatedLine(4)
    first = {t: forwards.frame_at(t) for t in times}
    second = {t: backwards.frame_at(t) for t in reversed(times)}
    for t in times:
        assert np.array_equal(first[t].image, second[t].image)
        assert (first[t].part, first[t].defect) == (second[t].part, second[t].defect)


def test_another_seed_gives_another_picture() -> None:
    assert not np.array_equal(SimulatedLine(0).frame_at(0.3).image, SimulatedLine(1).frame_at(0.3).image)


def test_the_sensor_is_noisy_while_nothing_moves(line: SimulatedLine) -> None:
    one, other = (line.frame_at(t).image.astype(int) for t in (0.30, 0.34))
    noise = (one - other)[100:380, 180:460].std() / 2**0.5
    assert 1 < noise < 6


def test_parts_are_numbered_as_they_come(line: SimulatedLine) -> None:
    assert [at_rest(line, part).part for part in range(4)] == [0, 1, 2, 3]
    assert line.frame_at(MID_TRAVEL - 0.05).part == 0
    assert line.frame_at(MID_TRAVEL + 0.05).part == 1


def test_one_part_rests_in_the_middle_and_between_two_the_belt_is_empty(line: SimulatedLine) -> None:
    resting, empty = line.frame_at(MID_DWELL).image, line.frame_at(MID_TRAVEL).image
    steel = (resting[80:400, 160:480].max(axis=2) > 110).mean()
    assert steel > 0.4
    assert brightness_of_sides(resting) < 70
    assert (empty[80:400].max(axis=2) > 110).mean() < 0.001


def test_within_twelve_seconds_a_good_part_and_then_a_defective_one() -> None:
    for seed in range(3):
        line = SimulatedLine(seed)
        seen = [at_rest(line, part).defect for part in range(5)]
        assert seen[0] is None and seen[1] is None
        assert seen[2] in KINDS


def test_a_line_makes_as_many_defective_parts_as_it_is_told() -> None:
    line = SimulatedLine(seed=3, defect_rate=0.2)
    defective = [line.scheduled(part) is not None for part in range(1000)]
    assert 0.15 < np.mean(defective) < 0.25


def test_every_kind_of_defect_comes_up() -> None:
    line = SimulatedLine(seed=3, defect_rate=1.0)
    assert {line.scheduled(part) for part in range(2, 60)} == set(KINDS)


def test_a_defect_is_named_only_while_it_can_be_seen(line: SimulatedLine) -> None:
    arrival = 2 * CYCLE_SECONDS
    assert line.frame_at(arrival - TRAVEL_SECONDS / 2 + 0.02).part == 2
    assert line.frame_at(arrival - TRAVEL_SECONDS / 2 + 0.02).defect is None
    assert line.frame_at(arrival + MID_DWELL).defect in KINDS
    assert line.frame_at(arrival + MID_TRAVEL - 0.02).defect is None


def test_teaching_frames_are_good_and_cover_rest_and_movement() -> None:
    frames = list(good_frames(24))
    assert len(frames) == 24
    assert all(frame.shape == (480, 640, 3) and frame.dtype == np.uint8 for frame in frames)
    steel = [float((frame[80:400].max(axis=2) > 110).mean()) for frame in frames]
    assert min(steel) < 0.02  # an empty belt
    assert max(steel) > 0.2  # a part in full view
    assert sum(0.02 < share < 0.15 for share in steel) >= 3  # parts coming and going


def test_teaching_frames_are_of_a_line_without_defects() -> None:
    line = SimulatedLine(seed=1, defect_rate=0)
    assert all(line.scheduled(part) is None for part in range(200))


def test_the_detector_tells_good_parts_from_defective_ones() -> None:
    model = fit(list(good_frames(100)))
    good = SimulatedLine(seed=21, defect_rate=0)
    step = CYCLE_SECONDS * 0.382  # every phase of the movement
    false_rejects = [model.detect(good.frame_at(i * step).image).score > model.threshold for i in range(40)]
    assert sum(false_rejects) == 0

    bad = SimulatedLine(seed=22, defect_rate=1.0)
    escapes: list[str | None] = []
    for part in range(2, 30):
        frame = at_rest(bad, part)
        if model.detect(frame.image).score <= model.threshold:
            escapes.append(frame.defect)
    assert len(escapes) <= 1, escapes
