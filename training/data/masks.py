"""Ground-truth masks: which part of a picture is defective, from files as programs and people save them.

Black, or transparent, is where nothing is wrong. What may mean something else is refused with the reason: figures of a
mask that was taken the wrong way round look like those of a bad model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector import ImageError, images
from training.data.layouts import TestPicture, pictures_in

Mask = NDArray[np.bool_]

_FEW = 64
"""Values that a mask of classes has at the most; more are those of soft edges, or of a photograph."""
_LOOKED_AT = 1_000_000
"""Pixels in which values are counted, evenly spread."""
_JPEG = b"\xff\xd8\xff"


def read(path: Path) -> Mask:
    """A mask (H×W): true where the part is defective.

    Args:
        path: a picture, or a folder of several that are taken together.

    Raises:
        ImageError: it cannot be read, or what it marks cannot be told for certain; names the file and says why.
    """
    if not path.is_dir():
        return _read(path)
    masks = [_read(inside) for inside in pictures_in(path)]
    if not masks or any(mask.shape != masks[0].shape for mask in masks):
        raise ImageError(f"{path}: the masks in it are not all of one size")
    return np.asarray(np.logical_or.reduce(masks), np.bool_)


def of(picture: TestPicture, size: tuple[int, int]) -> Mask:
    """The mask of a picture that has one, lying on it as the picture is looked at: upright.

    Args:
        size: height and width of the upright picture, in pixels. The mask may have another, of the same shape.

    Raises:
        ImageError: as of :func:`read`; or it does not fit, or may lie on the picture in two ways.
    """
    assert picture.mask is not None
    mask = read(picture.mask)
    upright = same_shape((mask.shape[0], mask.shape[1]), size)
    turned = images.stored_orientation(picture.path)
    if turned == 1:
        if upright:
            return mask
    elif same_shape((mask.shape[0], mask.shape[1]), size[::-1] if turned >= _ON_ITS_SIDE else size):
        if not upright:
            return images.upright(mask, turned)
        raise ImageError(
            f"{picture.mask}: its picture is turned by an EXIF orientation, and whether the mask was drawn on the "
            "turned picture or on the stored one does not show: save the picture upright, without the orientation"
        )
    elif upright:
        return mask
    raise ImageError(
        f"{picture.mask}: the mask is {mask.shape[1]}×{mask.shape[0]} pixels, its picture {size[1]}×{size[0]}: not the "
        "same shape"
    )


_ON_ITS_SIDE = 5
"""EXIF orientations from this on swap height and width."""


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes, height and width in pixels, are one shape at different scales: a mask may be smaller or
    larger than its picture, give or take the pixel that rounding costs the smaller one."""
    return abs(one[1] * other[0] - one[0] * other[1]) <= max(*one, *other)


def _read(path: Path) -> Mask:
    values = images.read_values(path)
    with path.open("rb") as file:
        if file.read(len(_JPEG)) == _JPEG:
            raise ImageError(f"{path}: a JPEG has no sharp edges: save the mask as PNG")
    try:
        marked = _marked(values)
        _check_not_inverted(marked)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    return marked


def _marked(values: NDArray[Any]) -> Mask:
    coloured = np.asarray((values[..., :3] > 0).any(axis=2), np.bool_)
    if values.shape[2] == 4 and np.ptp(values[..., 3]):
        drawn = np.asarray(values[..., 3] > 0, np.bool_)
        both = drawn & coloured
        # Strokes of black on nothing are strokes; black on which something was drawn is none.
        return both if both.any() else drawn
    step = max(1, round((coloured.size / _LOOKED_AT) ** 0.5))
    codes = _codes(values[::step, ::step, :3])
    found, counts = np.unique(codes, return_counts=True)
    if len(found) > _FEW:
        grey = bool((values[..., :1] == values[..., 1:3]).all())
        if not grey or 2 * np.count_nonzero(coloured) > coloured.size:
            raise ImageError(
                f"it holds {len(found)} {'shades' if grey else 'colours'}, as a photograph does: save a mask that is "
                "black where nothing is wrong, and nothing else"
            )
    elif len(found) > 1 and coloured.all():
        background = found[counts.argmax()]
        edge = np.concatenate([codes[0], codes[-1], codes[:, 0], codes[:, -1]])
        if 2 * counts.max() <= codes.size or 2 * np.count_nonzero(edge == background) <= edge.size:
            raise ImageError("nothing in it is black, and which of its values is the background does not show")
        return np.asarray(_codes(values[..., :3]) != background, np.bool_)
    return coloured


def _codes(values: NDArray[Any]) -> NDArray[Any]:
    """One number for each colour (H×W)."""
    blue, green, red = np.moveaxis(values.astype(np.float64), 2, 0)
    return np.asarray(blue + green * 65_536.0 + red * 65_536.0**2)


def _check_not_inverted(marked: Mask) -> None:
    share = float(marked.mean())
    edge = marked[0].all() and marked[-1].all() and marked[:, 0].all() and marked[:, -1].all()
    if 0.5 < share < 1 and edge:
        raise ImageError(
            f"it marks {share:.0%} of the picture and all of its edge, so it may be inverted: black is where nothing "
            "is wrong"
        )
