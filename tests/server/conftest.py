"""What the server's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import detector
from tests.detector.parts import draw_parts
from tests.once import made_once
from tests.server.fakes import FakeModel


@pytest.fixture
def model() -> Iterator[FakeModel]:
    """A quick detector; whatever waits at its gate is let go at the end."""
    model = FakeModel()
    yield model
    model.gate.set()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny model on disk; to be read only."""

    def make(folder: Path) -> None:
        random = np.random.default_rng(0)
        frames = [random.integers(90, 110, (64, 64, 3), np.uint8) for _ in range(6)]
        detector.fit(frames, image_size=64, coreset_size=20, category="noise").save(folder / "noise")

    return made_once(tmp_path_factory, "noise", make) / "noise"


@pytest.fixture(scope="session")
def disc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model taught on twelve drawn discs; to be read only."""

    def make(folder: Path) -> None:
        detector.fit(draw_parts(12), image_size=128, coreset_size=200, category="disc").save(folder / "disc")

    return made_once(tmp_path_factory, "disc", make) / "disc"
