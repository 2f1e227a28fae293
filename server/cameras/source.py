"""What a source's text means, and the texts that can mean none."""

from __future__ import annotations

from urllib.parse import urlsplit

from server.cameras.genicam import SCHEME, Genicam

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""Of addresses with a host and a path: the port where they name none, as FFmpeg takes it."""
SCHEMES = tuple(PORTS)

_ESCAPES = "write / ? # and @ as %2F %3F %23 and %40 wherever they are not the address's own"


def check_source(source: str) -> None:
    """Raise ValueError when no source can be meant by this text. Whether it is there, opening it tells."""
    if not source:
        raise ValueError("the source is empty: give a folder, a video file, an address or a device number")
    if not is_address(source):
        return
    scheme, _, rest = source.partition("://")
    if scheme.lower() == SCHEME:
        Genicam.parse(source)
        return
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"an address must start with one of {', '.join(f'{name}://' for name in (*SCHEMES, SCHEME))}")
    try:
        parts = urlsplit(source)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ValueError(f"the address has no valid host and port: give rtsp://HOST:554/PATH, and {_ESCAPES}")
    if "@" in rest.removeprefix(parts.netloc):
        # rtsp://admin:12#34@host would be stream 34@host of a host called admin. Nobody can tell that from one with
        # an @ in its path, so both are asked to say what they mean.
        raise ValueError(f"the address can be read in two ways, for there is an @ behind its host: {_ESCAPES}")
    if any(character.isspace() or not character.isprintable() for character in source):
        raise ValueError("the address holds a space or a control character: write a space as %20")


def is_address(source: str) -> bool:
    """Whether the text means a network camera, or one of GenICam. Whether it can be one, :func:`check_source` tells."""
    return "://" in source


def network_address(source: str) -> tuple[str, int] | None:
    """Host and port of a network camera; None where the text means something else."""
    parts = urlsplit(source)
    if parts.scheme not in PORTS or parts.hostname is None:
        return None
    return parts.hostname, parts.port or PORTS[parts.scheme]


def is_device(source: str) -> bool:
    """Whether the text means a camera on this machine: a number, or a name below /dev."""
    return (source.isascii() and source.isdecimal()) or source.startswith("/dev/")
