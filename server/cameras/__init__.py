"""Cameras that are not a browser, kept alive: read, framed, supervised. No server in it."""

from server.cameras.arrivals import CaptureError
from server.cameras.backoff import Backoff
from server.cameras.camera import LATE, Camera, CapturedFrame, Patience
from server.cameras.framing import Crop, Framing, Image, Throttle
from server.cameras.genicam import Device, look_around
from server.cameras.redaction import shown
from server.cameras.source import check_source, is_address, is_device, network_address
from server.cameras.trial import MEASURED_S, Found, Trial

__all__ = [
    "LATE",
    "MEASURED_S",
    "Backoff",
    "Camera",
    "CaptureError",
    "CapturedFrame",
    "Crop",
    "Device",
    "Found",
    "Framing",
    "Image",
    "Patience",
    "Throttle",
    "Trial",
    "check_source",
    "is_address",
    "is_device",
    "look_around",
    "network_address",
    "shown",
]
