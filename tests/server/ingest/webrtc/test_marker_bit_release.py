"""The marker-bit jitter buffer against packet sequences, and against aiortc's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from aiortc.codecs import depayload
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from server.ingest.webrtc.marker_bit_release import MarkerBitJitterBuffer

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=97)
H264 = RTCRtpCodecParameters(mimeType="video/H264", clockRate=90000, payloadType=99)
CODECS = {97: VP8, 99: H264}
BOTH = pytest.mark.parametrize("codec", [VP8, H264], ids=["VP8", "H264"])

Frame = tuple[int, bytes]


@dataclass
class Sender:
    """Cuts frames into RTP packets, as a browser does, and remembers what each frame was."""

    codec: RTCRtpCodecParameters
    number: int = 1000
    timestamp: int = 5000
    ticks: int = 3000
    frames: list[Frame] = field(default_factory=list)

    def frame(self, packets: int = 3, marker: bool = True) -> list[RtpPacket]:
        self.timestamp = (self.timestamp + self.ticks) & 0xFFFFFFFF
        body = [bytes([len(self.frames) & 0xFF, i]) * 3 for i in range(packets)]
        made = [self._packet(payload) for payload in self._payloads(body)]
        made[-1].marker = int(marker)
        self.frames.append((self.timestamp, b"".join(packet._data for packet in made)))
        return made

    def padding(self) -> RtpPacket:
        return self._packet(b"")

    def _payloads(self, body: list[bytes]) -> list[bytes]:
        last = len(body) - 1
        if self.codec is VP8:
            return [(b"\x10" if i == 0 else b"\x00") + part for i, part in enumerate(body)]
        if last == 0:
            return [b"\x61" + body[0]]
        flags = [0x80 * (i == 0) | 0x40 * (i == last) | 1 for i in range(len(body))]
        return [bytes([0x7C, flag]) + part for flag, part in zip(flags, body, strict=True)]

    def _packet(self, payload: bytes) -> RtpPacket:
        packet = RtpPacket(
            payload_type=self.codec.payloadType,
            sequence_number=self.number,
            timestamp=self.timestamp,
            payload=payload,
        )
        packet._data = depayload(self.codec, payload) if payload else b""
        self.number = (self.number + 1) & 0xFFFF
        return packet


class Receiver:
    """Everything a buffer gave out, frames linked behind others included."""

    def __init__(self, capacity: int = 512) -> None:
        self.buffer = MarkerBitJitterBuffer(CODECS, capacity)
        self.frames: list[Frame] = []
        self.after_gap: list[bool] = []
        self.gave_up = 0

    def add(self, *packets: RtpPacket) -> list[Frame]:
        before = len(self.frames)
        for packet in packets:
            gave_up, frame = self.buffer.add(packet)
            self.gave_up += gave_up
            while frame is not None:
                self.frames.append((frame.timestamp, frame.data))
                self.after_gap.append(frame.after_gap)
                frame = frame.following
        return self.frames[before:]


@BOTH
def test_a_frame_comes_out_with_its_marker_bit(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    for _ in range(5):
        *first, last = sender.frame()
        assert receiver.add(*first) == []
        assert receiver.add(last) == [sender.frames[-1]]


@BOTH
def test_a_reordered_frame_comes_out_with_its_last_missing_packet(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    receiver.add(*sender.frame())
    a, b, c = sender.frame()
    assert receiver.add(c, b) == []
    assert receiver.add(a) == [sender.frames[-1]]


@BOTH
def test_one_late_packet_completes_every_frame_behind_it(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    receiver.add(*sender.frame())
    a, late, c = sender.frame()
    rest = [packet for _ in range(3) for packet in sender.frame(packets=1)]
    assert receiver.add(a, c, *rest) == []
    assert receiver.add(late) == sender.frames[1:]
    assert receiver.add(*sender.frame(packets=1)) == sender.frames[-1:], "and nothing stays one frame late"
    assert receiver.after_gap == [True] + [False] * 5


@BOTH
def test_without_marker_the_next_frame_releases(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    assert receiver.add(*sender.frame(marker=False)) == []
    assert receiver.add(*sender.frame()) == sender.frames


@BOTH
def test_sequence_numbers_and_timestamps_wrap(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec, number=65530, timestamp=2**32 - 6000), Receiver()
    for _ in range(8):
        assert receiver.add(*sender.frame()) == sender.frames[-1:]


@BOTH
def test_copies_of_a_released_frame_are_harmless(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    receiver.add(*sender.frame())
    large = sender.frame(packets=200)
    assert receiver.add(*large) == sender.frames[1:]
    assert receiver.add(*large) == []
    assert receiver.add(*sender.frame()) == sender.frames[2:]
    assert receiver.gave_up == 0


@BOTH
def test_a_sender_that_starts_again_is_followed(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec, number=20000), Receiver()
    receiver.add(*sender.frame())
    sender.number, sender.timestamp = 300, 123_000_000
    assert receiver.add(*sender.frame()) == sender.frames[1:]
    assert receiver.gave_up == 1
    assert receiver.after_gap == [True, True]


@BOTH
def test_a_frame_joined_in_the_middle_is_not_given_out(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    assert receiver.add(*sender.frame()[1:]) == []
    assert receiver.add(*sender.frame()) == sender.frames[1:]


@BOTH
def test_padding_behind_a_frame_is_no_frame(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    receiver.add(*sender.frame())
    assert receiver.add(sender.padding(), sender.padding()) == []
    assert receiver.add(*sender.frame()) == sender.frames[1:]
    assert receiver.after_gap == [True, False]


@BOTH
def test_where_the_marker_does_not_end_frames_the_stock_rule_holds(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    for _ in range(3):
        a, b, c = sender.frame()
        a.marker = 1
        receiver.add(a, b, c)
    receiver.add(*sender.frame())
    assert receiver.frames[1:] == sender.frames[1:3], "the first was cut, the others are whole, each once"
    assert receiver.after_gap[1:] == [True, False], "the decoder must know that the first was cut"


@BOTH
def test_a_packet_that_never_comes_is_waited_for_half_a_second(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    receiver.add(*sender.frame())
    a, _, c = sender.frame()
    receiver.add(a, c)
    for _ in range(15):
        assert receiver.add(*sender.frame()) == []
    assert receiver.add(*sender.frame())[:15] == sender.frames[2:17]
    assert receiver.gave_up == 1
    assert receiver.after_gap == [True, True] + [False] * 15


@BOTH
def test_a_slow_sender_is_not_taken_for_a_lossy_one(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec, ticks=450_000), Receiver()
    for _ in range(4):
        assert receiver.add(*sender.frame()) == sender.frames[-1:]
    assert receiver.gave_up == 0


@BOTH
def test_a_whole_lost_frame_is_a_gap(codec: RTCRtpCodecParameters) -> None:
    sender, receiver = Sender(codec), Receiver()
    receiver.add(*sender.frame())
    sender.frame()
    for _ in range(20):
        receiver.add(*sender.frame())
    assert receiver.frames == [sender.frames[0], *sender.frames[2:]]
    assert receiver.after_gap == [True, True] + [False] * 19


def test_h264_parameter_sets_and_picture_in_one_frame() -> None:
    sender, receiver = Sender(H264), Receiver()
    a, b, c = sender.frame()
    a.payload = b"\x78\x00\x02\x67\x01\x00\x02\x68\x02"
    a._data = depayload(H264, a.payload)
    assert receiver.add(a, b, c)[0][1] == a._data + b._data + c._data


@dataclass(frozen=True)
class Journey:
    """Packets in the order they arrive, and the frames that were sent."""

    packets: list[RtpPacket]
    sent: list[Frame]


@st.composite
def journeys(draw: st.DrawFn, codec: RTCRtpCodecParameters) -> Journey:
    """Random loss, reordering and duplication of random frames, with a clean end that flushes both buffers."""
    sender = Sender(
        codec,
        number=draw(st.sampled_from([0, 1000, 65500, 65535])),
        timestamp=draw(st.sampled_from([0, 2**32 - 3000])),
        ticks=300,
    )
    packets: list[RtpPacket] = []
    for size, padding, marker in draw(
        st.lists(
            st.tuples(st.integers(1, 6), st.integers(0, 2), st.sampled_from([True, True, True, False])),
            min_size=1,
            max_size=30,
        )
    ):
        packets += sender.frame(size, marker)
        if marker:
            packets += [sender.padding() for _ in range(padding)]
    arrivals: list[tuple[int, int, RtpPacket]] = []
    fates = st.sampled_from(["straight", "straight", "straight", "straight", "lost", "late", "twice"])
    for index, packet in enumerate(packets):
        fate = draw(fates)
        if fate in ("straight", "twice"):
            arrivals.append((index, index, packet))
        if fate in ("late", "twice"):
            arrivals.append((index + draw(st.integers(1, 30)), index, packet))
    arrived = [packet for _, _, packet in sorted(arrivals, key=lambda arrival: arrival[:2])]
    for _ in range(70):
        arrived += sender.frame(2)
    return Journey(arrived, sender.frames)


@dataclass
class Stock:
    """aiortc's own buffer."""

    capacity: int
    gave_up: bool = False

    def __post_init__(self) -> None:
        self.buffer = JitterBuffer(capacity=self.capacity, is_video=True)

    def add(self, packet: RtpPacket) -> Frame | None:
        gave_up, frame = self.buffer.add(packet)
        self.gave_up |= gave_up
        return None if frame is None else (frame.timestamp, frame.data)


@BOTH
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_stock_gives_out_whole_comes_out_identical_and_not_later(
    codec: RTCRtpCodecParameters, data: st.DataObject
) -> None:
    journey = data.draw(journeys(codec))
    receiver, stock = Receiver(capacity=64), Stock(capacity=64)
    owed: set[Frame] = set()
    for packet in journey.packets:
        receiver.add(packet)
        frame = stock.add(packet)
        if frame in journey.sent:
            owed.add(frame)
        # Full buffers give up at slightly different packets, as they start at different ones.
        assert stock.gave_up or owed <= set(receiver.frames)
    assert owed <= set(receiver.frames)
    places = [journey.sent.index(frame) for frame in receiver.frames]
    assert places == sorted(set(places)), "in order, each once, each whole"
