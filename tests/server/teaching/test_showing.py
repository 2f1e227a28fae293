"""When a frame is taken: by a press, or by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.teaching.showing import MOVES, PATIENCE_S, RARE_S, SAME_PART, STEADY_S, Showing, Taken

BLACK = "the picture is black: switch the light on"


def test_by_itself_each_part_is_taken_once() -> None:
    showing = Showing(auto=True)
    taken = []
    frames = [(False, 0), (True, 0), (True, 0), (False, 1), (True, 1), (True, 1), (True, 1), (False, 2), (True, 2)]
    for at, (still, part) in enumerate(frames):
        if showing.see(None, still, at / 10):
            taken.append(part)
            showing.took()
    assert taken == [0, 1, 2]


def test_the_first_part_may_lie_there_already() -> None:
    assert Showing(auto=True).see(None, True, 0)


def test_nothing_is_taken_by_itself_that_moves_or_has_a_fault() -> None:
    showing = Showing(auto=True)
    assert not showing.see(BLACK, True, 0) and showing.last == Taken(False, BLACK)
    assert not showing.see(None, False, 0.1) and showing.last == Taken(False, MOVES)


def test_a_copy_is_looked_at_once_and_not_again_until_the_scene_changes() -> None:
    showing = Showing(auto=True)
    assert showing.see(None, True, 0)
    showing.refuse(SAME_PART)
    assert not any(showing.see(None, True, at / 10) for at in range(1, 20))
    assert showing.last == Taken(False, SAME_PART)
    assert not showing.see(BLACK, True, 2.0) and not showing.see(None, True, 2.1)
    assert showing.last == Taken(False, SAME_PART), "what was said of the part still holds when a fault is over"
    showing.see(None, False, 2.2)
    assert showing.see(None, True, 2.3)


def test_what_changes_while_a_frame_is_looked_at_is_another_part() -> None:
    showing = Showing(auto=True)
    assert showing.see(None, True, 0)
    assert not showing.see(None, False, 0.1), "one at a time"
    showing.took()
    assert not showing.see(None, True, 0.2), "the change was that of the frame before"


def test_without_a_press_nothing_is_taken_by_hand() -> None:
    showing = Showing(auto=False)
    assert not showing.see(None, True, 0) and showing.last is None
    showing.press()
    assert showing.see(None, True, 1)
    showing.took()
    assert not showing.see(None, True, 2) and not showing.is_pressed


def test_a_press_waits_for_a_still_frame_but_not_for_long() -> None:
    showing = Showing(auto=False)
    showing.press()
    assert not showing.see(None, False, 10.0) and showing.last == Taken(False, MOVES)
    assert not any(showing.see(None, False, 10.0 + STEADY_S * part / 10) for part in range(1, 10))
    assert showing.see(None, False, 10.0 + STEADY_S), "it is sharp, so it is taken as it is"


def test_a_press_never_takes_a_fault_and_ends_by_itself() -> None:
    showing = Showing(auto=False)
    showing.press()
    for at in range(int(PATIENCE_S)):
        assert not showing.see(BLACK, True, at) and showing.is_pressed
    assert not showing.see(BLACK, True, PATIENCE_S)
    assert not showing.is_pressed and showing.last == Taken(False, BLACK)
    assert not showing.see(None, True, PATIENCE_S + 0.1)


def test_where_frames_come_rarely_each_is_another_part() -> None:
    showing = Showing(auto=True)
    assert not showing.see(None, False, 0.0)
    for at in (RARE_S, 2 * RARE_S, 60.0):
        assert showing.see(None, False, at)
        showing.took()
    assert not showing.see(BLACK, False, 120.0)


def test_a_press_looks_at_the_same_part_once_more_and_hears_that_it_is_the_same() -> None:
    showing = Showing(auto=True)
    assert showing.see(None, True, 0)
    showing.took()
    showing.press()
    assert showing.see(None, True, 1)
    showing.refuse(SAME_PART)
    assert showing.last == Taken(False, SAME_PART) and not showing.is_pressed


def test_a_press_that_no_frame_comes_for_is_given_up() -> None:
    showing = Showing(auto=False)
    showing.press()
    showing.give_up("no frame came")
    assert not showing.is_pressed and not showing.in_work and showing.last == Taken(False, "no frame came")


FRAMES = st.lists(
    st.tuples(st.sampled_from([None, BLACK]), st.booleans(), st.sampled_from(["frame", "press", "took", "refuse"]))
)


@given(st.booleans(), FRAMES)
def test_whatever_happens_one_frame_is_in_work_and_none_with_a_fault(
    auto: bool, frames: list[tuple[str | None, bool, str]]
) -> None:
    showing, in_work = Showing(auto), False
    for at, (fault, still, what) in enumerate(frames):
        if what == "press":
            showing.press()
        elif what == "frame":
            pressed = showing.is_pressed
            taken = showing.see(fault, still, float(at))
            assert not taken or (fault is None and not in_work and (auto or pressed))
            in_work = in_work or taken
        elif in_work:
            showing.took() if what == "took" else showing.refuse(SAME_PART)
            in_work = False
            assert showing.last == (Taken(True) if what == "took" else Taken(False, SAME_PART))
            assert not showing.is_pressed
        assert showing.in_work == in_work
        assert showing.last is None or showing.last.taken == (not showing.last.why)
