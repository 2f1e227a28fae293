"""``defectvision compare``."""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

from detector.files import write_atomically
from training import machine
from training.anomalib import EFFICIENTAD_STEPS
from training.commands.arguments import add_strict, bar, positive, stages, stoppable
from training.compare import (
    Comparison,
    EfficientADOptions,
    Entry,
    Section,
    UnknownCandidate,
    as_html,
    as_json,
    as_markdown,
    candidates,
    compare,
    prepare,
)
from training.train import OutputError

NOT_ALL_MEASURED = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="measure several models on several data sets, side by side",
        description="Fit several models on the good pictures of each data set, measure them on the labelled ones, and "
        "report accuracy, mistakes, fit time, latency and size side by side.",
    )
    parser.add_argument(
        "dirs",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="a data set: MVTec AD, MVTec AD 2, VisA, plain folders",
    )
    parser.add_argument(
        "--models",
        metavar="NAME,NAME",
        type=_names,
        default=(),
        help=f"which models, of {', '.join(candidates.known())} (default: all of ours)",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="also write report.html, report.md and report.json to this folder; older ones are replaced",
    )
    parser.add_argument(
        "--efficientad-teacher", metavar="FILE", type=Path, help="teacher weights, which anomalib-efficientad needs"
    )
    parser.add_argument(
        "--imagenette", metavar="FOLDER", type=Path, help="unpacked ImageNette, which anomalib-efficientad needs"
    )
    parser.add_argument(
        "--efficientad-steps",
        metavar="N",
        type=positive,
        default=EFFICIENTAD_STEPS,
        help="steps of anomalib-efficientad's training; the default takes hours on a CPU (default: %(default)s)",
    )
    add_strict(parser)
    parser.set_defaults(run=stoppable(run_compare))


def run_compare(arguments: argparse.Namespace) -> int:
    """Measure, write the report after every data set, and print its Markdown at the end.

    Ctrl-C leaves the report of the data sets that were finished by then.
    """
    efficientad = EfficientADOptions(arguments.efficientad_teacher, arguments.imagenette, arguments.efficientad_steps)
    try:
        models = candidates.chosen(arguments.models, efficientad)
    except UnknownCandidate as error:
        print(f"defectvision: {error}", file=sys.stderr)
        return 2
    if arguments.output:
        _require_folder(arguments.output)
    with bar(desc="checking", unit="picture") as progress_bar:

        def checked(done: int, total: int) -> None:
            progress_bar.total = total
            progress_bar.update(done - progress_bar.n)

        entries = prepare(arguments.dirs, strict=arguments.strict, progress=checked)
    sections: list[Section] = []
    with stages() as show:
        for section in compare(entries, models, progress=show):
            sections.append(section)
            comparison = _comparison(sections, entries, arguments)
            if arguments.output:
                _write(comparison, arguments.output)
    print(as_markdown(comparison), end="")
    if arguments.output:
        print(f"\nReport: {arguments.output / 'report.html'}")
    failed = [(section.title, row) for section in sections for row in section.failed]
    for title, row in failed:
        print(f"defectvision: {row.name} could not be measured on {title}: {row.reason}", file=sys.stderr)
    return NOT_ALL_MEASURED if failed else 0


def _comparison(sections: list[Section], entries: tuple[Entry, ...], arguments: argparse.Namespace) -> Comparison:
    return Comparison(
        sections=tuple(sections),
        pending=tuple(entry.title for entry in entries[len(sections) :]),
        command=_command(arguments),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        processor=machine.processor(),
        versions=machine.versions(),
    )


def _command(arguments: argparse.Namespace) -> str:
    words = ["defectvision", "compare", *map(str, arguments.dirs)]
    words += ["--models", ",".join(arguments.models)] if arguments.models else []
    words += ["--output", str(arguments.output)] if arguments.output else []
    words += ["--efficientad-teacher", str(arguments.efficientad_teacher)] if arguments.efficientad_teacher else []
    words += ["--imagenette", str(arguments.imagenette)] if arguments.imagenette else []
    if arguments.efficientad_steps != EFFICIENTAD_STEPS:
        words += ["--efficientad-steps", str(arguments.efficientad_steps)]
    words += ["--strict"] if arguments.strict else []
    return shlex.join(words)


def _write(comparison: Comparison, folder: Path) -> None:
    for name, made in (("report.json", as_json), ("report.md", as_markdown), ("report.html", as_html)):
        # File names need not be valid Unicode; what is not is written as an escape, which in JSON even means the same.
        write_atomically(folder / name, made(comparison).encode("utf-8", "backslashreplace"))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _require_folder(folder: Path) -> None:
    """Before an hour of work: whether the report can be written there."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Give --output the name of a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "report.tmp", b"")
        (folder / "report.tmp").unlink()
    except OSError as error:
        raise OutputError(f"No report can be written to {folder}: {error.strerror}. Give another --output.") from error
