"""Packets of a live stream that waited too long: left out, and nothing that is shown builds on them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.video.frame import VideoFrame

from server.cameras.arrivals import Damaged, Late
from server.cameras.ffmpeg import listening
from server.cameras.lag import BEHIND_S, CatchUp
from server.cameras.packets import whole_frames

FPS, FRAMES, KEY_EVERY = 10, 200, 10
CODECS = {"mpeg4": ("mpeg4", {}), "h264": ("libx264", {"bf": "0"}), "h264 with B frames": ("libx264", {"bf": "2"})}


def film(path: Path, codec: str) -> Path:
    name, options = CODECS[codec]
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(name, rate=FPS, options={"g": str(KEY_EVERY), "sc_threshold": "0"} | options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, number, axis=1), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class Line:
    """Sends a film at its own rate to a reader whose decoder takes so long for a frame, by a clock of its own."""

    def __init__(self, path: Path, decode_s: float) -> None:
        self.now = 0.0
        self._path, self._decode_s = path, decode_s

    def read(self, catch_up: CatchUp | None) -> list[tuple[object, float]]:
        """What comes of it, and when."""
        found: list[tuple[object, float]] = []
        with listening() as said, av.open(str(self._path)) as self._container:
            live = cast(InputContainer, self)
            for arrival in whole_frames(live, self._container.streams.video[0], said, 1_000_000, catch_up):
                found.append((arrival, self.now))
                self.now += self._decode_s if isinstance(arrival, VideoFrame) else 0
        return found

    def demux(self) -> Iterator[Any]:
        for packet in self._container.demux():
            if packet.dts is not None:
                self.now = max(self.now, float(packet.dts * packet.time_base))
            yield packet


def shown(found: list[tuple[object, float]]) -> dict[int, tuple[bytes, float]]:
    """Pictures by the number of their frame, and how late each was."""
    frames = [(frame, now) for frame, now in found if isinstance(frame, VideoFrame)]
    return {
        round((frame.time or 0) * FPS): (frame.to_ndarray(format="bgr24").tobytes(), now - (frame.time or 0))
        for frame, now in frames
    }


@pytest.mark.parametrize("codec", CODECS)
def test_a_slow_decoder_shows_what_is_new_and_whole(tmp_path: Path, codec: str) -> None:
    path = film(tmp_path / "film.mp4", codec)
    everything = shown(Line(path, 0).read(None))
    slow = Line(path, 2.5 / FPS)
    found = slow.read(CatchUp(lambda: slow.now))
    pictures = shown(found)
    assert max(late for _, late in pictures.values()) <= BEHIND_S + 3 / FPS  # B frames are held back by the decoder
    assert all(picture == everything[number][0] for number, (picture, _) in pictures.items())
    assert not any(isinstance(arrival, Damaged) for arrival, _ in found)
    dropped = sum(isinstance(arrival, Late) for arrival, _ in found)
    assert FRAMES / 4 < dropped < FRAMES * 3 / 4
    # What the decoder holds when packets are dropped goes with them: of B frames, a few each time.
    assert len(pictures) + dropped == FRAMES if "B" not in codec else len(pictures) + dropped <= FRAMES
    gaps = [number for number in pictures if number and number - 1 not in pictures]
    assert gaps
    assert all(number % KEY_EVERY == 0 for number in gaps if "B" not in codec)


def test_a_decoder_that_keeps_up_shows_everything(tmp_path: Path) -> None:
    quick = Line(film(tmp_path / "film.mp4", "h264"), 0.9 / FPS)
    assert list(shown(quick.read(CatchUp(lambda: quick.now)))) == list(range(FRAMES))


def test_nobody_who_plays_a_file_leaves_anything_out(tmp_path: Path) -> None:
    assert list(shown(Line(film(tmp_path / "film.mp4", "h264"), 2.5 / FPS).read(None))) == list(range(FRAMES))
