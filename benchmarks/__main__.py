"""Measures everything and writes it into docs/benchmarks.md, and the study of thresholds into docs/calibration.md:
``make bench``.

    python -m benchmarks [SECTION…]

Each section of the document stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; what its command prints takes the
place of what stood there, section by section, so that an interrupted run loses nothing. Stop everything else first.
Real pictures are looked for in ``../shared/data``, or the folder in ``PICTURES``; without them their sections stay as
they are. ``BEFORE`` may name an older checkout, whose frame times are measured beside this one's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from detector.files import write_atomically
from training import machine

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
OTHER_DOCUMENTS = {"promises": ROOT / "docs" / "calibration.md", "plan": ROOT / "docs" / "scaling.md"}
PICTURES = Path(os.environ.get("PICTURES", ROOT.parent / "shared" / "data"))
OLDER = ["--tree", os.environ["BEFORE"]] if "BEFORE" in os.environ else []

FREELY = ("circuitboard", "bottle", "hazelnut", "cookie", "cubes")
"""Sets of parts, which may lie freely."""

CORRECTED = ("bottle", "hazelnut", "circuitboard", "ballscrew")

PLAN = ["--frame-ms", "11.9", "13.9", "--overhead-ms", "1.9", "2.6", "--gateway-ms", "3.3"]
"""For the worked plan, from what was measured: a frame of one stream (*streams*), the way to a replica and back, and
what a gateway computes for a frame (*ray_pool*)."""

SECTIONS: dict[str, list[str]] = {
    "against_anomalib": ["-m", "benchmarks.against_anomalib", f"{PICTURES / 'bottle'}"],
    "presets": ["-m", "server.cli", "benchmark"],
    "accuracy": ["-m", "benchmarks.accuracy", f"{PICTURES}"],
    "few_shot": ["-m", "benchmarks.few_shot", f"{PICTURES}"],
    "registration": ["-m", "benchmarks.registration", *(f"{PICTURES / name}" for name in FREELY)],
    "showing": ["-m", "benchmarks.showing", f"{PICTURES}"],
    "whole_job": ["-m", "benchmarks.whole_job", f"{PICTURES / 'bottle'}", "--pictures", "60"],
    "whole_job_page": ["-m", "benchmarks.whole_job", f"{PICTURES / 'bottle'}", "--pictures", "60", "--page"],
    "corrections": ["-m", "benchmarks.corrections", *(f"{PICTURES / name}" for name in CORRECTED)],
    "kills": ["-m", "benchmarks.kills", "--times", "200"],
    "killed": ["-m", "benchmarks.killed", "--times", "200"],
    "soak": ["-m", "benchmarks.soak"],
    "promises": ["-m", "benchmarks.promises", f"{PICTURES}"],
    "drift": ["-m", "benchmarks.drift", f"{PICTURES}"],
    "memory": ["-m", "benchmarks.memory", f"{PICTURES / 'bottle' / 'train' / 'good'}"],
    "frame_time": ["-m", "benchmarks.frame_time", f"{PICTURES / 'bottle' / 'train' / 'good'}", *OLDER],
    "detector": ["-m", "benchmarks.detector", f"{PICTURES / 'bottle' / 'train' / 'good'}"],
    "decoding": ["-m", "benchmarks.decoding", f"{PICTURES / 'bottle' / 'train' / 'good'}"],
    "simulated_line": ["-m", "benchmarks.simulated_line"],
    "streams": ["-m", "benchmarks.streams"],
    "plan": ["-m", "benchmarks.plan", *PLAN],
    "ray_pool": ["-m", "benchmarks.ray_pool"],
    "whose_turn": ["-m", "benchmarks.whose_turn"],
    "history": ["-m", "benchmarks.history"],
    "plant": ["-m", "benchmarks.plant"],
    "trigger_latency": ["-m", "benchmarks.trigger_latency"],
    "opcua_latency": ["-m", "benchmarks.opcua_latency"],
    "peers_away": ["-m", "benchmarks.peers_away"],
    "teach": ["-m", "benchmarks.teach", f"{PICTURES / 'bottle'}"],
    "hostile": ["-m", "benchmarks.hostile"],
    "page_latency": ["-m", "benchmarks.page_latency"],
    "webrtc_release": ["-m", "benchmarks.webrtc_release"],
}


def main() -> int:
    asked = sys.argv[1:] or list(SECTIONS)
    if unknown := set(asked) - set(SECTIONS):
        sys.exit(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    failed = []
    for name in asked:
        command = SECTIONS[name]
        missing = [word for word in command if word.startswith(str(PICTURES)) and not Path(word).is_dir()]
        if missing:
            print(f"{name}: left as it is, {missing[0]} is not there (set PICTURES)", flush=True)
            continue
        load = os.getloadavg()[0]
        print(f"{name}: python {' '.join(command)} (load {load:.1f})", flush=True)
        done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            failed.append(name)
            print(f"{name}: failed, left as it is", flush=True)
            continue
        write(name, f"*{measured(load)}*\n\n{done.stdout.strip()}")
    return 1 if failed else 0


def measured(load: float) -> str:
    """When, on what, and how busy it was before."""
    return f"{datetime.now(UTC):%d %B %Y}, {machine.processor()}, load {load:.1f} before; {machine.software()}"


def document_of(name: str) -> Path:
    """Where a section stands."""
    return OTHER_DOCUMENTS.get(name, DOCUMENT)


def write(name: str, text: str) -> None:
    path = document_of(name)
    document = path.read_text()
    section = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not section.search(document):
        sys.exit(f"{path} has no section {name}")
    write_atomically(path, section.sub(lambda found: f"{found[1]}{text}\n{found[2]}", document).encode())


if __name__ == "__main__":
    sys.exit(main())
