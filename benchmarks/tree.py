"""A checkout of this project as something to ask: its detector works in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Refused(SystemExit):
    """The checkout could not do what it was asked, and why. Ends the program, unless somebody goes on without it."""


class Tree:
    """A checkout's detector. Use as a context manager; ended with it.

    Args:
        path: the checkout's root; this one by default.

    Raises:
        SystemExit: there is no detector, or another one answers.
    """

    def __init__(self, path: Path = ROOT) -> None:
        self.path = path.resolve()
        if not (self.path / "detector" / "__init__.py").is_file():
            sys.exit(f"{path} is not a checkout of this project: it has no detector")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("in_tree.py"))],
            env=os.environ | {"PYTHONPATH": str(self.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answers = Path(self.ask("which")["file"])
        if not answers.is_relative_to(self.path):
            sys.exit(f"asked the detector of {self.path}, and that of {answers.parent} answers")

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, step: str, **arguments: Any) -> dict[str, Any]:
        """Have a step of :mod:`benchmarks.in_tree` done.

        Raises:
            Refused: it could not be done.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps([step, arguments]) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "its process ended"}')
        except BrokenPipeError:
            answer = {"error": "its process ended"}
        if "error" in answer:
            raise Refused(f"{self.path}, {step}: {answer['error']}")
        return answer


def digest(path: Path) -> str:
    """12 hexadecimal digits of all Python code of a checkout's detector, by which a figure made with it is known."""
    whole = hashlib.sha256()
    for file in sorted((path / "detector").rglob("*.py")):
        whole.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes() + b"\0")
    return whole.hexdigest()[:12]
