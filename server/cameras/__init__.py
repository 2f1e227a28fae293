"""Cameras that are not a browser, kept alive: read, framed, supervised. No server in it."""

from server.cameras.backoff import Backoff
from server.cameras.camera import Camera, CapturedFrame
from server.cameras.capture import check_source, is_device
from server.cameras.framing import Crop, Framing, Image, Throttle

__all__ = ["Backoff", "Camera", "CapturedFrame", "Crop", "Framing", "Image", "Throttle", "check_source", "is_device"]
