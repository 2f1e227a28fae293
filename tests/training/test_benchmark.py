from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detector
from detector import Detection
from detector.images import BGRImage
from detector.input_size import square
from detector.runtimes.runtime import runtime
from detector.teaching import Preset
from tests.detector.parts import draw_parts
from training import benchmark
from training.commands import benchmark as command

QUICK = ["--rounds", "2", "--seconds", "0.05", "--frame-size", "160x120"]


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser("defectvision")
    command.add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    detector.fit(draw_parts(6), image_size=64, coreset_size=50).save(tmp_path / "model")
    return tmp_path / "model"


def test_models_are_measured_side_by_side(model: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "speed.json"
    assert run("benchmark", model, *QUICK, "--json", report) == 0
    printed = capsys.readouterr().out
    assert "One frame of 160×120" in printed and "random numbers" not in printed
    assert len([line for line in printed.splitlines() if line.startswith(f"| {model}")]) == 2
    figures = json.loads(report.read_text())
    measured = figures["models"][0]
    assert measured["hash"] == detector.load(model).hash and not measured["random_memory_bank"]
    assert 0 < measured["latency_ms"]["low"] <= measured["latency_ms"]["median"] <= measured["latency_ms"]["high"]
    assert [one["at_once"] for one in measured["throughput"]] == [1, 2, 3, 4]
    assert all(one["frames_per_second"] > 0 and one["cpu_seconds_per_frame"] > 0 for one in measured["throughput"])
    assert figures["processor"] and figures["versions"]["openvino"]


def test_without_models_the_presets_are_measured(capsys: Any) -> None:
    assert run("benchmark", *QUICK) == 0
    printed = capsys.readouterr().out
    assert "Memory banks of random numbers" in printed
    for name in detector.PRESETS:
        assert f"| {name} |" in printed


def test_what_is_missing_is_said(tmp_path: Path, capsys: Any) -> None:
    assert run("benchmark", tmp_path / "nowhere", *QUICK) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert run("benchmark", *QUICK, "--json", tmp_path / "no folder" / "a.json") == 2
    assert "There is no folder" in capsys.readouterr().err
    for wrong in ("1280", "0x100", "1x1", "99999x16", "axb"):
        with pytest.raises(SystemExit):
            run("benchmark", "--frame-size", wrong)
        assert "is not a size such as 1280x720" in capsys.readouterr().err


class Counting:
    """A model that knows how many inspect at once."""

    category, image_size, input_size, hash, runtime, threshold = "", 64, square(64), "", "counting", 1.0

    def __init__(self, expected: int) -> None:
        self._together = threading.Barrier(expected)
        self.threads: set[int] = set()

    def detect(self, frame: BGRImage, /) -> Detection:
        if threading.current_thread() is not threading.main_thread() and threading.get_ident() not in self.threads:
            self.threads.add(threading.get_ident())
            self._together.wait(timeout=30)
        return Detection(0.0, np.zeros((1, 1), np.float32))


def test_so_many_threads_inspect_at_once() -> None:
    model = Counting(3)
    found = benchmark.throughput(model, benchmark.draw(64, 64), 3, seconds=0.05)
    assert len(model.threads) == 3
    assert found.at_once == 3 and found.frames_per_second > 0


def test_however_short_each_thread_inspects_a_frame() -> None:
    found = benchmark.throughput(Counting(2), benchmark.draw(64, 64), 2, seconds=1e-9)
    assert found.frames_per_second > 0


def test_stopped_no_thread_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program could not end, for they inspected on and on."""

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    model = Counting(2)
    monkeypatch.setattr(benchmark.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        benchmark.throughput(model, benchmark.draw(64, 64), 2)
    assert not model.threads & {thread.ident for thread in threading.enumerate()}


def test_a_model_that_fails_in_a_thread_is_an_error() -> None:
    class Broken(Counting):
        def detect(self, frame: BGRImage, /) -> Detection:
            raise detector.ImageError("no picture")

    with pytest.raises(detector.ImageError, match="no picture"):
        benchmark.throughput(Broken(2), benchmark.draw(64, 64), 2, seconds=0.01)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [(option, wrong) for option in ("--seconds", "--rounds") for wrong in ("0", "-1", "nan", "inf", "1e30", "9" * 30)],
)
def test_numbers_that_cannot_be_are_refused(option: str, wrong: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        run("benchmark", f"{option}={wrong}")
    assert wrong in capsys.readouterr().err


def test_a_model_that_fails_is_an_error() -> None:
    class Broken(Counting):
        def detect(self, frame: BGRImage, /) -> Detection:
            raise detector.ImageError("no picture")

    with pytest.raises(RuntimeError, match="broken: no picture"):
        benchmark.latencies({"broken": Broken(1)}, benchmark.draw(64, 64), rounds=1)


def test_a_random_model_is_a_model() -> None:
    model = benchmark.random_model(Preset(64, 50, 2), runtime("openvino"))
    assert model.head.entries == 50 + 17  # type: ignore[union-attr]
    assert model.detect(benchmark.draw(100, 80)).score > 0
