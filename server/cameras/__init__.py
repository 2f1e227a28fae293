"""Cameras that are not a browser, kept alive: read, framed, supervised. No server in it."""

from server.cameras.backoff import Backoff
from server.cameras.camera import Camera, CapturedFrame, Patience
from server.cameras.framing import Crop, Framing, Image, Throttle
from server.cameras.source import check_source, is_address, is_device

__all__ = [
    "Backoff",
    "Camera",
    "CapturedFrame",
    "Crop",
    "Framing",
    "Image",
    "Patience",
    "Throttle",
    "check_source",
    "is_address",
    "is_device",
]
