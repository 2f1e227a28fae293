"""``defectvision benchmark``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import detector
from detector.runtimes import RUNTIMES, runtime
from detector.teaching import PRESETS, Preset
from training import benchmark, machine
from training.benchmark import MOST_AT_ONCE, ROUNDS, SECONDS, Latency, Throughput
from training.commands.arguments import bar, distance, positive, require_writable, stoppable, up_to, write_json
from training.reports import made_of, table

_MOST_ROUNDS, _LONGEST = 100_000, 3600
"""Of what can be asked for: rounds, and seconds for one figure."""

Compiled = Callable[[int], detector.Detector]
"""For how many threads → the model, compiled for them."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "benchmark",
        help="measure how fast models are on this machine",
        description="Measure how fast models are on this machine: a frame's latency, the models taking turns, then "
        "frames per second with 1 to 4 inspected at once. Stop what else runs first, the server too.",
    )
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        type=Path,
        help="model folders. Without any, the presets, with memory banks of random numbers",
    )
    parser.add_argument("--runtime", choices=RUNTIMES, default="openvino", help="default: %(default)s")
    parser.add_argument(
        "--frame-size",
        metavar="WxH",
        type=_size,
        default=(1280, 720),
        help="of the camera's frame, in pixels; resizing is part of the latency (default: 1280x720)",
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=up_to(_MOST_ROUNDS, positive),
        default=ROUNDS,
        help="for latencies (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=up_to(_LONGEST, distance),
        default=SECONDS,
        help="for each figure of frames per second (default: %(default)s)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write every figure to FILE")
    parser.set_defaults(run=stoppable(run_benchmark))


def run_benchmark(arguments: argparse.Namespace) -> int:
    """Measure, print two Markdown tables and, if asked, write the JSON file."""
    if arguments.json:
        require_writable(arguments.json)
    width, height = arguments.frame_size
    frame = benchmark.draw(width, height)
    compiled = _compiled(arguments.models, arguments.runtime)
    models = {name: compile_(1) for name, compile_ in compiled.items()}
    latencies = benchmark.latencies(models, frame, rounds=arguments.rounds)
    throughputs: dict[str, list[Throughput]] = {name: [] for name in models}
    with bar(total=len(models) * MOST_AT_ONCE, desc="frames per second", unit="run") as progress_bar:
        for at_once in range(1, MOST_AT_ONCE + 1):
            for name, compile_ in compiled.items():
                throughputs[name].append(
                    benchmark.throughput(compile_(at_once), frame, at_once, seconds=arguments.seconds)
                )
                progress_bar.update()
    print(_report(models, latencies, throughputs, arguments))
    if arguments.json:
        figures = {
            "processor": machine.processor(),
            "versions": machine.versions(),
            "frame": [width, height],
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "models": [
                {
                    "model": name,
                    "hash": model.hash,
                    "runtime": model.runtime,
                    "what_it_is": made_of(model),
                    "random_memory_bank": not arguments.models,
                    "latency_ms": asdict(latencies[name]),
                    "throughput": [asdict(one) for one in throughputs[name]],
                }
                for name, model in models.items()
            ],
        }
        write_json(arguments.json, figures)
    return 0


def _compiled(folders: list[Path], runtime_name: str) -> dict[str, Compiled]:
    def load(folder: Path, workers: int) -> detector.Detector:
        return detector.load(folder, runtime_name=runtime_name, workers=workers)

    def with_random_bank(preset: Preset, workers: int) -> detector.Detector:
        return benchmark.random_model(preset, runtime(runtime_name, workers=workers))

    if folders:
        return {str(folder): partial(load, folder) for folder in folders}
    return {name: partial(with_random_bank, preset) for name, preset in PRESETS.items()}


def _report(
    models: Mapping[str, detector.Detector],
    latencies: Mapping[str, Latency],
    throughputs: Mapping[str, list[Throughput]],
    arguments: argparse.Namespace,
) -> str:
    width, height = arguments.frame_size
    rows = [
        [name, made_of(models[name]), f"{found.median:.1f}", f"{found.low:.1f}–{found.high:.1f}"]
        for name, found in latencies.items()
    ]
    lines: list[Any] = [
        f"{machine.processor()}; {machine.software()}",
        "",
        f"One frame of {width}×{height}, resized and inspected; {arguments.rounds} rounds, the models taking turns:",
        "",
        table(["model", "what it is", "median, ms", "5 to 95 % of the rounds, ms"], rows),
        "",
        "Frames per second with so many inspected at once (the server's WORKERS), and CPU milliseconds a frame:",
        "",
        table(
            ["model", *range(1, MOST_AT_ONCE + 1)],
            [
                [name, *(f"{t.frames_per_second:.0f} ({1000 * t.cpu_seconds_per_frame:.1f})" for t in found)]
                for name, found in throughputs.items()
            ],
        ),
    ]
    if not arguments.models:
        lines += ["", "Memory banks of random numbers, which take as long to search as real ones; no pictures needed."]
    return "\n".join(lines)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{1,4})[x×]([1-9][0-9]{1,4})", text)
    sides = tuple(map(int, found.groups())) if found else ()
    if len(sides) != 2 or not all(16 <= side <= 16_384 for side in sides):
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 1280x720, with sides of 16 to 16384")
    return sides[0], sides[1]
