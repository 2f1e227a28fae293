"""What is asked and answered about cameras that the server fetches itself, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from server.kept_cameras import LARGEST_SIDE, LONGEST_SOURCE
from server.settings import PulledCamera

Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]
Crop = Annotated[str, Meta(max_length=40)]
Count = Annotated[int, Meta(ge=0)]


class CameraWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A camera to try, or to add."""

    name: Annotated[str, Meta(max_length=64, description="of its stream: 1 to 64 of A-Z a-z 0-9 . _ -")]
    source: Annotated[
        str,
        Meta(
            max_length=LONGEST_SOURCE,
            description="an address (rtsp, rtsps, http or https), with its login where it wants one; genicam://ID "
            "with its settings, as genicam://22471134?trigger=Line1&exposure=500; or the number of a camera on the "
            "server's machine",
        ),
    ]
    width: Annotated[Side | None, Meta(description="pixels; a device is asked for it, others are resized")] = None
    height: Annotated[Side | None, Meta(description="pixels; with one of the two the other keeps the aspect")] = None
    fps: Annotated[float | None, Meta(description="at most so many frames a second, up to 240")] = None
    crop: Annotated[Crop | None, Meta(description="X,Y,W,H in pixels: the part of the picture to inspect")] = None
    patience: Annotated[
        float | None,
        Meta(description="seconds without a frame after which it is opened anew, 1 to 3600; 5 when absent"),
    ] = None

    def camera(self) -> PulledCamera:
        """Whether there can be such a camera is not checked."""
        crop = self.crop or None
        return PulledCamera(self.name, self.source, self.width, self.height, self.fps, crop, self.patience)


class CameraBody(Struct, frozen=True):
    """A camera that the server fetches itself: how it is set, and how it is doing."""

    name: Annotated[str, Meta(description="of its stream")]
    source: Annotated[str, Meta(description="its address, without credentials; a device's number; a file or folder")]
    origin: Annotated[
        Literal["CAMERAS", "page"], Meta(description="CAMERAS: the setting; page: it can be removed there")
    ] = field(name="from")
    width: Annotated[int | None, Meta(description="pixels, as asked for")]
    height: Annotated[int | None, Meta(description="pixels, as asked for")]
    fps: Annotated[float | None, Meta(description="frames a second at the most")]
    crop: Annotated[str | None, Meta(description="X,Y,W,H in pixels")]
    patience: Annotated[float | None, Meta(description="seconds without a frame after which it is opened anew")]
    state: Annotated[
        str,
        Meta(
            description="connecting, live, waiting (for its trigger), stalled (no picture for a while), retrying or "
            "stopped"
        ),
    ]
    since: Annotated[str | None, Meta(description="when this state began, ISO 8601; null while it does not run")]
    retry_in_s: Annotated[float | None, Meta(description="seconds until the next try, only while retrying")]
    connects: Annotated[Count, Meta(description="how often it came alive")]
    failures: Annotated[Count, Meta(description="tries that failed and connections that were lost")]
    dropped: Annotated[Count, Meta(description="frames that waited too long to be decoded, since the start")]
    last_error: Annotated[str | None, Meta(description="why the last of them, or why there is no picture; or null")]


class CamerasBody(Struct, frozen=True):
    """All cameras that the server fetches itself."""

    cameras: Annotated[list[CameraBody], Meta(description="those of CAMERAS, then those of the page")]
    room: Annotated[Count, Meta(description="how many more can be added on the page")]


class CameraTried(Struct, frozen=True):
    """What came of a camera that was tried."""

    ok: Annotated[bool, Meta(description="whether a picture came")]
    problem: Annotated[str | None, Meta(description="why none did and what to do, one sentence; null when one did")]
    picture: Annotated[str | None, Meta(description="base64 of a JPEG of up to 640 pixels; null without one")]
    width: Annotated[int | None, Meta(description="of the picture as it would be inspected, pixels")]
    height: Annotated[int | None, Meta(description="pixels")]
    fps: Annotated[float | None, Meta(description="frames a second as they came within a second; null: too few")]


class CameraThere(Struct, frozen=True):
    """A camera of GigE Vision or USB3 Vision that answers."""

    source: Annotated[str, Meta(description="to add it by: genicam://ID")]
    vendor: Annotated[str, Meta(description="of the camera, in its own words")]
    model: Annotated[str, Meta(description="in its own words")]
    serial: Annotated[str, Meta(description="its serial number; may be empty")]
    address: Annotated[str, Meta(description="its IP address, or its place on the USB")]
    protocol: Annotated[str, Meta(description="GigEVision or USB3Vision")]


class CamerasThere(Struct, frozen=True):
    """Those that answer, whether they are used here or not."""

    cameras: Annotated[list[CameraThere], Meta(description="64 at the most")]


class CameraRemoved(Struct, frozen=True):
    """It is gone."""

    deleted: Annotated[str, Meta(description="its name")]
