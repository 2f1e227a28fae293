"""Whether a stream's pictures are of the shape they were, and of the shape that was taught. No I/O."""

from __future__ import annotations

from server.words import Transport

Size = tuple[int, int]
"""Width and height in pixels."""

SAME = 1.02
"""How far two shapes (width to height) may be apart to be called the same: encoders round sides to even numbers."""


class Shape:
    """Follows the sizes of one connection's pictures.

    What a model inspects is a rectangle in shares of the frame: in a frame of another shape it lies elsewhere, and the
    part is stretched. A browser that sends over WebRTC changes the size, not the shape, with what the network carries:
    that is no event.
    """

    def __init__(self, transport: Transport) -> None:
        self._scales = transport == "webrtc"
        self._first: Size | None = None
        self._size: Size | None = None

    def see(self, size: Size) -> None:
        """A picture of this size was inspected."""
        self._first = self._first or size
        self._size = size

    def warnings(self, taught: tuple[float, float] | None) -> dict[str, str]:
        """What is wrong with the shape of the last picture, for the operator, by kind.

        Args:
            taught: narrowest and widest shape (width to height) among the pictures a model was taught with, if known.
        """
        if self._size is None or self._first is None:
            return {}
        found = {}
        now, first = _words(self._size), _words(self._first)
        shape = _shape(self._size)
        if not _same(shape, _shape(self._first)):
            found["changed shape"] = (
                f"the picture changed its shape in mid-stream ({first}, now {now}), so other places of the part are "
                "inspected: set the camera back"
            )
        elif self._size != self._first and not self._scales:
            found["changed size"] = (
                f"the picture changed its size in mid-stream ({first}, now {now}), so scores may differ and a crop "
                "lies elsewhere: set the camera back"
            )
        if taught is not None and not taught[0] / SAME <= shape <= taught[1] * SAME:
            found["not as taught"] = (
                f"pictures of {now} are {shape:.2f} times as wide as high, those taught were {_range(taught)}: parts "
                "look stretched, so set the camera to that, or teach again"
            )
        return found


def _shape(size: Size) -> float:
    return size[0] / size[1]


def _same(one: float, other: float) -> bool:
    return max(one, other) <= SAME * min(one, other)


def _words(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def _range(taught: tuple[float, float]) -> str:
    narrowest, widest = (f"{shape:.2f}" for shape in taught)
    return narrowest if narrowest == widest else f"{narrowest} to {widest}"
