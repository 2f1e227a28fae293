"""Our pictures, read and resized as the detector does it, handed to anomalib as it wants them."""

from __future__ import annotations

import detector.quiet_openvino  # noqa: F401  before anomalib can import openvino

# isort: split

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib.data import ImageBatch, ImageItem
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from detector.anomalib import to_input
from training.data import datasets


class NormalPictures(Dataset):  # type: ignore[misc]  # torch is not type-checked
    """Pictures of good parts: RGB float32 0..1, side×side, labelled normal."""

    def __init__(self, paths: Sequence[Path], side: int) -> None:
        self._paths, self._side = paths, side

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        path = self._paths[index]
        image = torch.from_numpy(to_input(datasets.read_picture(path), self._side)[0])
        return ImageItem(image=image, gt_label=torch.tensor(0), image_path=str(path))


class Pictures(LightningDataModule):  # type: ignore[misc]  # lightning is not type-checked
    """What the Engine learns from, and the normal pictures it validates with.

    Args:
        taught: to learn from.
        held_out: to validate with; may be empty.
        side: of the square input, in pixels.
        batch_size: while learning.
    """

    name = category = ""
    """Of the data set: anomalib makes folders of them."""

    def __init__(self, taught: Sequence[Path], held_out: Sequence[Path], side: int, batch_size: int) -> None:
        super().__init__()
        self.train_batch_size = batch_size
        self._taught, self._held_out = NormalPictures(taught, side), NormalPictures(held_out, side)

    def train_dataloader(self) -> Any:
        return DataLoader(self._taught, self.train_batch_size, shuffle=True, collate_fn=ImageBatch.collate)

    def val_dataloader(self) -> Any:
        return DataLoader(self._held_out, 1, collate_fn=ImageBatch.collate) if len(self._held_out) else []
