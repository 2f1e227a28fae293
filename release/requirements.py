"""What pyproject.toml asks for, and everything that comes along with it, as it is installed here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
NOT_FOR_USERS = ("test", "dev", "docs", "release")
"""Extras that nothing of the product needs."""


def requirements(extras: Iterable[str] = ()) -> list[Requirement]:
    """What the base install and some extras ask for; an extra that names others (``line``) brings theirs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [Requirement(line) for line in project["dependencies"]]
    waiting = list(extras)
    while waiting:
        for line in project["optional-dependencies"][waiting.pop()]:
            requirement = Requirement(line)
            if requirement.name == project["name"]:
                waiting += requirement.extras
            else:
                found.append(requirement)
    return found


def user_extras() -> list[str]:
    """The extras that a user may install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [extra for extra in project["optional-dependencies"] if extra not in NOT_FOR_USERS]


def installed(wanted: Iterable[Requirement]) -> tuple[dict[str, Distribution], list[str]]:
    """All distributions that these requirements lead to in the environment of this process.

    Returns: them by canonical name, in order; and the names of those that are not installed.
    """
    found: dict[str, Distribution] = {}
    missing: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(one, frozenset[str]()) for one in wanted]
    while waiting:
        requirement, asked = waiting.pop()
        extras = frozenset(requirement.extras)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in (*asked, "")
        ):  # for another platform or Python, or an extra nobody asked for
            continue
        name = canonicalize_name(requirement.name)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(requirement.name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        waiting += [(Requirement(line), extras) for line in found[name].requires or []]
    return dict(sorted(found.items())), sorted(missing)
