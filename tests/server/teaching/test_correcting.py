"""What a correction is told by: where regions lie, and which parts are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detector import TaughtModel, load
from detector.images import BGRImage
from server.recipes import ModelKeep, ModelVersion, Recipe, Regions
from server.teaching.correcting import _regions_on_reference
from server.teaching.models import Models
from tests.detector.parts import draw_part

LABEL = ((0.1, 0.2), (0.3, 0.2), (0.3, 0.4))


def test_regions_of_a_frame_lie_elsewhere_on_the_reference() -> None:
    """As do marked places: the model saw the part there."""
    regions = Regions(ignore=(LABEL,))
    there = _regions_on_reference(regions, ((1, 0, 0.1), (0, 1, 0.0)))
    assert there.include == ()
    assert np.allclose(there.ignore, [[(x - 0.1, y) for x, y in LABEL]])
    assert _regions_on_reference(regions, None) == regions


def test_good_parts_that_were_not_here_are_asked_once_they_are(disc_folder: Path, tmp_path: Path) -> None:
    """Another gateway of the plant taught the model, and its pictures are fetched later."""
    pictures = list[BGRImage]()
    model = load(disc_folder)
    assert isinstance(model, TaughtModel)
    models = Models(ModelKeep(tmp_path), model.runtime, 1, lambda taught: pictures)
    models.give(model)
    recipe = Recipe("discs", "discs", 1, ModelVersion(model.taught_hash))
    asked = list[int]()
    for picture in (None, draw_part(60)):
        pictures += [] if picture is None else [picture]
        known = models.known(recipe)
        goods, _ = models.scores(model, recipe, known)
        assert len(goods) == len(known.goods)
        asked.append(len(goods))
    assert asked == [0, 1]
