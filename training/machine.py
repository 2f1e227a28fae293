"""The machine and the software that figures were measured with: without them a latency says little."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from detector import VERSION

PACKAGES = (
    *("openvino", "numpy", "opencv-python-headless", "scikit-learn"),
    *("nncf", "torch", "anomalib", "timm"),
)


def processor() -> str:
    """The processor's name and how many threads of it this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line.partition(":")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = named[0].strip() if named else name
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {available} thread{'' if available == 1 else 's'}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter, as far as they are installed."""
    found = {"Python": platform.python_version(), "defectvision": VERSION}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an extra
            continue
    return found


def software() -> str:
    """The same in one line."""
    return ", ".join(f"{name} {number}" for name, number in versions().items())
