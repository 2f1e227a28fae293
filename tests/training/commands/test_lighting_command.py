from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

import detector
from detector.light.light_gate import LightGated
from detector.light.relighting import KINDS
from tests.training.commands import test_commands
from tests.training.conftest import draw_part
from training.commands import lighting
from training.data import datasets
from training.measure.lighting import CONDITIONS, MIXED, ORIGINAL
from training.measure.lighting_study import (
    BLIND,
    COVERAGE,
    GATED,
    GATED_UNSEEN,
    NONE,
    TEACHINGS,
    UNSEEN,
    LightingStudy,
    Outcome,
    study,
)
from training.reports.lighting_report import as_markdown

QUICK = ["--image-size", "64", "--coreset-size", "60"]


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser("defectvision")
    lighting.add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))


def test_the_study_prints_tables_and_writes_json(parts: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "lighting.json"
    assert run("lighting", parts, *QUICK, "--json", report) == 0
    printed = capsys.readouterr().out
    assert "12 pictures to learn from; 4 good and 4 defective to inspect; input 64², 60 patches" in printed
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0][2:] for row in rows if row.startswith(f"| {BLIND}")] == [
        BLIND,
        UNSEEN,
        GATED,
        GATED_UNSEEN,
    ] * 2
    figures = json.loads(report.read_text())
    by_name = {(one["teaching"], one["light"]): one for one in figures["outcomes"]}
    assert {teaching for teaching, _ in by_name} == set(TEACHINGS)
    assert by_name[NONE, ORIGINAL]["image_auroc"] == 1.0
    assert {light for teaching, light in by_name if teaching == COVERAGE} == set(CONDITIONS)
    for teaching in (UNSEEN, GATED_UNSEEN):
        assert {light for name, light in by_name if name == teaching} == set(KINDS)  # there must be one to leave out

    again = tmp_path / "again.json"
    assert run("lighting", parts, *QUICK, "--json", again) == 0
    assert json.loads(again.read_text()) == figures


def test_what_is_missing_is_said(parts: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("lighting", tmp_path / "nowhere") == 2
    assert run("lighting", parts / "train" / "good", *QUICK) == 2
    assert run("lighting", parts, *QUICK, "--json", tmp_path / "no folder" / "a.json") == 2
    assert run("lighting", parts, "--image-size", "100") == 2
    errors = capsys.readouterr().err
    assert "multiple of 16" in errors
    assert "nowhere" in errors
    assert "There is no folder" in errors
    with pytest.raises(SystemExit):
        run("lighting", parts, "--severity", "3")


def test_what_a_set_cannot_say_is_a_dash() -> None:
    only_good = LightingStudy("disc", 12, 4, 0, 64, 60, 2, 0, (Outcome(NONE, ORIGINAL, None, 1, 0),))
    row = next(line for line in as_markdown(only_good).splitlines() if line.startswith(f"| {NONE} | 25.0%"))
    assert row.count("–") == 5
    assert MIXED in as_markdown(only_good)


def test_the_gate_is_the_ordinary_model_in_its_own_light_and_the_blind_one_in_others() -> None:
    parts = [draw_part(number) for number in range(20)]
    test = [draw_part(100 + number, defect=number % 2 == 1) for number in range(4)]
    found = study("disc", parts, test, [False, True] * 2, image_size=64, coreset_size=60)

    def said(teaching: str, light: str) -> tuple[float | None, int, int]:
        outcome = found.outcome(teaching, light)
        assert outcome is not None
        return outcome.image_auroc, outcome.false_rejects, outcome.escapes

    assert said(GATED, ORIGINAL) == said(NONE, ORIGINAL)
    # Which head was asked: its threshold is the ordinary model's, so that false rejects may differ.
    gated, blind, ordinary = (said(teaching, "underexposed") for teaching in (GATED, BLIND, NONE))
    assert (gated[0], gated[2]) == (blind[0], blind[2])
    assert gated != ordinary


def test_train_light_blind_says_so_and_serves_both_lights(parts: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["train", parts, "--output", tmp_path / "disc", *QUICK]
    assert test_commands.run(*arguments) == 0
    assert "new light" not in capsys.readouterr().out
    ordinary = detector.load_taught(tmp_path / "disc")
    assert test_commands.run(*arguments, "--light-blind") == 0
    assert "new light    judged by what was learned blind to light" in capsys.readouterr().out
    model = detector.load_taught(tmp_path / "disc")
    assert isinstance(model.head, LightGated) and model.threshold == ordinary.threshold
    (picture, *_) = datasets.Pictures(datasets.find_training_pictures(parts))
    assert model.detect(picture).score == ordinary.detect(picture).score
    assert model.detect(picture // 2).score < ordinary.detect(picture // 2).score
    assert test_commands.run("evaluate", tmp_path / "disc", parts) == 0
    assert test_commands.run("export", tmp_path / "disc", parts, "--output", tmp_path / "exported") == 2
    assert "cannot be one graph" in capsys.readouterr().err
