"""The far side of a trial: a program that loads a model folder and looks at a frame with it, and may die of it.

It answers with a line: what is wrong with the model, or nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from detector import DetectorError, load_taught
from detector.backbones import load_backbone
from detector.errors import out_of_memory, reason_of
from detector.input_size import square
from detector.memory_limit import limit, taken
from detector.runtimes import runtime
from server.teaching.far_side import step_back
from server.teaching.trial import LONGEST_ANSWER, MAX_SECONDS

ROOM_BYTES = 3_000_000_000
"""For everything that does not grow with the model folder: 111 MB at the default preset, 132 with *fine*."""
BYTES_A_BYTE = 8
"""Of the model folder: it is read, made into tensors and a graph, and compiled. One of 210 MB took 744."""
_TOO_MUCH = "its model takes more memory than models of its size do"


def main() -> None:
    step_back()
    if hasattr(signal, "alarm"):  # where the server is gone, nobody else ends what hangs
        signal.alarm(round(2 * MAX_SECONDS))
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    wrong = " ".join(what_is_wrong(Path(sys.argv[1]), sys.argv[2]).splitlines())
    answers.write(os.fsencode(wrong)[: LONGEST_ANSWER - 1] + b"\n")
    answers.flush()
    os._exit(0)  # nothing of it is needed any more, and much of it takes time to go


def what_is_wrong(folder: Path, runtime_name: str) -> str:
    """With a model folder, one sentence; or nothing."""
    try:
        _hold(folder, runtime_name)
        model = load_taught(folder, runtime_name=runtime_name)
        model.detect_input(np.zeros((*model.input_size, 3), np.uint8))
    except DetectorError as error:
        return str(error)
    except Exception as error:
        return _TOO_MUCH if out_of_memory(error) else f"its model cannot be computed here ({reason_of(error)})"
    return ""


def _hold(folder: Path, runtime_name: str) -> None:
    """Take no more memory from here on than a model of that size may need."""
    # What the runtime takes by itself, its threads and a graphics card's driver, belongs to no model.
    runtime(runtime_name).features(load_backbone(), square(64))(np.zeros((64, 64, 3), np.uint8))
    size = sum(path.stat().st_size for path in folder.glob("*"))
    limit("DATA", taken("DATA") + ROOM_BYTES + BYTES_A_BYTE * size)


if __name__ == "__main__":
    main()
