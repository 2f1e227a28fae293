"""Pictures of a folder as frames, read as they are read for teaching."""

from __future__ import annotations

import logging
from pathlib import Path

from server.cameras.arrivals import CaptureError, Frames, Grabbed
from server.cameras.framing import Image

logger = logging.getLogger("defectvision.camera")

FOLDER_FPS = 5.0


def folder_of_pictures(folder: Path, fps: float | None) -> Frames:
    """The pictures of a folder in the order of their names, again and again; those added meanwhile, too."""
    pace, shown = fps or FOLDER_FPS, 0
    skipped: set[Path] = set()
    while True:
        before = shown
        # Listed anew on each round, so that pictures can be added while it plays.
        for path in sorted(_pictures(folder)):
            image = _picture(path, skipped)
            if image is not None:
                yield Grabbed(shown / pace, lambda image=image: image)  # type: ignore[misc]
                shown += 1
        if shown == before:
            raise CaptureError(f"the folder {folder} holds no pictures: put JPEG, PNG or WebP files into it")


def _pictures(folder: Path) -> list[Path]:
    from detector.images import SUFFIXES

    try:
        return [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError as error:
        raise CaptureError(f"the folder {folder} cannot be read: {error.strerror}") from None


def _picture(path: Path, skipped: set[Path]) -> Image | None:
    # Here and not above: a camera that is no folder needs nothing of the detector.
    from detector.errors import ImageError
    from detector.images import read

    try:
        return read(path)
    except ImageError as error:
        if path not in skipped:
            skipped.add(path)
            logger.warning("%s is skipped: %s", path, str(error).removeprefix(f"{path}: "))
        return None
