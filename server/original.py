"""``defectvision import-original FOLDER``: the settings of the project that this one began as, for here.

Its seven settings have the names that ours have, but two of them mean something else here, so its ``.env`` must not be
taken as it is: see docs/from-the-original.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.config import Config

CALIBRATION = "calibration.json"
PICTURES = ("datasets/MVTec/mvtec_anomaly_detection", "datasets/MVTec", "datasets")
"""Where its data sets lay, a folder for each category."""
LARGEST = 65_536
"""Bytes of a ``.env`` that are read."""

DROPPED = {
    "THRESHOLD": "it is a distance between features of another network; taken over, it would pass defects or reject "
    "everything. Calibrate in place instead",
    "MODEL_PATH": "its checkpoints and exports are not read here (a checkpoint is a pickle). Teach again from the same "
    "pictures, which takes seconds",
    "IMAGE_SIZE": "the model taught here says its own",
}
KEPT = {
    "MODEL_CATEGORY": "what the parts are called",
    "RUNTIME": "pytorch is called torch here, and needs the extra `torch`; without this line OpenVINO is used",
    "HOST": "beyond this machine everyone has to log in",
    "PORT": "",
}
HOST = "it listened on every address by default; here it would be this machine alone. Beyond it everyone has to log in"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``import-original``."""
    parser = subparsers.add_parser(
        "import-original",
        help="settings of the original project, written as a .env for here",
        description="Read the .env of the original project and print one for here, with what was left out and why. "
        "Nothing is changed: redirect it to a file.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of the original project, or its .env")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it. Returns: the exit code, 2 where there is no such file."""
    given: Path = arguments.folder
    file = given / ".env" if given.is_dir() else given
    try:
        if file.is_file() and file.stat().st_size > LARGEST:
            raise OSError(f"it is larger than {LARGEST} bytes")
        if not file.is_file() and not given.is_dir():
            raise OSError("there is no such file")
        said = dict(Config(file, {}, encoding="utf-8-sig").file_values) if file.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        print(f"{file} cannot be read ({error}): give the original's folder, or its .env.", file=sys.stderr)
        return 2
    print("\n".join(lines(said, file.parent)))
    return 0


def lines(said: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The new ``.env``.

    Args:
        said: the original's settings.
        folder: of the original, for its calibration and its pictures.
    """
    named = {_line(name).upper(): _line(value) for name, value in said.items()}
    yield f"# Made by: defectvision import-original {_quoted(folder)}"
    for name, about in KEPT.items():
        if name in named:
            if about:
                yield f"# {about}"
            yield f"{name}={named[name]}"
    if "HOST" not in named:
        yield f"# {HOST}"
        yield "HOST=0.0.0.0"
    for name, why in DROPPED.items():
        if name in named:
            yield f"# left out: {name}={named[name]}"
            yield f"#   {why}."
    if (folder / CALIBRATION).exists():
        yield f"# left out: {CALIBRATION}"
        yield "#   its threshold belongs to its network, as THRESHOLD does. Calibrate in place, with good parts."
    for name in sorted(set(named) - set(DROPPED) - set(KEPT)):
        yield f"# not known to the original's server, nor taken over: {name}"
    category = named.get("MODEL_CATEGORY", "bottle")
    pictures = next((folder / one / category for one in PICTURES if (folder / one / category).is_dir()), None)
    if pictures is not None:
        model = shlex.quote(f"models/{category}")
        yield f"# Then teach: defectvision train {_quoted(pictures)} --output {model}"
        yield f"MODEL_PATH=models/{category}"
    else:
        yield "# Then teach: on the page, or defectvision train FOLDER --output models/NAME, and set MODEL_PATH"


def _line(text: str) -> str:
    """Without anything that would begin another line."""
    return " ".join(text.split())


def _quoted(path: Path) -> str:
    return _line(shlex.quote(str(path)))
