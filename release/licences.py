"""``python -m release.licences``: whether the licence of everything that a user's install brings is allowed.

What is allowed, and the exceptions with their reasons, stand in ``release/licences.toml``. What a package's metadata
says is taken for true: nobody reads licence files here.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution

from release.requirements import ROOT, installed, requirements, user_extras

LONGEST = 100
"""Characters of a licence's name; longer ones are the licence itself, of which the first line is taken."""


@dataclass(frozen=True)
class Rules:
    """Attributes:
    allowed: names of licences.
    exceptions: by package, or a pattern of packages: the licence that it must say (``*``: any).
    """

    allowed: frozenset[str]
    exceptions: Mapping[str, str]

    def forbids(self, package: str, licence: str) -> bool:
        for pattern, said in self.exceptions.items():
            if fnmatchcase(package, pattern) and said in ("*", licence):
                return False
        return not _satisfied(licence, self.allowed)


def read_rules() -> Rules:
    said = tomllib.loads((ROOT / "release" / "licences.toml").read_text())
    exceptions = said["exceptions"]
    unreasoned = [package for package, one in exceptions.items() if not one.get("why")]
    if unreasoned:
        raise SystemExit(f"release/licences.toml: say why for {', '.join(unreasoned)}.")
    return Rules(frozenset(said["allowed"]), {package: one["licence"] for package, one in exceptions.items()})


def licence_of(one: Distribution) -> str:
    """What the metadata says, the newest way of saying it first: an SPDX expression, classifiers, a line of text."""
    said = one.metadata
    if "License-Expression" in said:
        return said["License-Expression"]
    lines = said.get_all("Classifier") or []
    classifiers = [line.rpartition("::")[2].strip() for line in lines if line.startswith("License ::")]
    if classifiers:
        return " AND ".join(sorted(classifiers))
    text = (said.get_all("License") or [""])[0]
    return next((line.strip()[:LONGEST] for line in text.splitlines() if line.strip()), "")


def _satisfied(licence: str, allowed: frozenset[str]) -> bool:
    """Of ``A OR B`` one must be allowed, of ``A AND B`` all; one level of parentheses. Names may hold spaces."""
    if licence in allowed:
        return True
    bare = re.sub(r"\([^()]* (?:AND|OR) [^()]*\)", lambda found: _verdict(found.group()[1:-1], allowed), licence)
    return any(
        all(name.strip() in allowed or name.strip() == "allowed!" for name in choice.split(" AND "))
        for choice in bare.split(" OR ")
    )


def _verdict(inner: str, allowed: frozenset[str]) -> str:
    return "allowed!" if _satisfied(inner, allowed) else "forbidden!"


def forbidden(packages: Mapping[str, Distribution], rules: Rules) -> list[str]:
    """One line for each package whose licence is not allowed."""
    return [
        f"{name} {one.version}: {licence_of(one) or 'no licence is said'}"
        for name, one in packages.items()
        if rules.forbids(name, licence_of(one))
    ]


def check(extras: Iterable[str]) -> tuple[int, list[str]]:
    """Returns: how many packages were looked at, and what is wrong, a line each; what is missing is wrong, too."""
    packages, missing = installed(requirements(extras))
    wrong = forbidden(packages, read_rules())
    return len(packages), wrong + [f"{name}: not installed here, so its licence is not known" for name in missing]


def main() -> int:
    count, wrong = check(user_extras())
    print("\n".join(wrong) or f"The licences of {count} packages (base install and all extras) are allowed.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
