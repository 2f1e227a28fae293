"""How many replicas are wanted, and what each may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplicasWanted:
    """From ``least`` to ``most`` of them, each with so many processors and graphics cards, or parts of one."""

    least: int = 1
    most: int = 8
    cpus: float = 1.0
    gpus: float = 0.0
