from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import pytest
from numpy.typing import NDArray

import detector
from detector import region
from detector.teaching import teach
from tests.detector.parts import draw_part

Picture = NDArray[np.uint8]


class Loaded(Sequence[Picture]):
    """Pictures that are drawn when asked for, and counted while anybody holds them."""

    def __init__(self, count: int) -> None:
        self.count, self.held, self.most_held = count, 0, 0

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, index: int, /) -> Picture: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[Picture]: ...
    def __getitem__(self, index: int | slice, /) -> Picture | Sequence[Picture]:
        assert isinstance(index, int)
        if index >= self.count:
            raise IndexError
        picture = draw_part(index, width=160, height=160)
        self.held += 1
        self.most_held = max(self.held, self.most_held)
        weakref.finalize(picture, self._let_go)
        return picture

    def _let_go(self) -> None:
        self.held -= 1


def test_pictures_of_a_sequence_are_held_one_at_a_time() -> None:
    """60 whole pictures were held while the region was looked for: 3.6 GB of 20 megapixels each."""
    pictures = Loaded(12)
    detector.fit(pictures, image_size=64, coreset_size=50)
    assert pictures.most_held <= 2  # the next one is loaded while a loop still names the last


def test_of_an_iterator_no_more_are_held_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Loaded(12)
    monkeypatch.setattr(teach, "SAMPLE_BYTES", 3 * 160 * 160 * 3)

    def drawn() -> Iterator[Picture]:
        for number in range(12):
            yield pictures[number]

    model = detector.fit(drawn(), image_size=64, coreset_size=50)
    assert pictures.most_held <= 5
    assert model.manifest.n_images == 12


def test_the_region_is_that_of_pictures_held_together() -> None:
    pictures = Loaded(12)
    listed = [pictures[number] for number in range(12)]
    inputs = region.Inputs(64, 16, 8)
    assert region.find_region(region.Spread(pictures, 60), inputs) == region.find_region(listed, inputs)
    spread = [int(picture.sum()) for picture in region.Spread(pictures, 3)]
    assert spread == [int(listed[number].sum()) for number in (0, 5, 11)]
    assert list(region.Spread([], 60)) == []
