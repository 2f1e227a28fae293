"""How late packets are, and which are left out: cameras, networks and decoders by numbers alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.cameras.lag import BEHIND_S, CAUGHT_UP_S, DRIFT, JUMP_S, CatchUp, Lag

FPS = 25
WRAP_S = 2**33 / 90_000


def lags(*packets: tuple[float | None, float]) -> list[float]:
    lag = Lag()
    return [round(lag.of(stamp, now), 2) for stamp, now in packets]


def test_whatever_the_time_stamps_count_from_what_comes_at_their_pace_is_in_time() -> None:
    assert lags((5000, 1), (5000.1, 1.1), (5000.2, 1.2)) == [0, 0, 0]


def test_what_comes_later_than_the_quickest_is_late() -> None:
    assert lags((0, 10), (1, 11), (2, 12.5), (3, 16), (4, 14)) == [0, 0, 0.5, 2.99, 0], (
        "the camera may be slow by a thousandth"
    )


def test_what_waited_before_it_was_opened_makes_nothing_late() -> None:
    # From the last key frame on, all at once: what follows is quicker, and that is what counts.
    assert lags((0, 10), (1, 10), (2, 10), (3, 11), (4, 12.5)) == [0, 0, 0, 0, 0.5]


def test_no_time_stamp_is_in_time_and_changes_nothing() -> None:
    assert lags((None, 1), (0, 1), (None, 9), (1, 4)) == [0, 0, 0, 2]


@pytest.mark.parametrize("jump", [JUMP_S + 0.1, 500, WRAP_S])
def test_a_clock_that_jumps_begins_anew(jump: float) -> None:
    assert lags((WRAP_S, 0), (WRAP_S - jump, 0.1), (WRAP_S - jump + 1, 2.1)) == [0, 0, 1]
    assert lags((0, 0), (jump, 0.1), (jump + 1, 2.1), (0, 2.2), (1, 4.2)) == [0, 0, 1, 0, 1]


def test_pictures_that_come_in_another_order_are_in_time() -> None:
    assert max(lags((0, 0), (0.16, 0.04), (0.08, 0.08), (0.04, 0.12), (0.12, 0.16))) <= 0.2


def test_a_crystal_is_never_late() -> None:
    lag = Lag()
    assert max(lag.of(now * 0.9995, now) for now in range(0, 100_000, 10)) < 0.001


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.floats(-1e9, 1e9), st.floats(0, 1e6), st.booleans())), st.floats(0, 1e9))
def test_it_is_never_early_whatever_comes(packets: list[tuple[float | None, float, bool]], now: float) -> None:
    lag = Lag()
    for stamp, step, accepted in packets:
        now += step
        assert lag.of(stamp, now) >= 0
        if accepted and stamp is not None:
            lag.accept()
            assert lag.of(stamp, now) == 0


class Line:
    """A camera that sends, a network between, and a reader that decodes what is not dropped.

    Args:
        decode_s: what a decoded frame costs the reader.
        key_every: packets.
        sent: when the camera sends a packet that is stamped then.
        arrives: when what was sent then comes out of the network.
    """

    def __init__(
        self,
        decode_s: float,
        key_every: int = FPS,
        sent: Callable[[float], float] = lambda stamp: stamp,
        arrives: Callable[[float], float] = lambda sent: sent,
    ) -> None:
        self._decode_s, self._key_every, self._sent, self._arrives = decode_s, key_every, sent, arrives
        self._now = 0.0
        self.came = list[tuple[float, float]]()
        """Of each packet that was decoded: when it was sent, and when it is said to have come."""

    def run(self, packets: int) -> list[float | None]:
        """How late each packet was when it was decoded; None: it was dropped."""
        catch_up = CatchUp(lambda: self._now)
        return [self._read(catch_up, number) for number in range(packets)]

    def _read(self, catch_up: CatchUp, number: int) -> float | None:
        stamp = number / FPS
        sent = self._sent(stamp)
        self._now = max(self._now + 0.0005, self._arrives(sent))
        if catch_up.drops(stamp, number % self._key_every == 0):
            return None
        self.came.append((sent, catch_up.came))
        late, self._now = self._now - sent, self._now + self._decode_s
        return late


def decoded(found: list[float | None]) -> list[float]:
    return [late for late in found if late is not None]


def test_a_decoder_that_keeps_up_loses_nothing() -> None:
    assert None not in Line(0.039).run(50_000)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.041, 0.4), st.integers(1, 100))
def test_a_decoder_that_does_not_keep_up_decodes_nothing_late_and_never_starves(cost: float, key_every: int) -> None:
    found = Line(cost, key_every).run(3000)
    assert None in found
    drifted = DRIFT * len(found) / FPS
    assert max(decoded(found)) <= BEHIND_S + drifted
    for number in range(1, len(found)):
        late = found[number]
        if late is not None and found[number - 1] is None:
            assert number % key_every == 0
            assert late <= CAUGHT_UP_S + drifted
    longest = max(len(list(run)) for was_dropped, run in groupby(found, lambda late: late is None) if was_dropped)
    assert longest <= key_every + (BEHIND_S + cost) * FPS + 2


@settings(deadline=None, max_examples=25)
@given(st.floats(0.041, 0.4), st.integers(1, 100))
def test_what_waited_came_when_it_was_sent_however_late_it_is_read(cost: float, key_every: int) -> None:
    line = Line(cost, key_every)
    line.run(3000)
    for sent, came in line.came:
        assert -1e-6 <= came - sent <= 0.003 + DRIFT * sent


def test_what_a_network_held_back_is_left_out() -> None:
    found = Line(0.01, arrives=lambda sent: 13 if 10 <= sent < 13 else sent).run(1000)
    assert found.count(None) >= 2 * FPS
    assert max(decoded(found)) <= BEHIND_S
    assert None not in found[15 * FPS :]


def test_a_camera_whose_time_stamps_are_slow_is_taken_for_late_once() -> None:
    # It says 25 frames a second, and sends 15: as some do when it gets dark.
    found = Line(0.01, sent=lambda stamp: stamp * 25 / 15).run(8000)
    assert 0 < found.count(None) <= 3 * FPS
    assert None not in found[200:]


def test_after_a_second_in_which_dropping_helped_nothing_the_next_key_frame_is_taken() -> None:
    # The way itself became longer: nothing waits here.
    found = Line(0.01, arrives=lambda sent: sent + (5 if sent >= 10 else 0)).run(1000)
    assert found.count(None) <= 3 * FPS
    assert None not in found[14 * FPS :]


def test_a_stream_without_time_stamps_is_decoded_whole() -> None:
    now = 0.0
    catch_up = CatchUp(lambda: now)
    for _ in range(1000):
        now += 1
        assert not catch_up.drops(None, False)
        assert catch_up.came == now
