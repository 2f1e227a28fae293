"""libaravis by ctypes: the few calls that opening, setting and reading a camera take.

Not PyGObject: that would have to be built for each Python, with a compiler and cairo's headers, and Debian's is for
Debian's Python alone. Not harvesters: it drives the vendor's own driver (a GenTL producer), one for each make, which
would have to be installed first. Nothing but the standard library is imported, so the process that runs it is small.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

LIBRARIES = ("libaravis-0.8.so.0", "libaravis-0.8.0.dylib")
NOT_CONTROLLER, ACCESS_DENIED, BUSY = 10, 17, 18
NOT_FOUND, TIMEOUT, NOT_CONNECTED = 6, 5, 2
SUCCESS, ABORTED = 0, 7
STATUSES = {
    1: "it was never filled",
    2: "its last packets did not come in time",
    3: "packets of it were lost on the way",
    4: "its packets came out of order",
    5: "it is larger than the camera said",
    6: "it was not filled to its end",
}
"""Of a buffer, in words."""
CONTINUOUS, AUTO_OFF, AUTO_ON = 0, 0, 2

_OBJECT, _TEXT = c_void_p, c_char_p


class AravisError(Exception):
    """What Aravis said of a call that failed. ``code``: of its ArvDeviceError."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _GError(ctypes.Structure):
    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


_PLAIN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_disable_interface": (None, (_TEXT,)),
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c_uint, ()),
    "arv_get_device_id": (_TEXT, (c_uint,)),
    "arv_get_device_address": (_TEXT, (c_uint,)),
    "arv_get_device_vendor": (_TEXT, (c_uint,)),
    "arv_get_device_model": (_TEXT, (c_uint,)),
    "arv_get_device_serial_nbr": (_TEXT, (c_uint,)),
    "arv_get_device_protocol": (_TEXT, (c_uint,)),
    "arv_camera_get_device": (_OBJECT, (_OBJECT,)),
    "arv_camera_is_gv_device": (c_int, (_OBJECT,)),
    "arv_gv_device_is_controller": (c_int, (_OBJECT,)),
    "arv_stream_push_buffer": (None, (_OBJECT, _OBJECT)),
    "arv_stream_timeout_pop_buffer": (_OBJECT, (_OBJECT, c_uint64)),
    "arv_stream_get_statistics": (None, (_OBJECT, POINTER(c_uint64), POINTER(c_uint64), POINTER(c_uint64))),
    "arv_buffer_new_allocate": (_OBJECT, (c_size_t,)),
    "arv_buffer_get_status": (c_int, (_OBJECT,)),
    "arv_buffer_get_data": (c_void_p, (_OBJECT, POINTER(c_size_t))),
    "arv_buffer_get_image_width": (c_int, (_OBJECT,)),
    "arv_buffer_get_image_height": (c_int, (_OBJECT,)),
    "arv_buffer_get_image_pixel_format": (c_uint32, (_OBJECT,)),
    "arv_buffer_get_image_padding": (None, (_OBJECT, POINTER(c_int), POINTER(c_int))),
    "g_object_unref": (None, (_OBJECT,)),
    "g_error_free": (None, (c_void_p,)),
    "g_free": (None, (c_void_p,)),
    "g_signal_connect_data": (c_uint64, (_OBJECT, _TEXT, c_void_p, c_void_p, c_void_p, c_int)),
}
_TO_DOUBLES = (_OBJECT, POINTER(c_double), POINTER(c_double))
_FAILING: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_camera_new": (_OBJECT, (_TEXT,)),
    "arv_camera_get_vendor_name": (_TEXT, (_OBJECT,)),
    "arv_camera_get_model_name": (_TEXT, (_OBJECT,)),
    "arv_camera_is_feature_available": (c_int, (_OBJECT, _TEXT)),
    "arv_camera_get_string": (_TEXT, (_OBJECT, _TEXT)),
    "arv_camera_set_string": (None, (_OBJECT, _TEXT, _TEXT)),
    "arv_camera_get_integer": (c_int64, (_OBJECT, _TEXT)),
    "arv_camera_dup_available_enumerations_as_strings": (c_void_p, (_OBJECT, _TEXT, POINTER(c_uint))),
    "arv_camera_get_pixel_format": (c_uint32, (_OBJECT,)),
    "arv_camera_get_region": (None, (_OBJECT, *(POINTER(c_int),) * 4)),
    "arv_camera_set_region": (None, (_OBJECT, c_int, c_int, c_int, c_int)),
    "arv_camera_get_payload": (c_uint, (_OBJECT,)),
    "arv_camera_clear_triggers": (None, (_OBJECT,)),
    "arv_camera_set_trigger": (None, (_OBJECT, _TEXT)),
    "arv_camera_software_trigger": (None, (_OBJECT,)),
    "arv_camera_is_exposure_auto_available": (c_int, (_OBJECT,)),
    "arv_camera_set_exposure_time_auto": (None, (_OBJECT, c_int)),
    "arv_camera_get_exposure_time_bounds": (None, _TO_DOUBLES),
    "arv_camera_set_exposure_time": (None, (_OBJECT, c_double)),
    "arv_camera_is_gain_auto_available": (c_int, (_OBJECT,)),
    "arv_camera_set_gain_auto": (None, (_OBJECT, c_int)),
    "arv_camera_get_gain_bounds": (None, _TO_DOUBLES),
    "arv_camera_set_gain": (None, (_OBJECT, c_double)),
    "arv_camera_get_frame_rate_bounds": (None, _TO_DOUBLES),
    "arv_camera_set_frame_rate": (None, (_OBJECT, c_double)),
    "arv_camera_set_acquisition_mode": (None, (_OBJECT, c_int)),
    "arv_camera_create_stream": (_OBJECT, (_OBJECT, c_void_p, c_void_p)),
    "arv_camera_start_acquisition": (None, (_OBJECT,)),
    "arv_camera_stop_acquisition": (None, (_OBJECT,)),
}
"""Those that tell of failure by a GError, their last argument."""


@dataclass(frozen=True)
class Device:
    """A camera that answered. ``protocol``: GigEVision or USB3Vision; ``address``: IP address or place on the bus."""

    id: str
    vendor: str
    model: str
    serial: str
    address: str
    protocol: str


class Library:
    """libaravis, loaded. Raises OSError where there is none."""

    def __init__(self) -> None:
        for name in LIBRARIES:
            try:
                self._library = ctypes.CDLL(name)
                break
            except OSError:
                continue
        else:
            raise OSError("there is no libaravis")
        for name, (result, arguments) in _PLAIN.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        for name, (result, arguments) in _FAILING.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, (*arguments, POINTER(POINTER(_GError)))
        for interface in (b"Fake", b"V4L2"):  # not GenICam over a wire: /dev/video… has a reader of its own
            self.plain("arv_disable_interface", interface)

    def plain(self, name: str, *arguments: Any) -> Any:
        return getattr(self._library, name)(*arguments)

    def call(self, name: str, *arguments: Any) -> Any:
        """Raises AravisError."""
        error = POINTER(_GError)()
        result = getattr(self._library, name)(*arguments, byref(error))
        if error:
            code, message = error.contents.code, (error.contents.message or b"").decode(errors="replace")
            self.plain("g_error_free", error)
            raise AravisError(code, message)
        return result

    def devices(self, most: int = 64) -> list[Device]:
        """Those that answer within a second."""
        self.plain("arv_update_device_list")
        count = min(self.plain("arv_get_n_devices"), most)
        parts = ("id", "vendor", "model", "serial_nbr", "address", "protocol")
        found = [
            Device(*(_text(self.plain(f"arv_get_device_{part}", number)) for part in parts)) for number in range(count)
        ]
        return [device for device in found if device.protocol in ("GigEVision", "USB3Vision")]


class Camera:
    """A camera that was opened, and its stream once it runs. Every call raises :class:`AravisError`.

    Args:
        library: Aravis.
        name: id or IP address.
    """

    def __init__(self, library: Library, name: str) -> None:
        self._library = library
        self._camera = library.call("arv_camera_new", name.encode())
        if not self._camera:
            raise AravisError(NOT_FOUND, "not found")
        self._device = library.plain("arv_camera_get_device", self._camera)
        self._stream: int | None = None
        self._heard: list[Any] = []
        self._lost = 0

    def on_control_lost(self, told: Callable[[], object]) -> None:
        """``told`` is called in a thread of Aravis'."""
        callback = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)(lambda *_: told() and None)
        self._heard.append(callback)  # as long as the camera, or it would be freed
        address = ctypes.cast(callback, c_void_p)
        self._library.plain("g_signal_connect_data", self._device, b"control-lost", address, None, None, 0)

    @property
    def is_in_use(self) -> bool:
        """Whether another program controls it."""
        plain = self._library.plain
        return bool(plain("arv_camera_is_gv_device", self._camera)) and not plain(
            "arv_gv_device_is_controller", self._device
        )

    @property
    def title(self) -> str:
        names = (_text(self.call(name)) for name in ("arv_camera_get_vendor_name", "arv_camera_get_model_name"))
        return " ".join(name for name in names if name)[:128]

    def call(self, name: str, *arguments: Any) -> Any:
        """One of Aravis' calls on this camera."""
        return self._library.call(name, self._camera, *arguments)

    def has(self, feature: str) -> bool:
        return bool(self.call("arv_camera_is_feature_available", feature.encode()))

    def text(self, feature: str) -> str:
        return _text(self.call("arv_camera_get_string", feature.encode()))

    def set(self, feature: str, value: str) -> None:
        self.call("arv_camera_set_string", feature.encode(), value.encode())

    def choices(self, feature: str) -> list[str]:
        """What an enumeration can be now."""
        count = c_uint()
        array = self.call("arv_camera_dup_available_enumerations_as_strings", feature.encode(), byref(count))
        texts = ctypes.cast(array, POINTER(c_char_p))
        names = [_text(texts[number]) for number in range(min(count.value, 512))] if array else []
        self._library.plain("g_free", array)
        return names

    def bounds(self, what: str) -> tuple[float, float]:
        """Of ``exposure_time`` (µs), ``gain`` or ``frame_rate`` (1/s)."""
        least, most = c_double(), c_double()
        self.call(f"arv_camera_get_{what}_bounds", byref(least), byref(most))
        return least.value, most.value

    def region(self) -> tuple[int, int, int, int]:
        """x, y, width, height, pixels."""
        x, y, width, height = c_int(), c_int(), c_int(), c_int()
        self.call("arv_camera_get_region", byref(x), byref(y), byref(width), byref(height))
        return x.value, y.value, width.value, height.value

    def ask(self) -> None:
        """Read a register, to see whether it is there."""
        self.call("arv_camera_get_integer", b"Width")

    def run(self, buffers: int, size: int) -> None:
        """Have it send into so many buffers of so many bytes."""
        with contextlib.suppress(AravisError):  # whoever had it before may have died while it ran
            self.call("arv_camera_stop_acquisition")
        self.call("arv_camera_set_acquisition_mode", CONTINUOUS)
        self._stream = self.call("arv_camera_create_stream", None, None)
        for _ in range(buffers):
            buffer = self._library.plain("arv_buffer_new_allocate", size)
            self._library.plain("arv_stream_push_buffer", self._stream, buffer)
        self.lost()  # what came before there were buffers, test packets among it, is no picture
        self.call("arv_camera_start_acquisition")

    def take(self, seconds: float) -> Buffer | None:
        """The next picture, or None when none comes in that time. Give it back."""
        found = self._library.plain("arv_stream_timeout_pop_buffer", self._stream, int(seconds * 1e6))
        return Buffer(self._library, found) if found else None

    def give_back(self, buffer: Buffer) -> None:
        self._library.plain("arv_stream_push_buffer", self._stream, buffer.address)

    def lost(self) -> int:
        """Pictures since the last time for which there was no free buffer."""
        numbers = [c_uint64(), c_uint64(), c_uint64()]
        self._library.plain("arv_stream_get_statistics", self._stream, *(byref(number) for number in numbers))
        before, self._lost = self._lost, numbers[2].value
        return self._lost - before

    def close(self) -> None:
        """Stop it, and let others have it."""
        if self._stream is not None:
            with contextlib.suppress(AravisError):  # it is gone
                self.call("arv_camera_stop_acquisition")
            self._library.plain("g_object_unref", self._stream)
        self._library.plain("g_object_unref", self._camera)


@dataclass(frozen=True)
class Buffer:
    """What a picture came in."""

    library: Library
    address: int

    @property
    def status(self) -> int:
        return int(self.library.plain("arv_buffer_get_status", self.address))

    @property
    def width(self) -> int:
        return int(self.library.plain("arv_buffer_get_image_width", self.address))

    @property
    def height(self) -> int:
        return int(self.library.plain("arv_buffer_get_image_height", self.address))

    @property
    def pixels(self) -> int:
        return int(self.library.plain("arv_buffer_get_image_pixel_format", self.address))

    @property
    def padding(self) -> int:
        """Bytes behind each row."""
        x, y = c_int(), c_int()
        self.library.plain("arv_buffer_get_image_padding", self.address, byref(x), byref(y))
        return x.value

    def data(self) -> memoryview:
        """Its bytes, as long as it is not given back."""
        size = c_size_t()
        address = self.library.plain("arv_buffer_get_data", self.address, byref(size))
        return memoryview((ctypes.c_ubyte * size.value).from_address(address)).cast("B") if address else memoryview(b"")


def _text(text: bytes | None) -> str:
    return "".join(one for one in (text or b"").decode(errors="replace") if one.isprintable())[:256]
