"""From frames to words: what viewers, the list of streams and figures say once something left."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from detector import Detection
from detector.images import BGRImage
from detector.light.relighting import Light, relit
from detector.thresholds import KSigma
from server.drift import Drifts
from server.drift import drifts as drifts_module
from server.drift.sequential import Values
from server.drift.telling import OTHER_REGIONS, words_of
from server.inspection import Calibrations, Inspection
from server.inspection.captured import Captured
from server.recipes import Regions
from server.streams import Hub, InferencePool, OpenStream, Streams, Told
from server.words import Drift, DriftWhat, Transport
from tests.server.fakes import FakeModel, until


class Line:
    """A stream of named parts whose pictures the test decides."""

    def __init__(self, streams: Streams, drifts: Drifts, heard: list[Drift]) -> None:
        self.streams, self.drifts, self.heard = streams, drifts, heard
        self.opened: OpenStream = streams.open("press", "websocket")
        self._random = np.random.default_rng(0)
        self._part = 0

    def picture(self, light: float = 1.0) -> BGRImage:
        plain = np.full((96, 128, 3), 60, np.uint8)
        cv2.circle(plain, (64, 48), 25, (85, 85, 85), -1)
        return relit(plain, Light(colour=(light, light, light)), self._random)

    async def comes_over(self, transport: Transport) -> None:
        self.streams.close_stream(self.opened)
        self.opened = self.streams.open("press", transport)

    async def show(self, parts: int, light: float = 1.0) -> None:
        for _ in range(parts):
            self._part += 1
            self.opened.say_part(str(self._part))
            picture, before = self.picture(light), self.opened.stream.inspected
            self.opened.offer(lambda picture=picture: picture)  # type: ignore[misc]
            await until(lambda before=before: self.opened.stream.inspected > before)  # type: ignore[misc]


@pytest.fixture
async def line(model: FakeModel, tmp_path: Path) -> AsyncIterator[Line]:
    inspection, pool, hub = Inspection(Calibrations(tmp_path)), InferencePool(1), Hub()
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    streams = Streams(pool, hub, inspection)
    drifts = Drifts(hub, lambda name: opened.stream.transport if (opened := streams.get(name)) else None)
    streams.drifted = drifts.warnings
    heard: list[Drift] = []

    def hear(told: Told) -> None:
        if isinstance(told.message, Drift):
            heard.append(told.message)

    hub.listen(hear)
    yield Line(streams, drifts, heard)
    pool.close()


async def test_less_light_is_said_once_everywhere_and_taken_back(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await line.show(60)
    assert not line.heard and line.streams.info(line.opened).warnings == []
    await line.show(60, light=0.7)
    (told,) = line.heard
    assert (told.stream, told.what, told.is_out, told.reference) == ("press", "light", True, "first parts")
    assert told.change == pytest.approx(-0.3, abs=0.05)
    assert "% darker than in the first parts" in told.words and "calibrate again" in told.words
    assert line.streams.info(line.opened).warnings == [told.words]
    assert [record.getMessage() for record in caplog.records if "drift" in record.getMessage()] == [
        f"drift stream=press what=light words={told.words}"
    ]
    figures = {figure.labels["what"]: figure.value for figure in line.drifts.figures() if figure.name == "drift"}
    assert figures["light"] == 1 and sum(figures.values()) == 1
    await line.show(80)
    assert [one.is_out for one in line.heard] == [True, False] and line.heard[1].change == 0
    assert line.streams.info(line.opened).warnings == []


async def test_it_is_compared_with_the_calibration_made_on_the_stream(line: Line) -> None:
    await line.show(3)
    before = await _captured(line, 40)
    draft = line.streams.inspection.judge(before, KSigma(3))
    assert draft.judgement.calibration is not None
    line.streams.inspection.set(draft, draft.judgement.calibration, who="me", why="a test")
    line.streams.tell_changed("me")
    await line.show(60, light=0.7)
    assert {(one.what, one.reference, one.is_out) for one in line.heard} == {("light", "calibration", True)}
    assert "darker than when calibrated" in line.heard[0].words
    again = line.streams.inspection.judge(await _captured(line, 40, light=0.7), KSigma(3))
    assert again.judgement.calibration is not None
    line.streams.inspection.set(again, again.judgement.calibration, who="me", why="a test")
    await line.show(40, light=0.7)
    assert [one.is_out for one in line.heard] == [True, False] and "compared anew" in line.heard[-1].words


async def _captured(line: Line, parts: int, light: float = 1.0) -> Captured:
    inspection = line.streams.inspection
    found = [
        inspection.inspect(lambda: line.picture(light), stream="press", transport="websocket", sample=True)
        for _ in range(parts)
    ]
    drawn = np.random.default_rng(1).random(parts)  # the fake model gives all the same score: one part
    return Captured(
        model=found[0].model,
        stream="press",
        transport="websocket",
        scores=tuple(one.raw_score + float(noise) for one, noise in zip(found, drawn, strict=True)),
        looks=tuple(one.sample.look for one in found if one.sample),
        pictures=(b"",) * parts,
        recipe=found[0].recipe.id,
        conditions=tuple(one.condition for one in found if one.condition),
    )


async def test_a_calibration_of_another_stream_is_no_reference(line: Line) -> None:
    await line.show(3)
    captured = await _captured(line, 40, light=0.5)
    elsewhere = line.streams.inspection.judge(replace(captured, stream="other"), KSigma(3))
    assert elsewhere.judgement.calibration is not None
    line.streams.inspection.set(elsewhere, elsewhere.judgement.calibration, who="me", why="a test")
    await line.show(60)
    assert not line.heard


async def test_pictures_are_not_compared_with_those_of_another_transport(line: Line) -> None:
    """A calibration over WebSocket is no reference for WebRTC, and is again for WebSocket; the stream is the same."""
    await line.show(3)
    draft = line.streams.inspection.judge(await _captured(line, 40), KSigma(3))
    assert draft.judgement.calibration is not None
    line.streams.inspection.set(draft, draft.judgement.calibration, who="me", why="a test")
    line.streams.tell_changed("me")
    await line.show(10)
    await line.comes_over("webrtc")
    await line.show(60, light=0.7)
    assert not line.heard
    await line.comes_over("websocket")
    await line.show(60, light=0.7)
    assert {(one.what, one.reference, one.is_out) for one in line.heard} == {("light", "calibration", True)}


class Varied(FakeModel):
    """Scores vary by one around a level, wherever it is looked at."""

    level = 60.0

    def __init__(self) -> None:
        super().__init__()
        self._random = np.random.default_rng(2)

    def detect(self, frame: NDArray[np.uint8]) -> Detection:
        score = self.level + float(self._random.standard_normal())
        return Detection(score, np.full((self.cells, self.cells), score, np.float32))


async def test_scores_are_not_compared_with_those_of_other_regions_and_that_is_said(line: Line) -> None:
    inspection, model, whole = line.streams.inspection, Varied(), Regions()
    inspection.use(model)  # type: ignore[arg-type]
    await line.show(3)
    recipe = inspection.recipe_on("press")
    draft = inspection.judge(replace(await _captured(line, 100), regions=whole), KSigma(4))
    assert draft.judgement.calibration is not None
    inspection.set(draft, draft.judgement.calibration, who="me", why="a test")
    model.level -= 2

    async def inspected_in(regions: Regions) -> list[str]:
        inspection.use(model, msgspec.structs.replace(recipe, regions=regions))  # type: ignore[arg-type]
        await line.show(150)
        return line.streams.info(line.opened).warnings

    said = await inspected_in(Regions(ignore=(((0.0, 0.0), (0.5, 0.0), (0.0, 0.5)),)))
    assert OTHER_REGIONS in said and not line.heard
    assert OTHER_REGIONS not in await inspected_in(whole)
    assert {(one.what, one.reference) for one in line.heard} == {("score", "calibration")}


async def test_streams_that_are_watched_are_bounded(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drifts_module, "MOST", 3)
    await line.show(2)
    seen = line.streams.inspection.inspect(lambda: line.picture(), stream="press", transport="websocket")
    assert line.opened.last is not None
    last = line.opened.last[0]
    line.streams.close_stream(line.opened)
    for number in range(10):
        opened = line.streams.open(f"s{number}", "websocket")
        line.drifts.hear(Told(msgspec.structs.replace(last, stream=f"s{number}"), seen))
        line.streams.close_stream(opened)
    assert [*line.drifts._watches] == ["s7", "s8", "s9"]
    assert [*line.drifts.figures()] == [], "nobody sends them"


@pytest.mark.parametrize(
    ("what", "number", "value", "says"),
    [
        ("light", 0, -0.515, "30 % darker"),
        ("contrast", 1, -1.0, "50 % less contrast"),
        ("focus", 2, -2.0, "50 % weaker"),
        ("position", 3, 0.06, "6 % of its width further right"),
        ("position", 4, -0.03, "3 % of its height further up"),
        ("size", 5, 0.1375, "10 % larger"),
    ],
)
def test_words(what: DriftWhat, number: int, value: float, says: str) -> None:
    off: Values = np.zeros(6)
    off[number] = value
    assert what != "score"
    assert says in words_of(what, off, "than when calibrated").say
