"""The command as a shell starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "server.cli")


def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "threadpoolctl.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    with subprocess.Popen(
        [*COMMAND, "train", "x", "--output", "y"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (130, "Stopped.")


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp932"])
def test_any_console_shows_what_it_can(tmp_path: Path, encoding: str) -> None:
    """``²`` of the presets and a name that is not valid Unicode; strict encoding ended in a traceback."""
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xe2\x82\xac")
    done = subprocess.run(
        [*COMMAND, "train", folder, "--output", tmp_path / "model"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"There is no folder" in done.stderr and b"caf\\udce9" in done.stderr
    helped = subprocess.run(
        [*COMMAND, "train", "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert b"padim" in helped.stdout
