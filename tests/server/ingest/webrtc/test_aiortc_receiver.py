"""Does the installed aiortc fit, and what happens when it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiortc.rtcrtpreceiver import RemoteStreamTrack, RTCRtpReceiver

from server.ingest.webrtc import aiortc_receiver
from server.ingest.webrtc.aiortc_receiver import DECODER_QUEUE, JITTER_BUFFER, DecoderSeat, adapt, misfit
from server.ingest.webrtc.marker_bit_release import MarkerBitJitterBuffer


def new_receiver() -> Any:
    return RTCRtpReceiver("video", SimpleNamespace(state="new"))


def test_the_installed_aiortc_fits() -> None:
    assert aiortc_receiver.MISFIT is None


async def test_adapt_replaces_buffer_and_decoder() -> None:
    receiver = new_receiver()
    receiver._track = RemoteStreamTrack("video")
    assert adapt(receiver, [].append, 1000)
    assert isinstance(getattr(receiver, JITTER_BUFFER), MarkerBitJitterBuffer)
    assert isinstance(getattr(receiver, DECODER_QUEUE), DecoderSeat)


@pytest.mark.parametrize("version", ["1.15.0", "1.17.0", "2.16.0", "11.6"])
def test_another_version_does_not_fit(version: str) -> None:
    assert version in (misfit(version, new_receiver()) or "")


def test_another_receiver_does_not_fit() -> None:
    receiver = new_receiver()
    setattr(receiver, DECODER_QUEUE, [])
    assert "decoder_queue" in (misfit("1.16.3", receiver) or "")


def test_a_misfit_leaves_the_receiver_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc_receiver, "MISFIT", "another aiortc")
    receiver = new_receiver()
    before = dict(vars(receiver))
    assert not adapt(receiver, [].append, 1000)
    assert vars(receiver) == before
