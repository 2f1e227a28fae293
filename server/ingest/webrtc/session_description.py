"""The two session descriptions of a WebRTC connection: what is taken of an offer, what is added to an
answer."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from aiortc.sdp import SessionDescription

MAX_LINES = 1_000
"""A browser's offer has 100 to 300 lines."""

MAX_OF_A_KIND = {
    "rtpmap": 128,
    "rtcp-fb": 256,
    "rtcp-fb:*": 8,
    "fmtp": 128,
    "extmap": 64,
    "ssrc": 64,
    "ssrc-group": 16,
    "fingerprint": 8,
}
"""Lines of one kind in an offer. aiortc compares many with each other: a thousand formats took it 1.2 s."""

MAX_FORMATS = 48
"""Of VP8, H264 and their retransmissions; Chromium has about 20."""

MAX_CANDIDATES = 32
MAX_REJECTED = 8
"""Audio tracks; OBS and most encoders offer one."""

START_KBPS = 2_500
MIN_KBPS = 1_500
MAX_KBPS = 4_000
"""Bitrates given to the sender. Browsers start at 250–450 kbit/s and shrink the picture, and small defects with it.
A textured 640×480 picture settles at 1.1 Mbit/s (VP8 quantizer 59) with a lowest rate of 800, at 2.4 (42) with this."""

VIDEO_CODECS = ("VP8/90000", "H264/90000")

TRANSPORT = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:", "a=candidate:")

_ICE_LOGIN = re.compile(r"a=ice-(?:ufrag:[A-Za-z0-9+/=_-]{4,256}|pwd:[A-Za-z0-9+/=_-]{22,256})", re.ASCII)
"""RFC 8839, 5.4, and three signs that others take too. The first goes out, readable, to every address that the offer
names as a candidate: with any text in it, whoever may offer could have this server write to the syslog of another."""

_MEDIA = re.compile(r"m=\S+ \S+ \S+ .+")
"""Kind, port, transport and formats (RFC 8866, 5.14)."""
_FORMAT = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb):([0-9]{1,3}) (.*)")
_CANDIDATE = re.compile(r"a=candidate:\S+ [0-9]+ (\S+) [0-9]+ (\S+) ([0-9]{1,5}) typ ")


@dataclass(frozen=True)
class Rejected:
    """A section of an offer that is answered with a no: where it stood, its ``mid`` if it has one, its first line, what
    its formats are, and whether it is the first of a bundle, whose transport all of the bundle use."""

    index: int
    mid: str | None
    line: str
    formats: tuple[str, ...] = ()
    carries_bundle: bool = False

    def answer(self, accepted: list[str]) -> list[str]:
        """The lines that say no, with the transport of a section that was taken, which GStreamer wants even here.

        No is port 0 (RFC 3264). The first of a bundle cannot be taken away from the others (RFC 8843, 7.3.3), and
        GStreamer then never connects: it is kept, and made inactive.
        """
        kind, _, formats = self.line.split(" ", 2)
        port = accepted[0].split(" ")[1] if self.carries_bundle else "0"
        mid = [f"a=mid:{self.mid}"] if self.mid else []
        transport = [
            line
            for line in accepted
            if line.startswith(TRANSPORT) and (self.carries_bundle or not line.startswith("a=candidate:"))
        ]
        address = [line for line in accepted if line.startswith("c=")]
        return [f"{kind} {port} {formats}", *address, *mid, "a=inactive", "a=rtcp-mux", *self.formats, *transport]


@dataclass(frozen=True)
class CheckedOffer:
    """A session description that was offered, as aiortc may have it, and what was left out of it."""

    sdp: str
    rejected: tuple[Rejected, ...] = ()

    def answer(self, sdp: str) -> str:
        """aiortc's answer with a no to each section it never saw, in the order of the offer."""
        session, *sections = _sections(sdp.splitlines())
        accepted = sections[0]
        for one in self.rejected:
            sections.insert(one.index, one.answer(accepted))
            if one.carries_bundle:
                session = [line.replace("a=group:BUNDLE ", f"a=group:BUNDLE {one.mid} ") for line in session]
        return _text([session, *sections])


def checked_offer(sdp: str) -> CheckedOffer:
    """An offer as aiortc may have it: one video track coming in, at most one data channel transport. Audio is taken
    out, to be answered with a no.

    Candidates with ``.local`` names are left out: looking one up stalls for a second where there is no mDNS,
    and the browser's own checks tell us its address anyway.

    Raises:
        ValueError: saying what is wrong with it.
    """
    lines = sdp.splitlines()
    if len(lines) > MAX_LINES:
        raise ValueError(f"the SDP has more than {MAX_LINES} lines; offer one video track and one data channel")
    for kind, most in MAX_OF_A_KIND.items():
        if sum(line.startswith((f"a={kind}:", f"a={kind} ")) for line in lines) > most:
            raise ValueError(
                f"the SDP has more than {most} lines of a={kind}; offer one video track and one data channel"
            )
    if any(line.startswith(("a=ice-ufrag:", "a=ice-pwd:")) and not _ICE_LOGIN.fullmatch(line) for line in lines):
        raise ValueError("the SDP's ice-ufrag or ice-pwd is none (RFC 8839); send the browser's offer as it is")
    if sum(line.startswith("a=candidate:") and ".local" not in line for line in lines) > MAX_CANDIDATES:
        raise ValueError(f"the SDP has more than {MAX_CANDIDATES} candidates")
    session, *sections = _sections(lines)
    if not all(_MEDIA.fullmatch(section[0]) for section in sections):
        raise ValueError("the SDP has a media line that cannot be read; send the browser's offer as it is")
    bundle = next((line.split()[1:] for line in session if line.startswith("a=group:BUNDLE ")), [])
    rejected = tuple(
        Rejected(
            index,
            _mid(section),
            section[0],
            tuple(line for line in section if line.startswith("a=rtpmap:")),
            carries_bundle=bundle[:1] == [_mid(section)],
        )
        for index, section in enumerate(sections)
        if section[0].startswith("m=audio ")
    )
    if len(rejected) > MAX_REJECTED:
        raise ValueError("offer one video track, and audio only if the encoder cannot do without: it is not used")
    if bundle:
        sections = [section + _transport_of(session, sections[0], section) for section in sections]
    kept = [_usable(section) for section in sections if not section[0].startswith("m=audio ")]
    session = _with_bundle(session, [mid for mid in bundle if mid in {_mid(section) for section in kept}])
    offer = CheckedOffer(_text([session, *kept]), rejected)
    try:
        description = SessionDescription.parse(offer.sdp)
    except Exception as error:  # aiortc meets broken text with AssertionError, KeyError, StopIteration, …
        raise ValueError("the SDP cannot be read; send the browser's offer as it is") from error
    _check_media(description)
    mids = [mid for section in sections if (mid := _mid(section)) is not None]
    if len(set(mids)) < len(mids):
        raise ValueError("two media of the SDP have the same mid; send the browser's offer as it is")
    return offer


def _sections(lines: list[str]) -> list[list[str]]:
    """The lines of the session, then those of each of its media."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _text(sections: list[list[str]]) -> str:
    return "\r\n".join(line for section in sections for line in section) + "\r\n"


def _transport_of(session: list[str], first: list[str], section: list[str]) -> list[str]:
    """What a section of a bundle leaves to the first one to say, which may be audio: how to reach the sender."""
    said = session + section
    return [
        line
        for kind in TRANSPORT
        if not any(line.startswith(kind) for line in said)
        for line in first
        if line.startswith(kind)
    ]


def _mid(section: list[str]) -> str | None:
    return next((line[len("a=mid:") :] for line in section if line.startswith("a=mid:")), None)


def _with_bundle(session: list[str], mids: list[str]) -> list[str]:
    """The session's lines with a bundle of these media in place of what groups it has."""
    bundle = [" ".join(("a=group:BUNDLE", *dict.fromkeys(mids)))] if mids else []
    kept: list[str] = []
    for line in session:
        if line.startswith("a=group:"):
            kept, bundle = kept + bundle, []
        else:
            kept.append(line)
    return kept


def _usable(section: list[str]) -> list[str]:
    """A section without candidates that lead nowhere and without formats that nobody here decodes."""
    ours = {
        match[1]
        for line in section
        if line.startswith("a=rtpmap:")
        and (match := _FORMAT.fullmatch(line))
        and match[2].upper() in ("RTX/90000", *VIDEO_CODECS)
    }
    if sum(line.startswith("a=rtpmap:") and _FORMAT.sub(r"\1", line) in ours for line in section) > MAX_FORMATS:
        raise ValueError(
            f"the SDP has more than {MAX_FORMATS} formats of VP8 and H264; send the browser's offer as it is"
        )
    kept = []
    for line in section:
        # More candidates are to be expected, from the browser's checks, than the browser has told.
        if line == "a=end-of-candidates" or (line.startswith("a=candidate:") and not _is_usable_candidate(line)):
            continue
        of_format = _FORMAT.fullmatch(line)
        if of_format is None or of_format[1] in ours:
            kept.append(line)
    return kept


def _is_usable_candidate(line: str) -> bool:
    """Whether a line is a candidate at the address of one machine, over UDP."""
    match = _CANDIDATE.match(line)
    if match is None or match[1].lower() != "udp" or not 0 < int(match[3]) < 65536:
        return False
    try:
        address = ipaddress.ip_address(match[2])
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255")


def _check_media(description: SessionDescription) -> None:
    kinds = [media.kind for media in description.media]
    if kinds.count("video") != 1 or kinds.count("application") > 1 or set(kinds) - {"video", "application"}:
        raise ValueError("offer exactly one video track and at most one data channel transport")
    for media in description.media:
        if media.kind == "video" and media.direction not in ("sendonly", "sendrecv"):
            raise ValueError("the offered video track does not send; offer it as sendonly")
        if media.dtls is None or not media.dtls.fingerprints:
            raise ValueError("the SDP has no DTLS fingerprint; send the browser's offer as it is")
        if media.kind == "application" and media.profile != "DTLS/SCTP" and media.sctp_port is None:
            raise ValueError("the SDP has no sctp-port; send the browser's offer as it is")
        if media.sctp_port is not None and not 0 < media.sctp_port < 65536:
            raise ValueError("the SDP's sctp-port is no port; send the browser's offer as it is")


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
