"""The two session descriptions of a WebRTC connection: what is taken of an offer, what is added to an
answer."""

from __future__ import annotations

from aiortc.sdp import SessionDescription

MAX_LINES = 1_000
"""A browser's offer has 100 to 300 lines; aiortc's parser takes time with the square of them."""

MAX_CANDIDATES = 32

START_KBPS = 2_500
MIN_KBPS = 1_500
MAX_KBPS = 4_000
"""Bitrates given to the sender. Browsers start at 250–450 kbit/s and shrink the picture, and small defects with it.
A textured 640×480 picture settles at 1.1 Mbit/s (VP8 quantizer 59) with a lowest rate of 800, at 2.4 (42) with this."""

VIDEO_CODECS = ("VP8/90000", "H264/90000")


def checked_offer(sdp: str) -> str:
    """An offer as aiortc may have it: one video track coming in, at most one data channel transport.

    Candidates with ``.local`` names are left out: looking one up stalls for a second where there is no mDNS,
    and the browser's own checks tell us its address anyway.

    Raises:
        ValueError: saying what is wrong with it.
    """
    lines = sdp.splitlines()
    if len(lines) > MAX_LINES:
        raise ValueError(f"the SDP has more than {MAX_LINES} lines; offer one video track and one data channel")
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    hidden = [line for line in candidates if ".local" in line]
    if len(candidates) - len(hidden) > MAX_CANDIDATES:
        raise ValueError(f"the SDP has more than {MAX_CANDIDATES} candidates")
    # More candidates are to be expected, from the browser's checks, than the browser has told.
    dropped = {*hidden, "a=end-of-candidates"}
    kept = "\r\n".join(line for line in lines if line not in dropped) + "\r\n"
    try:
        description = SessionDescription.parse(kept)
    except Exception as error:  # aiortc meets broken text with AssertionError, KeyError, StopIteration, …
        raise ValueError("the SDP cannot be read; send the browser's offer as it is") from error
    _check_media(description)
    return kept


def _check_media(description: SessionDescription) -> None:
    kinds = [media.kind for media in description.media]
    if kinds.count("video") != 1 or kinds.count("application") > 1 or set(kinds) - {"video", "application"}:
        raise ValueError("offer exactly one video track, at most one data channel transport, and no audio")
    for media in description.media:
        if media.kind == "video" and media.direction not in ("sendonly", "sendrecv"):
            raise ValueError("the offered video track does not send; offer it as sendonly")
        if media.dtls is None or not media.dtls.fingerprints:
            raise ValueError("the SDP has no DTLS fingerprint; send the browser's offer as it is")
        if media.kind == "application" and media.profile != "DTLS/SCTP" and media.sctp_port is None:
            raise ValueError("the SDP has no sctp-port; send the browser's offer as it is")


def with_bitrates(sdp: str) -> str:
    """An answer with the sender's start, lowest and highest bitrate in every VP8 and H264 format (Chromium,
    Safari)."""
    bitrates = f"x-google-start-bitrate={START_KBPS};x-google-min-bitrate={MIN_KBPS};x-google-max-bitrate={MAX_KBPS}"
    lines = sdp.splitlines()
    formats = [line[len("a=rtpmap:") :].split(" ", 1) for line in lines if line.startswith("a=rtpmap:")]
    for number in [number for number, codec in formats if codec in VIDEO_CODECS]:
        parameters = f"a=fmtp:{number} "
        for index, line in enumerate(lines):
            if line.startswith(parameters):
                lines[index] = f"{line};{bitrates}"
                break
        else:
            mapping = next(i for i, line in enumerate(lines) if line.startswith(f"a=rtpmap:{number} "))
            lines.insert(mapping + 1, parameters + bitrates)
    return "\r\n".join(lines) + "\r\n"
