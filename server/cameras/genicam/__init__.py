"""Cameras of GigE Vision and USB3 Vision, through Aravis, in a process of its own for each."""

from server.cameras.genicam.address import SCHEME, Genicam
from server.cameras.genicam.aravis import Device
from server.cameras.genicam.near_side import genicam_frames, look_around

__all__ = ["SCHEME", "Device", "Genicam", "genicam_frames", "look_around"]
