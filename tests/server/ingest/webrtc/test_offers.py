"""What real clients offer, whole and damaged: each is answered, or refused in a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from server.ingest.webrtc.session_description import CheckedOffer, checked_offer
from tests.fuzz.fuzzing import fuzz

OFFERS = sorted((Path(__file__).parent / "offers").glob("*.sdp"))
"""Of Chromium 150, Firefox 140 and GStreamer 1.22."""

TOKENS = [
    b"\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    b"\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    b"\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    b"\r\na=mid:\r\n",
    b"\r\na=rtpmap:96 VP8/90000\r\n",
    b"\r\na=fmtp:96 apt=x\r\n",
    b"\r\na=fmtp:102 profile-level-id=zzzzzz;packetization-mode=x\r\n",
    b"\r\na=candidate:1 1 udp 1 127.0.0.1 99999 typ host\r\n",
    b"\r\na=candidate:1 1 udp 1 ::1%lo 9 typ relay raddr x rport y\r\n",
    b"\r\na=setup:holdconn\r\n",
    b"\r\na=setup:active\r\n",
    b"\r\na=ice-lite\r\n",
    b"\r\na=group:BUNDLE\r\n",
    b"\r\na=sctp-port:0\r\n",
    b"\r\na=ssrc-group:FID x\r\n",
    b"\r\na=extmap:999 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
    b"\xe2\x80\xa8",
    b"9" * 40,
]


@pytest.mark.parametrize("path", OFFERS, ids=lambda path: path.stem)
def test_what_real_clients_offer_is_taken(path: Path) -> None:
    offered = SessionDescription.parse(path.read_text())
    offer = checked_offer(path.read_text())
    kinds = [media.kind for media in SessionDescription.parse(offer.sdp).media]
    assert kinds == [media.kind for media in offered.media if media.kind != "audio"]
    codecs = {codec.name for media in SessionDescription.parse(offer.sdp).media for codec in media.rtp.codecs}
    assert codecs <= {"VP8", "H264", "rtx"} and codecs & {"VP8", "H264"}


def test_audio_is_answered_with_a_no_where_it_stood() -> None:
    offer = checked_offer(read("chromium_audio"))
    answer = SessionDescription.parse(offer.answer(offer.sdp.replace("m=video 0 ", "m=video 5000 ")))
    offered = SessionDescription.parse(read("chromium_audio"))
    assert [media.rtp.muxId for media in answer.media] == [media.rtp.muxId for media in offered.media]
    (no,) = [media for media in answer.media if media.kind == "audio"]
    assert no.direction == "inactive"


def test_the_first_of_a_bundle_goes_on_carrying_it() -> None:
    """GStreamer never connects when the section whose transport the others use is taken away."""
    assert sections("gstreamer_audio")[1].startswith("audio")
    offer = checked_offer(read("gstreamer_audio"))
    assert "m=audio" not in offer.sdp
    answer = SessionDescription.parse(offer.answer(offer.sdp.replace("m=video 0 ", "m=video 5000 ")))
    assert [media.kind for media in answer.media] == ["audio", "video"]
    assert answer.media[0].port != 0 and answer.media[0].direction == "inactive"
    assert answer.group[0].items == [media.rtp.muxId for media in answer.media]


def test_of_other_audio_the_port_is_0() -> None:
    first, audio, video = sections("gstreamer_audio")
    group = next(line for line in first.splitlines() if line.startswith("a=group:"))
    name, one, other = group.split(" ")
    offer = checked_offer(f"{first.replace(group, ' '.join((name, other, one)))}m={video}m={audio}")
    answer = SessionDescription.parse(offer.answer(offer.sdp.replace("m=video 0 ", "m=video 5000 ")))
    assert [(media.kind, media.port == 0) for media in answer.media] == [("video", False), ("audio", True)]
    assert answer.group[0].items == [answer.media[0].rtp.muxId]


def test_what_stands_only_in_the_first_of_a_bundle_holds_for_the_video() -> None:
    first, audio, video = sections("gstreamer_audio")
    transport = ("a=ice-", "a=fingerprint:", "a=setup:")
    video = "\r\n".join(line for line in video.splitlines() if not line.startswith(transport)) + "\r\n"
    candidate = "a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host"
    offer = checked_offer(f"{first}m={audio}{candidate}\r\nm={video}")
    (media,) = SessionDescription.parse(offer.sdp).media
    assert media.ice.usernameFragment and media.dtls is not None and media.dtls.fingerprints
    assert [one.ip for one in media.ice_candidates] == ["192.0.2.7"]


@pytest.mark.parametrize(
    "candidate",
    [
        "1 1 tcp 1 192.0.2.7 9 typ host tcptype active",
        "1 1 udp 1 192.0.2.7 0 typ host",
        "1 1 udp 1 192.0.2.7 65536 typ host",
        "1 1 udp 1 224.0.0.1 9 typ host",
        "1 1 udp 1 0.0.0.0 9 typ host",
        "1 1 udp 1 255.255.255.255 9 typ host",
        "1 1 udp 1 printer.example 9 typ host",
    ],
)
def test_candidates_that_lead_to_no_machine_are_left_out(candidate: str) -> None:
    offer = read("gstreamer_video")
    assert checked_offer(f"{offer}a=candidate:{candidate}\r\n") == CheckedOffer(checked_offer(offer).sdp)


def test_formats_by_the_hundred_are_refused() -> None:
    """aiortc compares each with each: 470 of them and as many wishes held the event loop for 1.2 s."""
    offer = read("gstreamer_video")
    for lines, words in (
        ([f"a=rtpmap:{96 + n % 30} VP8/90000" for n in range(470)], "more than 128 lines of a=rtpmap"),
        ([f"a=rtpmap:{96 + n % 30} VP8/90000" for n in range(60)], "more than 48 formats"),
        (["a=rtcp-fb:* nack pli"] * 9, "more than 8 lines"),
        (["a=rtcp-fb:96 nack pli"] * 400, "more than 256 lines"),
    ):
        with pytest.raises(ValueError, match=words):
            checked_offer(offer + "\r\n".join(lines) + "\r\n")


def test_damaged_offers_are_refused_in_a_sentence() -> None:
    seeds = [path.read_bytes() for path in OFFERS]
    assert fuzz("tests.fuzz.targets:offered_session", seeds, tokens=TOKENS, seconds=8) >= len(seeds)


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_a_media_line_that_is_cut_short_is_refused(kind: str) -> None:
    """Of audio it was answered with a no, for which there was not enough of it: 500."""
    offer = read("gstreamer_audio")
    line = next(line for line in offer.splitlines() if line.startswith(f"m={kind} "))
    for words in range(1, 4):
        with pytest.raises(ValueError, match="media line"):
            checked_offer(offer.replace(line, " ".join(line.split(" ")[:words])))


def test_a_bundle_of_what_is_not_there_is_none() -> None:
    """aiortc took it for its own, and then could neither answer nor close: 500, and sockets that stayed."""
    offer = read("gstreamer_video")
    group = next(line for line in offer.splitlines() if line.startswith("a=group:"))
    assert "BUNDLE" not in checked_offer(offer.replace(group, "a=group:BUNDLE ghost")).sdp
    assert checked_offer(offer.replace(group, f"{group} ghost")).sdp == checked_offer(offer).sdp


def test_two_sections_of_one_mid_are_refused() -> None:
    first, audio, video = sections("gstreamer_audio")
    with pytest.raises(ValueError, match="same mid"):
        checked_offer(f"{first}m={video}m={audio.replace('a=mid:audio0', 'a=mid:video1')}")


def sections(name: str) -> list[str]:
    return re.split("^m=", read(name), flags=re.MULTILINE)


def read(name: str) -> str:
    return next(path for path in OFFERS if path.stem == name).read_text()
