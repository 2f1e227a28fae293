"""The far side of the wall: a program that opens one GenICam camera, sets it, and hands on what it sends.

Drivers crash, and a camera's description of itself is a file from outside: neither may touch the server. One line of
JSON says what is wanted; from then on each line that comes takes a picture (of a camera with ``trigger=Software``), and
the end of its input ends the program, which lets the camera go. It answers with lines of JSON, a picture's bytes behind
its line, and says something at least every :data:`TURN_S` seconds while its driver lets it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
import types
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Of the server, only this folder: importing all of `server.cameras` takes OpenCV and FFmpeg with it.
    here = Path(__file__).resolve().parent
    for number, name in enumerate(("server", "server.cameras", "server.cameras.genicam")):
        stub = types.ModuleType(name)
        stub.__path__ = [str((here, *here.parents)[2 - number])]
        sys.modules[name] = stub

from server.cameras.genicam import aravis
from server.cameras.genicam.aravis import AravisError, Buffer, Camera, Device, Library

TURN_S = 0.25
ASK_S = 1.0
"""How often a camera that sends nothing is asked whether it is there."""
ANSWER_S = 2.0
"""How long it may take to answer. Aravis itself asks five times, and twice as long while its heartbeat asks too."""
GOING_S = 1.5
"""From the end of the input to the end of the program, whatever the driver does."""
MOST_BUFFERS, LEAST_BUFFERS = 16, 3
BUFFER_BYTES = 200_000_000
"""For all buffers, as long as there are enough of them."""
MEMORY_BYTES = 3_000_000_000
"""Address space of the program, at most."""

NO_LIBRARY = (
    "cameras of GigE Vision and USB3 Vision need Aravis on the server's machine: install it (Debian and Ubuntu: apt "
    "install libaravis-0.8-0), then try again"
)
IN_USE = (
    "another program has the camera: close it (a vendor's viewer, another server), or wait some seconds after one ended"
)
NOBODY = (
    "no camera answers: check its power and cable, that it is in this machine's network (GigE Vision) and that UDP may "
    "pass, or that this user may use it (USB3 Vision: Aravis' udev rules)"
)
TOO_FAST = "pictures came faster than this machine takes them: ask for fewer a second"
GONE = "the camera no longer answers: check its power and its cable"


_NOTHING = memoryview(b"")


class Over(Exception):
    """It cannot be used, or has ended; one sentence."""


class Line:
    """What goes to the other side."""

    def __init__(self, file: int) -> None:
        self._file = file

    def say(self, data: memoryview = _NOTHING, **words: object) -> None:
        self._write(memoryview(json.dumps(words).encode() + b"\n"))
        self._write(data)

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self._file, data) :]


class Wanted:
    """What comes from the other side, read in a thread of its own."""

    def __init__(self) -> None:
        # Without a buffer: one that a thread waits in cannot be given up at the end of the program.
        self._input = FileIO(0, closefd=False)
        self.settings: dict[str, Any] = json.loads(self._input.readline(65_536))
        self.ended = threading.Event()
        self._triggers = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while self._input.readline(64):
            with self._lock:
                self._triggers = min(self._triggers + 1, 8)
        self.ended.set()
        time.sleep(GOING_S)
        os._exit(1)

    def trigger(self) -> bool:
        """Whether a picture was asked for once more."""
        with self._lock:
            asked = self._triggers > 0
            self._triggers -= asked
            return asked


class Pulse:
    """Asks a camera whether it is there, in a thread of its own: Aravis waits long for one that is gone."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._wanted = threading.Event()
        self._asked_at: float | None = None
        self._error: AravisError | None = None
        threading.Thread(target=self._ask, daemon=True).start()

    def ask(self) -> None:
        """Ask again, where the last answer is here. Raises Over when that has not come in time, or was none."""
        if self._error is not None:
            raise Over(words(self._error))
        asked_at = self._asked_at
        if asked_at is None:
            self._wanted.set()
        elif time.monotonic() - asked_at > ANSWER_S:
            raise Over(GONE)

    @property
    def is_asking(self) -> bool:
        return self._asked_at is not None

    def _ask(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            self._asked_at = time.monotonic()
            try:
                self._camera.ask()
            except AravisError as error:
                self._error = error
            self._asked_at = None
            time.sleep(ASK_S)


def main() -> None:
    _limit_memory()
    line = Line(os.dup(1))
    os.dup2(2, 1)  # a driver that prints must not print among the answers
    wanted = Wanted()
    settings = wanted.settings
    try:
        library = Library()
        if "device" not in settings:
            line.say(kind="list", cameras=[vars(device) for device in library.devices()])
        else:
            _serve(library, settings, wanted, line)
    except OSError:
        line.say(kind="over", why=NO_LIBRARY)
    except Over as over:
        line.say(kind="over", why=str(over))
    except AravisError as error:
        line.say(kind="over", why=words(error))


def _serve(library: Library, settings: Mapping[str, Any], wanted: Wanted, line: Line) -> None:
    name = find(library, settings["device"])
    try:
        camera = Camera(library, name)
    except AravisError as error:
        raise Over(NOBODY if error.code in (aravis.NOT_FOUND, aravis.TIMEOUT) else words(error)) from None
    lost, pulse = threading.Event(), Pulse(camera)
    camera.on_control_lost(lost.set)
    try:
        if camera.is_in_use:
            raise Over(IN_USE)
        set_up(camera, settings)
        trigger = trigger_of(camera)
        size = _size(camera, settings["max_pixels"], line)
        camera.run(max(LEAST_BUFFERS, min(MOST_BUFFERS, BUFFER_BYTES // size)), size)
        line.say(kind="open", camera=camera.title, trigger=trigger)
        _hand_on(camera, wanted, lost, pulse, line)
    finally:
        if not pulse.is_asking:  # one that does not answer cannot be told that it is let go
            camera.close()


def _hand_on(camera: Camera, wanted: Wanted, lost: threading.Event, pulse: Pulse, line: Line) -> None:
    came = looked = time.monotonic()
    while not wanted.ended.is_set():
        if lost.is_set():
            raise Over(GONE)
        if wanted.trigger():
            camera.call("arv_camera_software_trigger")
        buffer = camera.take(TURN_S)
        now = time.monotonic()
        if buffer is not None:
            came = now
            try:
                _hand_on_one(buffer, line)
            finally:
                camera.give_back(buffer)
        else:
            if now - came >= ASK_S:
                pulse.ask()
            line.say(kind="idle", silent_s=now - came)
        if now - looked >= ASK_S:
            looked = now
            if count := camera.lost():
                line.say(
                    kind="bad",
                    frames=count,
                    why=TOO_FAST,
                )


def _hand_on_one(buffer: Buffer, line: Line) -> None:
    status = buffer.status
    if status == aravis.SUCCESS:
        data = buffer.data()
        line.say(
            data,
            kind="frame",
            bytes=len(data),
            width=buffer.width,
            height=buffer.height,
            pixels=buffer.pixels,
            padding=buffer.padding,
        )
    elif status != aravis.ABORTED:
        why = aravis.STATUSES.get(status, f"Aravis says {status} of it")
        line.say(
            kind="bad",
            frames=1,
            why=f"a picture came incomplete: {why}; check cable and switch, and the packet size of the network",
        )


def find(library: Library, wanted: str) -> str:
    """The name by which Aravis opens a camera. Raises Over when no such one answers."""
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", wanted):
        return wanted  # asked directly: also in a network that no search reaches
    found = library.devices()
    fitting = [device for device in found if not wanted or wanted in (device.id, device.serial, device.address)]
    if not found:
        raise Over(NOBODY)
    if not fitting:
        raise Over(f"no camera is called {wanted}; there are {_listed(found)}")
    if len(fitting) > 1 and wanted:
        raise Over(f"{len(fitting)} cameras are called {wanted}: give the id of one, {_listed(fitting)}")
    return fitting[0].id


def _listed(devices: list[Device]) -> str:
    return ", ".join(device.id for device in devices[:8]) + (" and more" if len(devices) > 8 else "")


def set_up(camera: Camera, settings: Mapping[str, Any]) -> None:
    """Set what is asked for. Raises Over where the camera cannot, and says what it can."""
    _set_pixels(camera, settings["pixels"], settings["understood"])
    if (region := settings["region"]) is not None:
        camera.call("arv_camera_set_region", *region)
        if list(camera.region()) != list(region):
            became = ",".join(map(str, camera.region()))
            raise Over(f"the camera has no such region: the nearest it has is region={became}")
    if (trigger := settings["trigger"]) is not None:
        _set_trigger(camera, trigger, settings["edge"])
    _set_number(camera, "exposure", "exposure_time", settings["exposure"])
    _set_number(camera, "gain", "gain", settings["gain"])
    if settings["fps"] is not None and trigger_of(camera) is None:
        with contextlib.suppress(AravisError):  # it may have one rate only
            least, most = camera.bounds("frame_rate")
            camera.call("arv_camera_set_frame_rate", min(max(settings["fps"], least), most))


def trigger_of(camera: Camera) -> str | None:
    """The input it waits for, for each picture; None: it sends by itself."""
    if not camera.has("TriggerMode") or camera.text("TriggerMode") != "On":
        return None
    return camera.text("TriggerSource") if camera.has("TriggerSource") else "its trigger"


def _set_pixels(camera: Camera, wanted: str | None, understood: list[list[Any]]) -> None:
    """``understood``: code and names of each format, the most wanted first."""
    has = camera.choices("PixelFormat")
    usable = [name for _, *names in understood for name in names if name in has]
    if wanted is not None:
        names = next(names for _, *names in understood if wanted in names)
        chosen = next((name for name in names if name in has), None)
        if chosen is None:
            raise Over(f"the camera has no pixel format {wanted}: it has {', '.join(usable or has)[:300]}")
        camera.set("PixelFormat", chosen)
    elif camera.call("arv_camera_get_pixel_format") not in [code for code, *_ in understood]:
        if not usable:
            raise Over(f"none of the camera's pixel formats is understood: it has {', '.join(has)[:300]}")
        camera.set("PixelFormat", usable[0])


def _set_trigger(camera: Camera, wanted: str, edge: str | None) -> None:
    if not camera.has("TriggerMode"):
        if wanted == "Off":
            return
        raise Over("the camera cannot be triggered: leave trigger out")
    camera.call("arv_camera_clear_triggers")
    if wanted == "Off":
        return
    source = _choice(camera, "TriggerSource", wanted, "trigger")
    camera.call("arv_camera_set_trigger", source.encode())
    if edge is not None:
        camera.set("TriggerActivation", _choice(camera, "TriggerActivation", edge, "edge"))


def _choice(camera: Camera, feature: str, wanted: str, word: str) -> str:
    has = camera.choices(feature) if camera.has(feature) else []
    for name in has:
        if name.lower() == wanted.lower():
            return name
    raise Over(f"the camera has no {word} {wanted}: it has {', '.join(has)[:300] or 'none'}")


def _set_number(camera: Camera, word: str, name: str, wanted: float | str | None) -> None:
    if wanted is None:
        return
    has_auto = camera.call(f"arv_camera_is_{word}_auto_available")
    if wanted == "auto":
        if not has_auto:
            raise Over(f"the camera has no automatic {word}: give a number")
        camera.call(f"arv_camera_set_{name}_auto", aravis.AUTO_ON)
        return
    if has_auto:
        camera.call(f"arv_camera_set_{name}_auto", aravis.AUTO_OFF)
    least, most = camera.bounds(name)
    if not least <= float(wanted) <= most:
        unit = " µs" if word == "exposure" else ""
        raise Over(f"{word} {wanted:.12g} is not what the camera takes: it takes {least:.12g} to {most:.12g}{unit}")
    camera.call(f"arv_camera_set_{name}", float(wanted))


def _size(camera: Camera, max_pixels: int, line: Line) -> int:
    """Bytes of a picture. Raises Over when it is larger than is taken."""
    _, _, width, height = camera.region()
    if width * height > max_pixels or min(width, height) < 1:
        line.say(kind="large", width=width, height=height)
        raise Over("its pictures are too large")
    size = int(camera.call("arv_camera_get_payload"))
    if not 0 < size <= 8 * max_pixels + 1_000_000:
        raise Over(f"the camera says that a picture takes {size} bytes, which none of its size does: restart it")
    return size


def words(error: AravisError) -> str:
    """An error of Aravis' in an operator's words."""
    said = str(error)
    if error.code in (aravis.NOT_CONTROLLER, aravis.ACCESS_DENIED, aravis.BUSY) or re.search(
        r"denied|busy", said, re.I
    ):
        return IN_USE
    if "LIBUSB_ERROR_ACCESS" in said:
        return "this user may not use the camera: install Aravis' udev rules, or change the device's permissions"
    if error.code in (aravis.TIMEOUT, aravis.NOT_CONNECTED, aravis.NOT_FOUND) or "timeout" in said.lower():
        return GONE
    return f"the camera refuses a setting or fails: {said[:200]}"


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(OSError, ValueError):  # macOS takes no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the other side has gone
        main()
