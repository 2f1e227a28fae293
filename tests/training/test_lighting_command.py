from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from training.commands import lighting
from training.lighting import CONDITIONS, MIXED, ORIGINAL
from training.lighting_report import as_markdown
from training.lighting_study import BLIND, COVERAGE, NONE, TEACHINGS, UNSEEN, LightingStudy, Outcome

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
    assert [row.split(" | ")[0][2:] for row in rows if row.startswith(f"| {BLIND}")] == [BLIND, UNSEEN] * 2
    figures = json.loads(report.read_text())
    by_name = {(one["teaching"], one["light"]): one for one in figures["outcomes"]}
    assert {teaching for teaching, _ in by_name} == set(TEACHINGS)
    assert by_name[NONE, ORIGINAL]["image_auroc"] == 1.0
    assert {light for teaching, light in by_name if teaching == COVERAGE} == set(CONDITIONS)
    assert (UNSEEN, ORIGINAL) not in by_name  # there is no light to leave out

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
