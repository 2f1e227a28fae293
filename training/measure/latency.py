"""How long models take, side by side.

Machines are noisy: another program, or the processor's own heat, slows down whatever runs at that moment. So the
latencies of all models are taken interleaved: on each picture every model has its turn before the next picture comes,
and who begins changes from picture to picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from detector import Detector, DetectorError
from detector.errors import OUT_OF_MEMORY, out_of_memory
from detector.images import BGRImage
from training.data import DataSetError

LATENCY_ROUNDS = 4


def interleaved_latencies(
    models: Mapping[str, Detector],
    frames: Sequence[BGRImage],
    *,
    failures: dict[str, str],
    rounds: int = LATENCY_ROUNDS,
    progress: Callable[[float], None] | None = None,
) -> dict[str, list[float]]:
    """Milliseconds of each model's ``detect``, by its name: one value for each frame and round.

    A first round without a clock pays for memory and caches. A model that raises is left out from then on.

    Args:
        models: by name.
        frames: H×W×3 uint8 BGR.
        failures: what a model raised is put here, by its name.
        rounds: over all frames.
        progress: called with the fraction that is done, 0..1.
    """
    latency_ms: dict[str, list[float]] = {name: [] for name in models}
    turns = [*frames[:1], *(list(frames) * rounds)]
    for turn, frame in enumerate(turns):
        order = [name for name in models if name not in failures]
        shift = turn % max(1, len(order))
        for name in order[shift:] + order[:shift]:
            try:
                start = time.perf_counter()
                models[name].detect(frame)
                elapsed = time.perf_counter() - start
            except Exception as error:  # as when fitting
                failures[name] = sentence(error)
                continue
            if turn:
                latency_ms[name].append(elapsed * 1000)
        if progress:
            progress((turn + 1) / len(turns))
    return latency_ms


def sentence(error: Exception) -> str:
    """What went wrong, for a row of the report; a class name only where the message alone would not be understood."""
    if out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, DetectorError | DataSetError | ImportError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
