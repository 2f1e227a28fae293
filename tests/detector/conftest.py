from __future__ import annotations

import pytest

import detector
from tests.detector.parts import draw_parts


@pytest.fixture(scope="session")
def model() -> detector.TaughtModel:
    """Taught on 12 good parts."""
    return detector.fit(draw_parts(12), image_size=128, coreset_size=200, category="disc", fingerprint="drawn")
