"""What is given wrong bytes: each target takes them and lets nothing out but what is a fault.

Imports stand inside of the functions, so that a target's process has only what it tests.
"""

from __future__ import annotations

import contextlib


def network_picture(data: bytes) -> None:
    """A frame or an upload."""
    from detector import ImageError
    from detector.images import decode

    with contextlib.suppress(ImageError):
        picture = decode(data)
        assert picture.ndim == 3 and picture.dtype == "uint8" and picture.size <= 3 * 64_000_000


def file_picture(data: bytes) -> None:
    """A file of a folder, which may be BMP or TIFF too."""
    from detector import ImageError
    from detector.images import FILE_FORMATS, decode

    with contextlib.suppress(ImageError):
        picture = decode(data, formats=FILE_FORMATS)
        assert picture.ndim == 3 and picture.dtype == "uint8" and picture.size <= 3 * 64_000_000
