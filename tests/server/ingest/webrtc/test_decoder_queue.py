"""The bounded queue in front of the decoder."""

from __future__ import annotations

import threading

import pytest

from server.ingest.webrtc import decoder_queue
from server.ingest.webrtc.decoder_queue import LIMIT, LOST, TOO_FAST, DecoderQueue, KeyframeRequests
from server.ingest.webrtc.marker_bit_release import CompleteFrame


class VP8:
    name = "VP8"


CODEC = VP8()
KEY, DELTA = b"\x10\0\0", b"\x11\0\0"


@pytest.fixture
def wanted() -> threading.Event:
    return threading.Event()


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def tasks(wanted: threading.Event, failures: list[str]) -> DecoderQueue:
    return DecoderQueue(KeyframeRequests(wanted), failures.append)


def frame(data: bytes, timestamp: int = 0, *, after_gap: bool = False) -> CompleteFrame:
    return CompleteFrame(data, timestamp, timestamp, after_gap)


def drain(tasks: DecoderQueue) -> list[bytes]:
    taken = []
    while tasks.qsize():
        task = tasks.get()
        assert task is not None
        taken.append(task[1].data)
    return taken


def test_frames_wait_for_the_first_keyframe(tasks: DecoderQueue, wanted: threading.Event) -> None:
    tasks.put((CODEC, frame(DELTA)))
    assert drain(tasks) == []
    assert wanted.is_set()
    tasks.put((CODEC, frame(KEY)))
    tasks.put((CODEC, frame(DELTA)))
    assert drain(tasks) == [KEY, DELTA]


def test_after_a_gap_nothing_damaged_is_decoded_but_it_counts(
    tasks: DecoderQueue, wanted: threading.Event, failures: list[str]
) -> None:
    tasks.put((CODEC, frame(KEY)))
    tasks.put((CODEC, frame(DELTA, after_gap=True)))
    tasks.put((CODEC, frame(DELTA)))
    assert wanted.is_set()
    assert failures == [LOST, LOST]
    tasks.put((CODEC, frame(KEY)))
    assert drain(tasks) == [KEY, KEY]


def test_a_keyframe_after_a_gap_is_taken(tasks: DecoderQueue, wanted: threading.Event) -> None:
    tasks.put((CODEC, frame(KEY, after_gap=True)))
    assert drain(tasks) == [KEY]
    assert not wanted.is_set()


def test_a_decoder_that_cannot_keep_up_gets_nothing_stale(
    tasks: DecoderQueue, wanted: threading.Event, failures: list[str]
) -> None:
    tasks.put((CODEC, frame(KEY)))
    for _ in range(10 * LIMIT):
        tasks.put((CODEC, frame(DELTA)))
        assert tasks.qsize() <= LIMIT
    assert wanted.is_set()
    assert drain(tasks) == []
    assert failures == [TOO_FAST] * (1 + 10 * LIMIT)
    tasks.put((CODEC, frame(KEY)))
    assert drain(tasks) == [KEY]


def test_a_keyframe_is_asked_for_again_but_not_with_every_frame(
    tasks: DecoderQueue, wanted: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(decoder_queue.time, "monotonic", lambda: now)
    asked = 0
    for _ in range(30):
        tasks.put((CODEC, frame(DELTA)))
        asked += wanted.is_set()
        wanted.clear()
        now += 1 / 30
    assert asked == 2


def test_frames_linked_behind_one_get_its_mapped_time_plus_their_distance(tasks: DecoderQueue) -> None:
    first = CompleteFrame(KEY, 2**32 - 1000, 2**32 - 1000, False)
    first.following = CompleteFrame(DELTA, 2000, 2000, False)
    first.following.following = CompleteFrame(DELTA, 5000, 5000, False)
    first.timestamp = 90_000
    tasks.put((CODEC, first))
    times = []
    while tasks.qsize():
        task = tasks.get()
        assert task is not None
        times.append(task[1].timestamp)
    assert times == [90_000, 93_000, 96_000]


def test_the_end_does_not_wait_for_what_is_left_to_decode(tasks: DecoderQueue) -> None:
    tasks.put((CODEC, frame(KEY)))
    tasks.put((CODEC, frame(DELTA)))
    tasks.put(None)
    assert tasks.get() is None
