"""What a checkout's detector does when it is told: run by :mod:`benchmarks.tree`, in a process of its own, with the
checkout's ``detector`` and nothing else of it, so that an older one can answer too.

One request a line on standard input, one answer a line on what was standard output; both JSON. A request is
``[step, arguments]``, the steps are the functions of :class:`Work`.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import detector
from detector import images


class Pictures(Sequence[Any]):
    """Pictures in files, one in memory at a time."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return images.read(Path(self._paths[index]))


class Work:
    """The models that were taught, by name."""

    def __init__(self) -> None:
        self._models: dict[str, Any] = {}
        self._frames: list[Any] = []

    def teach(self, model: str, paths: list[str], options: dict[str, Any], read_before: bool = False) -> dict[str, Any]:
        """Learn; the seconds are without reading where the pictures are read before (and held)."""
        pictures = Pictures(paths)
        source = list(pictures) if read_before else pictures
        start = time.perf_counter()
        taught = detector.fit(source, **options)
        seconds = time.perf_counter() - start
        self._models[model] = taught
        held_out = [float(score) for score in taught.manifest.held_out_scores]
        return {
            "seconds": seconds,
            "threshold": taught.threshold,
            "held_out": held_out,
            "hash": taught.hash,
            "promise": promise(taught),
        }

    def inspect(self, model: str, paths: list[str], maps: bool) -> dict[str, Any]:
        """Raw scores, and anomaly maps as base64 of float32 with their shapes if asked for."""
        taught, scores, drawn = self._models[model], [], []
        for picture in Pictures(paths):
            found = taught.detect(picture)
            scores.append(float(found.score))
            if maps:
                values = np.ascontiguousarray(found.anomaly_map, np.float32)
                drawn.append([values.shape, base64.b64encode(values.tobytes()).decode()])
        return {"scores": scores, "maps": drawn}

    def hold(self, paths: list[str]) -> dict[str, Any]:
        """Keep these frames for :meth:`time`."""
        self._frames = list(Pictures(paths))
        return {}

    def time(self, model: str, frame: int) -> dict[str, Any]:
        """Milliseconds of one detection, the second of two: the first brings the model back into the caches."""
        taught, picture = self._models[model], self._frames[frame % len(self._frames)]
        taught.detect(picture)
        start = time.perf_counter()
        taught.detect(picture)
        return {"ms": (time.perf_counter() - start) * 1000}

    def peak(self) -> dict[str, Any]:
        """Megabytes of this process at the most so far."""
        return {"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}

    def which(self) -> dict[str, Any]:
        """Where the detector that answers comes from."""
        return {"file": detector.__file__}


def promise(taught: Any) -> dict[str, Any] | None:
    """What the model's own threshold promises of good parts; None where it promises nothing, as older checkouts."""
    try:
        from detector.thresholds import independent_parts
        from detector.thresholds import promise as promise_of
    except ImportError:
        return None
    scores = taught.manifest.held_out_scores
    made = promise_of(np.asarray(scores), taught.threshold, independent_parts(scores))
    return dataclasses.asdict(made) if made else None


def main() -> None:
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = Work()
    for line in sys.stdin:
        step, arguments = json.loads(line)
        try:
            answer = getattr(work, step)(**arguments)
        except Exception as error:  # the asker says which request it was
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
