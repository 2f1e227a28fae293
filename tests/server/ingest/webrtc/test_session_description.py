"""What is taken of an offer and added to an answer."""

from __future__ import annotations

import pytest

from server.ingest.webrtc.session_description import CheckedOffer, checked_offer, with_bitrates

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
SESSION = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
TRANSPORT = ["a=ice-ufrag:abcd", "a=ice-pwd:" + "x" * 22, FINGERPRINT, "a=setup:actpass"]
VIDEO = [
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102",
    "c=IN IP4 0.0.0.0",
    "a=sendonly",
    "a=mid:0",
    "a=rtcp-mux",
    "a=rtpmap:96 VP8/90000",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
    "a=rtpmap:102 H264/90000",
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    *TRANSPORT,
]
DATA = [
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=mid:1",
    "a=sctp-port:5000",
    *TRANSPORT,
]
HIDDEN = "a=candidate:1 1 udp 2113937151 a1b2c3d4.local 50000 typ host"
OPEN = "a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host"


def text(*parts: list[str]) -> str:
    return "\r\n".join(line for part in (SESSION, *parts) for line in part) + "\r\n"


def test_a_browsers_offer_is_kept_as_it_is() -> None:
    offer = text(VIDEO, DATA, [OPEN])
    assert checked_offer(offer) == CheckedOffer(offer)


def test_hidden_addresses_are_left_out_and_more_are_expected() -> None:
    assert checked_offer(text(VIDEO, [OPEN, HIDDEN, "a=end-of-candidates"])).sdp == text(VIDEO, [OPEN]).replace(
        "BUNDLE 0 1", "BUNDLE 0"
    )


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        ("", "one video track"),
        ("nonsense", "one video track"),
        ("v=zero\r\n", "cannot be read"),
        ("m=video\r\n", "cannot be read"),
        (text(DATA), "one video track"),
        (text(VIDEO).replace("ufrag:abcd", "ufrag:<14>forged"), "ice-ufrag"),
        (text(VIDEO).replace("ufrag:abcd", "ufrag:" + "a" * 70_000), "ice-ufrag"),
        (text(VIDEO).replace("pwd:", "pwd:\u00e9"), "ice-pwd"),
        (text(VIDEO, VIDEO), "one video track"),
        (text(VIDEO, DATA, DATA), "one data channel"),
        (text(VIDEO, *[["m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=rtpmap:111 opus/48000/2"]] * 9), "one video track"),
        (text(VIDEO, DATA).replace("sctp-port:5000", "sctp-port:99999"), "sctp-port"),
        (text(VIDEO).replace("sendonly", "recvonly"), "does not send"),
        (text(VIDEO).replace("a=sendonly\r\n", ""), "does not send"),
        (text(VIDEO).replace(FINGERPRINT + "\r\n", ""), "fingerprint"),
        (text(VIDEO, DATA).replace("a=sctp-port:5000\r\n", ""), "sctp-port"),
        (text(VIDEO, [OPEN] * 33), "candidates"),
        (text(VIDEO, ["a=x"] * 1000), "lines"),
    ],
)
def test_what_cannot_be_used_is_refused(offer: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        checked_offer(offer)


def test_bitrates_are_added_to_vp8_and_h264_and_to_nothing_else() -> None:
    before = text(VIDEO, DATA)
    after = with_bitrates(before)
    bitrates = "x-google-start-bitrate=2500;x-google-min-bitrate=1500;x-google-max-bitrate=4000"
    assert f"a=rtpmap:96 VP8/90000\r\na=fmtp:96 {bitrates}\r\n" in after
    assert f"profile-level-id=42001f;{bitrates}\r\n" in after
    assert after.count("x-google-start-bitrate") == 2
    assert [line for line in after.splitlines() if "x-google" not in line] == [
        line for line in before.splitlines() if not line.startswith("a=fmtp:102")
    ]
