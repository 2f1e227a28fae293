"""The simulated line as a stream, and its teacher."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector import ModelError
from server.ingest import simulated_stream
from server.ingest.simulated_stream import NAME, Teacher
from server.inspection.calibrations import Calibrations
from server.inspection.inspection import Inspection
from server.streams.hub import Hub
from server.streams.pool import InferencePool
from server.streams.streams import Streams
from server.words.messages import PartResult, Result
from tests.server.fakes import FakeModel, read, status, until


async def test_the_line_runs_until_it_is_cancelled(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_stream, "FRAMES_PER_SECOND", 200.0)
    inspection, pool, hub = Inspection(Calibrations(tmp_path)), InferencePool(1), Hub()
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    streams, viewer = Streams(pool, hub, inspection), hub.subscribe(NAME)
    line = asyncio.create_task(simulated_stream.run(streams))
    await until(lambda: any(stream.inspected >= 5 for stream in streams.list()))
    (stream,) = streams.list()
    assert (stream.name, stream.transport, stream.simulated) == (NAME, "simulated", True)
    line.cancel()
    await asyncio.gather(line, return_exceptions=True)
    assert streams.list() == []
    pool.close()
    viewer.close()
    first, *results, last = [read(text) async for text in viewer]
    assert (first, last) == (status(NAME, "live"), status(NAME, "waiting"))
    parts, whole = [], [message for message in results if isinstance(message, PartResult)]
    assert whole and all(part.simulated and part.source == "id" for part in whole), "each has one verdict"
    for result in results:
        if isinstance(result, PartResult):
            continue
        assert isinstance(result, Result) and not isinstance(result.simulated, type(result.picture))
        parts.append(result.simulated.part)  # type: ignore[union-attr]
    assert parts == sorted(parts) and parts[0] == 1, "people count from 1"


class Taught:
    """What the teacher asks the detector for, counted."""

    def __init__(self) -> None:
        self.taught = 0
        self.refusal: Exception | None = None

    def fit(self, images: Iterator[np.ndarray[Any, Any]], **given: Any) -> FakeModel:
        self.taught += 1
        given["progress"]("features", 0.5)
        model = _SavedModel()
        model.manifest = replace(model.manifest, dataset_fingerprint=given["fingerprint"])
        model.refusal = self.refusal
        return model

    def load(self, folder: Path, **given: Any) -> FakeModel:
        if not folder.exists():
            raise ModelError("there is no model")
        model = _SavedModel()
        model.manifest = replace(model.manifest, dataset_fingerprint=(folder / "fingerprint").read_text())
        if model.manifest.dataset_fingerprint == "":
            raise ModelError("it is damaged")
        return model


class _SavedModel(FakeModel):
    refusal: Exception | None = None

    def save(self, folder: Path) -> None:
        if self.refusal is not None:
            raise self.refusal
        folder.mkdir(exist_ok=True)
        (folder / "fingerprint").write_text(self.manifest.dataset_fingerprint)


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Taught:
    detector = Taught()
    monkeypatch.setattr(simulated_stream, "fit", detector.fit)
    monkeypatch.setattr(simulated_stream, "load_taught", detector.load)
    return detector


def teacher(folder: Path, image_size: int | None = None) -> Teacher:
    return Teacher(folder / "data", image_size=image_size, runtime="openvino", workers=1)


def test_it_is_taught_at_the_first_start_only(tmp_path: Path, detector: Taught) -> None:
    first = teacher(tmp_path)
    assert first.progress == 0
    first.model()
    assert first.progress == 0.5
    teacher(tmp_path).model()
    assert detector.taught == 1


def test_another_image_size_is_another_model(tmp_path: Path, detector: Taught) -> None:
    teacher(tmp_path).model()
    teacher(tmp_path, image_size=64).model()
    assert detector.taught == 2


def test_a_damaged_model_is_taught_again(tmp_path: Path, detector: Taught, caplog: pytest.LogCaptureFixture) -> None:
    teacher(tmp_path).model()
    (tmp_path / "data" / "simulated_line" / "fingerprint").write_text("")
    teacher(tmp_path).model()
    assert detector.taught == 2
    assert "taught again" in caplog.text and "damaged" in caplog.text


def test_teaching_is_given_up_at_the_shutdown(tmp_path: Path, detector: Taught) -> None:
    stopped = teacher(tmp_path)
    stopped.stop()
    with pytest.raises(ModelError, match="shutting down"):
        stopped.model()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "refusal",
    [OSError(28, "No space left on device"), ModelError("the model cannot be written: No space left on device")],
)
def test_on_a_full_disk_it_inspects_all_the_same(
    refusal: Exception, tmp_path: Path, detector: Taught, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, it gave up for ever, though the model was taught."""
    detector.refusal = refusal
    assert teacher(tmp_path).model().detect is not None
    assert "No space left" in caplog.text and "set another DATA_DIR" in caplog.text
    detector.refusal = None
    teacher(tmp_path).model()
    teacher(tmp_path).model()
    assert detector.taught == 2, "what could not be stored is taught again, and then kept"
