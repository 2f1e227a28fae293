"""How well the simulated line is inspected: false rejects and escapes by kind of defect.

    python -m benchmarks.simulated_line [MINUTES]

Teaches as the server does at its first start, then inspects simulated time at 5 frames/s on two other lines with half
of the parts defective. A frame counts as defective while the line says that a defect is in view.
"""

from __future__ import annotations

import sys
from collections import Counter

from detector import fit
from server.ingest.simulated_stream import TEACHING_FRAMES
from server.simulated_line import SimulatedLine, good_frames
from server.simulated_line.line import CYCLE_SECONDS, DWELL_SECONDS

FRAMES_PER_SECOND = 5


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    model = fit(good_frames(TEACHING_FRAMES), total=TEACHING_FRAMES)
    frames: Counter[tuple[str, str]] = Counter()
    anomalies: Counter[tuple[str, str]] = Counter()
    for seed in (11, 12):
        line = SimulatedLine(seed, defect_rate=0.5)
        for number in range(int(minutes * 60 * FRAMES_PER_SECOND)):
            seconds = number / FRAMES_PER_SECOND
            frame = line.frame_at(seconds)
            if frame.defect is None and line.scheduled(frame.part) is not None:
                continue  # a defective part whose defect is only partly in view: neither verdict would be wrong
            row = (frame.defect or "good", "at rest" if seconds % CYCLE_SECONDS < DWELL_SECONDS else "moving")
            frames[row] += 1
            anomalies[row] += model.detect(frame.image).score > model.threshold
    print("| part | | frames | ANOMALY |\n|---|---|---|---|")
    for row in sorted(frames, key=lambda row: (row[1], row[0])):
        print(f"| {row[0]} | {row[1]} | {frames[row]} | {anomalies[row]} |")


if __name__ == "__main__":
    main()
