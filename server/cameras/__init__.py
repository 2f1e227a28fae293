"""Cameras that are not a browser, kept alive: read, framed, supervised. No server in it."""

from server.cameras.backoff import Backoff
from server.cameras.camera import Camera, CapturedFrame, Patience
from server.cameras.framing import Crop, Framing, Image, Throttle
from server.cameras.redaction import shown
from server.cameras.source import check_source, is_address, is_device
from server.cameras.trial import MEASURED_S, Found, Trial

__all__ = [
    "MEASURED_S",
    "Backoff",
    "Camera",
    "CapturedFrame",
    "Crop",
    "Found",
    "Framing",
    "Image",
    "Patience",
    "Throttle",
    "Trial",
    "check_source",
    "is_address",
    "is_device",
    "shown",
]
