"""Pictures out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images.pixels import BGRImage


def encode_jpeg(image: BGRImage, *, quality: int = 80, longest_side: int | None = None) -> tuple[bytes, int, int]:
    """JPEG file of a picture, made smaller first if it is larger than ``longest_side``.

    Returns:
        the file, its width and its height in pixels.
    """
    height, width = image.shape[:2]
    if longest_side is not None and max(height, width) > longest_side:
        scale = longest_side / max(height, width)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes(), width, height


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """PNG file of a grey (H×W) or BGR (H×W×3) picture."""
    _, data = cv2.imencode(".png", image)
    return data.tobytes()
