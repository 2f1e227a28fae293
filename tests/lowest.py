"""The lowest version of everything the base install may be installed with, as constraints for pip.

``python -m tests.lowest`` prints them, out of the lower bounds in ``pyproject.toml``; ``make lowest`` installs that set
into an environment of its own and runs the detector's and the server's tests there, so that the bounds stay true.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def lowest(requirements: list[str]) -> list[str]:
    """``name==version`` for each requirement's lower bound.

    Raises:
        ValueError: a requirement has none.
    """
    pinned = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        bounds = [one.version for one in requirement.specifier if one.operator in (">=", "==")]
        if len(bounds) != 1:
            raise ValueError(f"{text}: give it one lower bound in pyproject.toml")
        pinned.append(f"{requirement.name}=={bounds[0]}")
    return pinned


def base_requirements() -> list[str]:
    """What the base install needs, as ``pyproject.toml`` says it."""
    return list(tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"])


def installed_lower(pinned: list[str]) -> list[str]:
    """Those of ``name==version`` that are not what is installed here."""
    from importlib.metadata import version

    wrong = []
    for text in pinned:
        name, _, wanted = text.partition("==")
        if _numbers(version(name)) != _numbers(wanted):
            wrong.append(f"{name} is {version(name)}, not {wanted}")
    return wrong


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def main() -> int:
    """Print the constraints; with ``--check``, 1 where another version than the lowest is installed."""
    pinned = lowest(base_requirements())
    if sys.argv[1:] != ["--check"]:
        print("\n".join(pinned))
        return 0
    wrong = installed_lower(pinned)
    print("\n".join(wrong) or "The lowest versions are installed.")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
