"""RTP packets in, encoded video frames out, each at its last packet.

The RTP marker bit says "last packet of this frame" (VP8: RFC 7741, H264: RFC 6184). aiortc's own jitter
buffer does not look at it: it gives a frame out when the first packet of the *next* one arrives, one frame
interval later, and one frame per packet at most, so that after a loss a stream of one-packet frames stays
late for good.

Plain arithmetic on packets: no sockets, no clock. :mod:`server.ingest.webrtc.aiortc_receiver` puts it to work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

CAPACITY = 512
"""Packets kept while one is missing, as in aiortc."""

MAX_MISORDER = 100
"""A packet this far behind may be a restarted sender, as in aiortc."""

PATIENCE_TICKS = 45_000
"""How much older than the newest packet a frame may be that still misses one: half a second (90 kHz). aiortc
waits for 512 packets, which is ten seconds of a quiet stream."""

LATE_TICKS = 10 * 90_000
"""A packet far behind is merely late, not a restarted sender, if its timestamp is at most 10 s old (90
kHz)."""


class Packet(Protocol):
    """What is used of ``aiortc.rtp.RtpPacket``; ``_data`` is its payload without the codec's packet
    header."""

    payload_type: int
    marker: int
    sequence_number: int
    timestamp: int
    payload: bytes
    _data: bytes


class Codec(Protocol):
    """What is used of ``aiortc.RTCRtpCodecParameters``."""

    @property
    def name(self) -> str: ...


@dataclass(slots=True)
class CompleteFrame:
    """One encoded frame, from its first packet to its last. aiortc's receiver rewrites ``timestamp``."""

    data: bytes
    timestamp: int
    rtp_timestamp: int
    after_gap: bool
    """Packets were lost before this frame: only a keyframe can be decoded without damage."""
    following: CompleteFrame | None = None
    """The next frame, when one packet completed several."""


class MarkerBitJitterBuffer:
    """Puts packets in order and gives out complete frames, in order, each once.

    A frame is complete when all its packets are there, from its first to the one with the marker bit or,
    where the sender sets none, to the first packet of the next frame (aiortc's rule). What aiortc gives out
    whole, this gives out too, identical and never later, unless a packet is missing for more than
    :data:`PATIENCE_TICKS`; parts of frames, which aiortc gives out after a loss, are not given out.

    Args:
        codecs: codec of each payload type; read when packets come, so it may be filled later.
        capacity: packets kept while one is missing.
    """

    def __init__(self, codecs: Mapping[int, Codec], capacity: int = CAPACITY) -> None:
        self._codecs = codecs
        self._capacity = capacity
        self._packets: dict[int, Packet] = {}
        self._origin: int | None = None
        self._origin_starts_frame = False
        self._gap = True
        self._released: int | None = None
        self._marker_ends_frame = True

    def add(self, packet: Packet) -> tuple[bool, CompleteFrame | None]:
        """Take one packet.

        Returns:
            whether packets were given up, so that the sender should be asked for a keyframe, and the frames
            this packet completed, linked by ``following``.
        """
        number = packet.sequence_number
        if self._origin is None:
            self._origin = number
        gave_up = False
        frames: list[CompleteFrame] = []
        if self._is_behind(number):
            if self._is_late(packet):
                return False, None
            self._packets.clear()
            self._start_at(number)
            gave_up = True
        while (number - self._origin) & 0xFFFF >= self._capacity:
            self._give_up_a_packet(number)
            frames += self._complete_frames()
            gave_up = True
        self._packets[number] = packet
        frames += self._complete_frames()
        while not frames and self._is_overdue(packet):
            self._give_up_a_packet(number)
            frames += self._complete_frames()
            gave_up = True
        for frame, following in pairwise(frames):
            frame.following = following
        return gave_up, frames[0] if frames else None

    def _is_behind(self, number: int) -> bool:
        assert self._origin is not None
        return (number - self._origin) & 0xFFFF > 0x8000

    def _is_late(self, packet: Packet) -> bool:
        """Whether a packet behind the origin is merely late, rather than the first of a restarted sender."""
        assert self._origin is not None
        if (self._origin - packet.sequence_number) & 0xFFFF < MAX_MISORDER:
            return True
        # A large frame is released at once here, so a late copy of its first packet can be hundreds behind.
        return self._released is not None and (self._released - packet.timestamp) & 0xFFFFFFFF < LATE_TICKS

    def _is_overdue(self, newest: Packet) -> bool:
        """Whether the oldest waiting packet is too old to wait any longer for the one that is missing."""
        assert self._origin is not None
        if not self._packets:
            return False
        number = self._origin
        while (oldest := self._packets.get(number)) is None:
            number = (number + 1) & 0xFFFF
        return PATIENCE_TICKS < (newest.timestamp - oldest.timestamp) & 0xFFFFFFFF < 0x80000000

    def _start_at(self, number: int) -> None:
        self._origin = number
        self._origin_starts_frame = False
        self._gap = True

    def _give_up_a_packet(self, newest: int) -> None:
        """Move on from the packet that is missing, and from what is there of its frame."""
        assert self._origin is not None
        first = self._packets.get(self._origin)
        number = self._origin
        while self._packets:
            packet = self._packets.get(number)
            if packet is not None:
                if first is None or packet.timestamp != first.timestamp:
                    self._start_at(number)
                    return
                del self._packets[number]
            number = (number + 1) & 0xFFFF
        self._start_at(newest)

    def _complete_frames(self) -> list[CompleteFrame]:
        frames = []
        while (frame := self._next_frame()) is not None:
            frames.append(frame)
        return frames

    def _next_frame(self) -> CompleteFrame | None:
        while packets := self._take_packets_of_a_frame():
            whole = self._origin_starts_frame or self._starts_frame(packets[0])
            self._origin_starts_frame = True
            self._released = timestamp = packets[0].timestamp
            data = b"".join(packet._data for packet in packets)
            if not whole:
                self._gap = True
            elif data:
                frame = CompleteFrame(data, timestamp, timestamp, after_gap=self._gap)
                self._gap = False
                return frame
        return None

    def _take_packets_of_a_frame(self) -> list[Packet]:
        """The packets of the frame at the origin, taken out of the buffer; empty while one is missing."""
        assert self._origin is not None
        taken: list[Packet] = []
        number = self._origin
        while (packet := self._packets.get(number)) is not None:
            if not taken and packet.timestamp == self._released:
                self._drop_behind_marker(packet)
                number = self._origin
                continue
            if taken and packet.timestamp != taken[0].timestamp:
                break
            taken.append(packet)
            number = (number + 1) & 0xFFFF
            if packet.marker and self._marker_ends_frame:
                break
        else:
            return []
        for packet in taken:
            del self._packets[packet.sequence_number]
        self._origin = number
        return taken

    def _drop_behind_marker(self, packet: Packet) -> None:
        """Drop a packet at the origin that has the timestamp of the frame already released.

        An empty one is padding, which senders use to probe the network. Any other means that this sender's
        marker bits do not end frames: from here on aiortc's rule holds.
        """
        assert self._origin is not None
        del self._packets[self._origin]
        self._origin = (self._origin + 1) & 0xFFFF
        if packet._data:
            self._marker_ends_frame = False
            self._gap = True

    def _starts_frame(self, packet: Packet) -> bool:
        """Whether a packet may be the first of its frame, by its codec's packet header."""
        codec = self._codecs.get(packet.payload_type)
        if codec is not None and codec.name.upper() == "VP8":
            return bool(packet.payload) and packet.payload[0] & 0x17 == 0x10
        # In H264 only the continuation of a fragmented unit is certainly not a first packet; it has no start
        # code.
        return packet._data.startswith(b"\0\0\0\1")
