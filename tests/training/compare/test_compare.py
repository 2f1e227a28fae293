from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detector
from detector.errors import OUT_OF_MEMORY
from detector.images import BGRImage
from detector.input_size import square
from detector.score import Detection
from tests.training.conftest import draw_part, write_picture
from training.anomalib import models as anomalib_models
from training.commands import add_parsers
from training.compare import candidates
from training.compare.candidates import Candidate, EfficientADOptions, Fitted, Progress, TrainingData, UnknownCandidate
from training.compare.columns import COLUMNS
from training.compare.compare import Failed, Section, compare, prepare, titles
from training.compare.comparison_report import Comparison, as_json, as_markdown, figures_table, means
from training.compare.html_report import as_html
from training.data.datasets import DataSetError
from training.measure.latency import LATENCY_ROUNDS, interleaved_latencies


def quick(name: str, *, image_size: int = 64, coreset_size: int = 40) -> Candidate:
    """Our PatchCore, small enough for a test."""

    def fit(data: TrainingData, progress: Progress) -> Fitted:
        model = detector.fit(
            data.pictures(),
            image_size=image_size,
            coreset_size=coreset_size,
            holdout=0.5,
            category=data.category,
            progress=progress,
        )
        return Fitted(model, lambda: 1_234_567)

    return Candidate(name, f"{image_size} pixels", fit)


def failing(name: str, error: Exception) -> Candidate:
    def fit(data: TrainingData, progress: Progress) -> Fitted:
        raise error

    return Candidate(name, "fails", fit)


class Recorder:
    """A stand-in for a model: remembers which frames came when, and fails from a given call on."""

    category, image_size, input_size, hash, runtime = "disc", 64, square(64), "0" * 64, "stand-in"
    threshold = 1.0

    def __init__(self, name: str, calls: list[tuple[str, int]], fails_at: float = math.inf) -> None:
        self.name, self.calls, self.fails_at = name, calls, fails_at

    def detect(self, frame: BGRImage, /) -> Detection:
        self.calls.append((self.name, int(frame[0, 0, 0])))
        if sum(name == self.name for name, _ in self.calls) > self.fails_at:
            raise RuntimeError("out of cheese")
        return Detection(0.5, np.full((8, 8), 0.5, np.float32))


def comparison(sections: list[Section], pending: tuple[str, ...] = ()) -> Comparison:
    return Comparison(tuple(sections), pending, "defectvision compare disc", "2026-01-02T03:04:05+00:00", "CPU", {})


@pytest.fixture(scope="session")
def section(parts: Path) -> Section:
    models = [quick("patchcore"), quick("small", coreset_size=5), failing("peer", ImportError("pip install peer"))]
    (found,) = compare(prepare([parts]), models)
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command as it is typed; its default model is a small one."""
    monkeypatch.setattr(candidates, "OWN", (quick("patchcore"),))

    def run(*arguments: object) -> int:
        parser = argparse.ArgumentParser("defectvision")
        add_parsers(parser.add_subparsers(required=True))
        parsed = parser.parse_args(["compare", *map(str, arguments)])
        return int(parsed.run(parsed))

    return run


def test_every_model_is_measured_on_the_same_pictures(parts: Path, section: Section) -> None:
    first, second = section.measured
    assert first.evaluation and second.evaluation
    assert (first.evaluation.good, first.evaluation.defective, first.evaluation.masks) == (4, 4, 3)
    assert [picture.path for picture in first.evaluation.pictures] == [
        picture.path for picture in second.evaluation.pictures
    ]
    assert first.evaluation.image_auroc == 1.0
    assert first.evaluation.pixel_auroc and first.evaluation.pixel_auroc > 0.9
    assert first.evaluation.aupro is not None
    assert first.fit_seconds > 0
    assert first.size_bytes == 1_234_567
    assert first.latency_median_ms == first.evaluation.latency_median_ms <= first.latency_p95_ms
    assert first.hash != second.hash


def test_a_model_that_fails_costs_only_its_own_row(section: Section) -> None:
    assert [row.name for row in section.rows] == ["patchcore", "small", "peer"]
    assert section.failed == (Failed("peer", "fails", "pip install peer"),)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("no memory"), "RuntimeError: no memory"), (MemoryError(), OUT_OF_MEMORY)],
)
def test_a_library_s_own_errors_are_named(parts: Path, error: Exception, reason: str) -> None:
    (found,) = compare(prepare([parts]), [failing("peer", error)])
    assert [row.reason for row in found.failed] == [reason]


def test_ctrl_c_is_not_a_failed_model(parts: Path) -> None:
    def stop(data: TrainingData, progress: Progress) -> Fitted:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(compare(prepare([parts]), [Candidate("patchcore", "", stop)]))


def test_progress_never_goes_back(parts: Path) -> None:
    seen: list[tuple[str, float]] = []
    list(
        compare(
            prepare([parts]),
            [quick("patchcore"), quick("second")],
            progress=lambda stage, fraction: seen.append((stage, fraction)),
        )
    )
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert {stage.split(":")[0] for stage, _ in seen} == {"disc"}
    assert any("second, inspecting" in stage for stage, _ in seen)


def test_models_take_turns_on_each_frame_and_the_first_one_changes() -> None:
    calls: list[tuple[str, int]] = []
    models = {name: Recorder(name, calls) for name in "abc"}
    frames = [np.full((64, 64, 3), value, np.uint8) for value in (10, 20)]
    latencies = interleaved_latencies(models, frames, failures={})
    assert {name: len(values) for name, values in latencies.items()} == dict.fromkeys("abc", 2 * LATENCY_ROUNDS)
    assert calls[:3] == [("a", 10), ("b", 10), ("c", 10)]  # without a clock
    assert calls[3:9] == [("b", 10), ("c", 10), ("a", 10), ("c", 20), ("a", 20), ("b", 20)]


def test_a_model_that_fails_while_its_latency_is_taken_leaves_the_others() -> None:
    calls: list[tuple[str, int]] = []
    models = {"good": Recorder("good", calls), "bad": Recorder("bad", calls, fails_at=2)}
    failures: dict[str, str] = {}
    latencies = interleaved_latencies(models, [np.zeros((64, 64, 3), np.uint8)], failures=failures)
    assert failures == {"bad": "RuntimeError: out of cheese"}
    assert len(latencies["good"]) == LATENCY_ROUNDS


def test_everything_wrong_with_the_folders_is_said_before_anything_is_fitted(tmp_path: Path, parts: Path) -> None:
    few = tmp_path / "few"
    write_picture(few / "train/good/000.png", draw_part(0))
    with pytest.raises(DataSetError) as caught:
        prepare([tmp_path / "missing", parts, few])
    said = str(caught.value)
    assert "There is no folder" in said
    assert "holds 1 picture to learn from" in said
    assert "Nothing was compared." in said


def test_a_folder_given_twice_is_refused(parts: Path) -> None:
    with pytest.raises(DataSetError, match="given twice"):
        prepare([parts, parts / "../disc"])


def test_folders_of_the_same_name_are_told_apart() -> None:
    folders = [Path("/a/new/bottle"), Path("/a/old/bottle"), Path("/a/cookie"), Path("/bottle")]
    assert titles(folders) == ["new/bottle", "old/bottle", "cookie", "/bottle"]


def test_without_labelled_pictures_fit_latency_and_size_are_known(tmp_path: Path) -> None:
    for number in range(6):
        write_picture(tmp_path / "flat" / f"{number}.png", draw_part(number))
    (found,) = compare(prepare([tmp_path / "flat"]), [quick("patchcore")])
    (row,) = found.measured
    assert row.evaluation is None
    assert row.latency_median_ms > 0
    assert [cell.text for cell in figures_table(found)[0].cells[:7]] == ["–"] * 7
    assert "There are no labelled pictures" in as_markdown(comparison([found]))


@pytest.mark.parametrize(("kind", "unknown"), [("good", "escapes"), ("spot", "false rejects")])
def test_one_class_only_gives_dashes_and_the_reason(tmp_path: Path, kind: str, unknown: str) -> None:
    for number in range(6):
        write_picture(tmp_path / f"disc/train/good/{number}.png", draw_part(number))
    write_picture(tmp_path / f"disc/test/{kind}/0.png", draw_part(9, defect=kind != "good"))
    (found,) = compare(prepare([tmp_path / "disc"]), [quick("patchcore")])
    cells = dict(zip([column.title for column in COLUMNS], figures_table(found)[0].cells, strict=True))
    assert cells["Image AUROC"].text == cells["F1"].text == "–"
    assert unknown in as_markdown(comparison([found]))


def test_unreadable_pictures_are_listed_and_left_out(tmp_path: Path, parts: Path) -> None:
    for number in range(6):
        write_picture(tmp_path / f"disc/train/good/{number}.png", draw_part(number))
        write_picture(tmp_path / f"disc/test/good/{number}.png", draw_part(50 + number))
    (tmp_path / "disc/train/good/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    entries = prepare([tmp_path / "disc"])
    (found,) = compare(entries, [quick("patchcore")])
    assert "broken.png" in as_markdown(comparison([found]))
    document = json.loads(as_json(comparison([found])))
    assert document["data_sets"][0]["unusable"][0]["path"].endswith("broken.png")
    assert document["data_sets"][0]["training_pictures"] == 6
    with pytest.raises(DataSetError, match="broken"):
        prepare([tmp_path / "disc"], strict=True)


def test_the_best_of_each_column_is_marked_and_ties_are_not_all_best(section: Section) -> None:
    first, second, failed = figures_table(section)
    assert failed.reason == "pip install peer"
    size = [column.title for column in COLUMNS].index("Size")
    assert not first.cells[size].best and not second.cells[size].best  # equal: neither is the best
    fit = [column.title for column in COLUMNS].index("Fit")
    assert first.cells[fit].best != second.cells[fit].best


def test_means_are_of_models_measured_on_every_data_set(section: Section) -> None:
    patchcore, small = section.measured
    other = replace(section, rows=(replace(patchcore, fit_seconds=patchcore.fit_seconds + 2), section.failed[0]))
    (mean,) = means([section, other])
    assert mean.name == "patchcore"
    assert mean.fit_seconds == pytest.approx(patchcore.fit_seconds + 1)
    assert patchcore.evaluation
    assert mean.image_auroc == patchcore.evaluation.image_auroc
    without_masks = replace(patchcore, evaluation=replace(patchcore.evaluation, pixel_auroc=None))
    (mean,) = means([section, replace(section, rows=(without_masks,))])
    assert mean.pixel_auroc == patchcore.evaluation.pixel_auroc
    assert small.name not in as_markdown(comparison([section, other])).split("## disc")[0]


def test_json_holds_every_score_and_no_pictures(section: Section) -> None:
    text = as_json(comparison([section], pending=("cookie",)))
    document = json.loads(text)
    first, _, failed = document["data_sets"][0]["models"]
    assert len(first["evaluation"]["pictures"]) == 8
    assert failed == {"name": "peer", "description": "fails", "error": "pip install peer"}
    assert document["pending"] == ["cookie"]
    assert "exhibits" not in first
    assert len(document["data_sets"][0]["training_fingerprint"]) == 64


def test_markdown_is_a_table_and_names_cannot_break_it(section: Section) -> None:
    hostile = replace(section, title="a|b\n# <script>`*[x](y)")
    text = as_markdown(comparison([hostile]))
    assert "## a\\|b \\# \\<script\\>\\`\\*\\[x\\](y)\n" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.count("|") for line in table} == {len(COLUMNS) + 2}
    assert "peer was not measured: pip install peer" in text


def test_figures_are_given_for_each_light(tmp_path: Path) -> None:
    disc = tmp_path / "disc"
    for number in range(6):
        write_picture(disc / f"train/good/{number:03}_regular.png", draw_part(number))
    for number, light in enumerate(("regular", "overexposed")):
        write_picture(disc / f"test_public/good/{number:03}_{light}.png", draw_part(50 + number))
        write_picture(disc / f"test_public/bad/{number:03}_{light}.png", draw_part(60 + number, defect=True))
    (found,) = compare(prepare([disc]), [quick("patchcore"), failing("peer", ImportError("no"))])
    text = as_markdown(comparison([found]))
    assert "| Light | patchcore |" in text
    assert "| overexposed, 1 good, 1 defective | 1.0000; 0 and 0 |" in text
    assert "<bdi>overexposed, 1 good, 1 defective</bdi>" in as_html(comparison([found]))


def test_names_of_models() -> None:
    assert [candidate.name for candidate in candidates.chosen(())] == [candidate.name for candidate in candidates.OWN]
    assert [candidate.name for candidate in candidates.chosen(["anomalib-padim", "patchcore"])] == [
        "anomalib-padim",
        "patchcore",
    ]
    with pytest.raises(UnknownCandidate, match=r"'patchcor'.*There are: patchcore, .*anomalib-efficientad"):
        candidates.chosen(["patchcor"])
    with pytest.raises(UnknownCandidate, match="named twice"):
        candidates.chosen(["patchcore", "patchcore"])


@pytest.mark.parametrize("name", [candidate.name for candidate in candidates.OWN])
def test_our_models_can_be_fitted_and_weighed(parts: Path, name: str) -> None:
    data = TrainingData("disc", tuple(sorted((parts / "train/good").iterdir()))[:6], "fingerprint")
    (candidate,) = candidates.chosen([name])
    fitted = candidate.fit(data, lambda stage, fraction: None)
    assert fitted.model.category == "disc"
    assert fitted.size_bytes() > 2_000_000  # the backbone's weights alone
    assert fitted.model.detect(draw_part(0)).score < fitted.model.detect(draw_part(0, defect=True)).score


def test_efficientad_says_what_it_misses(parts: Path) -> None:
    (candidate,) = candidates.chosen(["anomalib-efficientad"], EfficientADOptions(steps=7))
    assert candidate.description.endswith("7 steps")
    (found,) = compare(prepare([parts]), [candidate])
    (row,) = found.failed
    assert "--efficientad-teacher" in row.reason
    assert "--imagenette" in row.reason


def test_ctrl_c_within_anomalib_s_trainer_is_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fit_padim(paths: object, *, category: str) -> None:
        print("a progress bar", file=sys.stderr)
        sys.exit(1)  # as Lightning's trainer does (lightning/pytorch/trainer/call.py)

    monkeypatch.setattr(anomalib_models, "fit_padim", fit_padim)
    (candidate,) = candidates.chosen(["anomalib-padim"])
    with pytest.raises(KeyboardInterrupt):
        candidate.fit(TrainingData("disc", (), ""), lambda stage, fraction: None)
    assert capsys.readouterr().err == ""


def test_the_command_writes_three_reports_and_prints_the_table(
    run: Callable[..., int], parts: Path, tmp_path: Path, capsys: Any
) -> None:
    output = tmp_path / "new" / "report"
    assert run(parts, "--output", output) == 0
    printed = capsys.readouterr().out
    assert (output / "report.md").read_text() in printed
    assert f"Report: {output}/report.html" in printed
    assert (
        json.loads((output / "report.json").read_text())["command"] == f"defectvision compare {parts} --output {output}"
    )
    assert (output / "report.html").read_text().startswith("<!doctype html>")
    assert {path.name for path in output.iterdir()} == {"report.html", "report.json", "report.md"}


def test_without_output_nothing_is_written(
    run: Callable[..., int], parts: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(parts) == 0
    assert "## disc" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_failed_model_is_said_at_the_end_and_in_the_exit_status(
    run: Callable[..., int], parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(candidates, "OWN", (failing("padim", ImportError("pip install it")), quick("patchcore")))
    assert run(parts) == 1
    said = capsys.readouterr()
    assert "padim could not be measured on disc: pip install it" in said.err
    assert "| patchcore |" in said.out


def test_ctrl_c_leaves_the_report_of_what_was_finished(
    run: Callable[..., int], parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "second"
    for number in range(6):
        write_picture(other / f"train/good/{number}.png", draw_part(number))
    model = quick("patchcore")

    def fit(data: TrainingData, progress: Progress) -> Fitted:
        if data.category == "second":
            raise KeyboardInterrupt
        return model.fit(data, progress)

    monkeypatch.setattr(candidates, "OWN", (Candidate("patchcore", "", fit),))
    assert run(parts, other, "--output", tmp_path / "out") == 130
    document = json.loads((tmp_path / "out/report.json").read_text())
    assert [data_set["title"] for data_set in document["data_sets"]] == ["disc"]
    assert document["pending"] == ["second"]
    assert "**Not finished.** Not compared yet: second." in (tmp_path / "out/report.md").read_text()
    assert "Not finished." in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--models", "nonsense"), "There are: patchcore"),
        (("--models", "patchcore,patchcore"), "named twice"),
        (("--output", "FILE"), "is a file"),
        (("--output", "FILE/below"), "No report can be written"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    run: Callable[..., int], parts: Path, tmp_path: Path, capsys: Any, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "file").write_text("mine")
    assert run(parts, *(argument.replace("FILE", str(tmp_path / "file")) for argument in arguments)) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_names_that_are_not_unicode_can_be_reported(run: Callable[..., int], tmp_path: Path) -> None:
    folder = tmp_path / "disc"
    for number in range(6):
        write_picture(folder / f"train/good/{number}.png", draw_part(number))
    write_picture(folder / "test/good/0.png", draw_part(50))
    try:
        write_picture(folder / "test/good/\udcff.png", draw_part(51))
    except OSError:
        pytest.skip("this file system takes no such names")
    assert run(folder, "--output", tmp_path / "out") == 0
    scores = json.loads((tmp_path / "out/report.json").read_text())["data_sets"][0]["models"][0]["evaluation"][
        "pictures"
    ]
    assert scores[1]["path"].endswith("\udcff.png")
    assert "\\udcff.png" in (tmp_path / "out/report.html").read_text()
