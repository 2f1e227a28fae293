"""The whole job, done through the page by somebody with a tablet: teach, calibrate, forgive, remember, undo, draw a
region, run two recipes on two streams, and take one to another server. Browser, servers and models are real."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Playwright

import detector
from detector.images import decode
from detector.teaching import PresetName
from tests.page import chromium
from tests.page.line_operator import Operator, Point, Result, operator
from tests.page.parts import FOR_TEACHING, Parts, Shelf, shelf
from tests.page.visits import LOOPBACK_SERVER
from tests.running import command, free_port
from training.measure.metrics import auroc

PRESET: PresetName = "fast"


@dataclass(frozen=True)
class Job:
    """A server, and who taught it: ``press``, whose stream is inspected with ``recipe``. ``tested``: good parts, then
    as many defects; ``first``: what was found in them before anything was corrected."""

    url: str
    press: Operator
    recipe: str
    tested: tuple[bytes, ...]
    first: list[Result]

    @property
    def labels(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.arange(len(self.tested)) >= len(self.tested) // 2

    def auroc(self, results: Sequence[Result]) -> float:
        found = auroc(np.array(raw(results)), self.labels)
        assert found is not None
        return found


def raw(results: Sequence[Result]) -> list[float]:
    """Their raw scores."""
    return [result["raw_score"] for result in results]


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The one that people use."""
    with contextlib.closing(chromium.launch(playwright, whole=True)) as started:
        yield started


@pytest.fixture(scope="module")
def pictures() -> Shelf:
    return shelf()


@pytest.fixture(scope="module")
def job(browser: Browser, parts: Parts, pictures: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """Taught through the page, from its own camera. Each test leaves the scores as they were."""
    port = free_port()
    url, tested = f"http://127.0.0.1:{port}", (*pictures.good, *pictures.defects)
    folder = tmp_path_factory.mktemp("job")
    with (
        command(port, {"MODEL_PATH": str(parts.model)}, folder, module=LOOPBACK_SERVER),
        operator(browser, url, "press", pictures.taught[0]) as press,
    ):
        taught = press.teach("the part", pictures.taught, PRESET)
        assert taught.parts == FOR_TEACHING
        yield Job(url, press, taught.recipe, tested, press.scores(tested))


def test_it_is_as_good_as_a_model_taught_offline(job: Job, pictures: Shelf) -> None:
    model = detector.fit([decode(picture) for picture in pictures.taught], preset=PRESET)
    scores = [model.detect(decode(picture)).score for picture in job.tested]
    offline = auroc(np.array(scores), job.labels)
    assert offline is not None and job.auroc(job.first) >= offline - 0.005


def test_a_calibration_moves_the_threshold_and_no_score(job: Job, pictures: Shelf) -> None:
    threshold = job.press.calibrate(pictures.calibrated, spacing=0.4, k=3)
    again = job.press.scores(job.tested)
    assert raw(again) == raw(job.first)
    assert {result["threshold"] for result in again} == {threshold} != {job.first[0]["threshold"]}
    assert {result["threshold_source"] for result in again} == {"calibration"}


def test_forgiven_and_remembered_and_both_undone_bit_for_bit(job: Job) -> None:
    press, before = job.press, raw(job.first)
    good = len(before) // 2

    worst = int(np.argmax(before[:good]))
    press.put_threshold(job.recipe, 0.999 * before[worst])  # so that it is a false reject
    press.forgive(job.tested[worst])
    forgiven = press.scores(job.tested)
    assert press.score(job.tested[worst])["verdict"] == "NORMAL"
    assert job.auroc(forgiven) >= job.auroc(job.first) - 0.002

    middle = float(np.median(raw(forgiven)[good:]))
    press.put_threshold(job.recipe, middle)  # so that half of the defects escape
    escape = good + int(np.argmin(raw(forgiven)[good:]))
    press.remember(job.tested[escape])
    remembered = press.scores(job.tested)
    assert remembered[escape]["verdict"] == "ANOMALY"
    found = [sum(score > middle for score in raw(results)[good:]) for results in (forgiven, remembered)]
    assert found[1] > found[0]
    assert all(after >= score for score, after in zip(raw(forgiven)[good:], raw(remembered)[good:], strict=True))

    assert press.undo_corrections(job.recipe) == 2
    press.go("live")
    assert raw(press.scores(job.tested)) == before


def test_a_region_drawn_with_a_finger_is_not_inspected_until_it_is_taken_back(job: Job) -> None:
    press = job.press
    worst = int(np.argmax(raw(job.first)))
    shown = job.first[worst]
    press.ignore(job.recipe, *round_what_deviates_most(shown))
    press.go("live")
    assert press.score(job.tested[worst])["raw_score"] < shown["raw_score"]
    assert raw(press.scores(job.tested)) != raw(job.first)
    press.go_back(job.recipe)
    press.go("live")
    assert raw(press.scores(job.tested)) == raw(job.first)


def round_what_deviates_most(result: Result) -> tuple[Point, Point]:
    """Corners of a box with a margin, x and y from 0 to 1 of the frame: a heat map says no more than twice the
    threshold, which may be in many places."""
    heatmap = result["heatmap"]
    width, height = heatmap["width"], heatmap["height"]
    values = np.frombuffer(base64.b64decode(heatmap["data"]), np.uint8).reshape(height, width)
    rows, columns = np.nonzero(values == values.max())
    return (
        (max(0.01, columns.min() / width - 0.05), max(0.01, rows.min() / height - 0.05)),
        (min(0.99, (columns.max() + 1) / width + 0.05), min(0.99, (rows.max() + 1) / height + 0.05)),
    )


def test_two_streams_run_two_recipes_and_one_can_take_the_others(job: Job, browser: Browser, pictures: Shelf) -> None:
    part, other = job.tested[0], pictures.others[-1]
    with operator(browser, job.url, "second", pictures.others[0]) as second:
        recipe = second.teach("the other part", pictures.others, PRESET).recipe
        seen = {}
        for who in (second, job.press):
            who.go("live")
            seen[who.stream] = {picture: who.score(picture) for picture in (part, other)}
        own, its = seen["press"], seen["second"]
        assert own[part]["recipe"] == job.recipe != recipe == its[other]["recipe"]
        assert own[part]["raw_score"] < own[other]["raw_score"]
        assert its[other]["raw_score"] < its[part]["raw_score"]
        assert its[part]["raw_score"] != own[part]["raw_score"] == job.first[0]["raw_score"]
        second.use(job.recipe)
        assert second.score(part)["raw_score"] == own[part]["raw_score"]
        assert job.press.score(part)["recipe"] == job.recipe


def test_a_recipe_goes_to_another_server_in_one_file(job: Job, browser: Browser, parts: Parts, tmp_path: Path) -> None:
    file = job.press.export(job.recipe, tmp_path)
    port, sent = free_port(), dict(job.press.digests)
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "elsewhere").mkdir()
    with (
        command(port, {"MODEL_PATH": str(parts.model)}, tmp_path / "elsewhere", module=LOOPBACK_SERVER),
        operator(browser, url, "line", job.tested[-1]) as elsewhere,
    ):
        recipe = elsewhere.bring_in(file)
        elsewhere.go("live")
        there = elsewhere.scores(job.tested)
    assert {result["recipe"] for result in there} == {recipe}
    assert all(elsewhere.digests[picture] == sent[picture] for picture in job.tested if picture in elsewhere.digests)
    assert raw(there) == raw(job.first)
