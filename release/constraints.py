"""``python -m release.constraints``: the versions of everything that the tests ran with, for the container's build.

Written to ``release/constraints.txt``: the base install with the extra ``line``, and the tool that builds the wheel.
"""

from __future__ import annotations

import sys

from packaging.requirements import Requirement

from release.requirements import ROOT, installed, requirements

FILE = ROOT / "release" / "constraints.txt"
HEAD = "# The versions that the tests ran with; the container is built of these. Made by: make constraints\n"


def constraints() -> tuple[str, list[str]]:
    """The file's text; and the names of what is not installed here, so that nothing can be said of it."""
    found, missing = installed([*requirements(["line"]), Requirement("hatchling")])
    return HEAD + "".join(f"{name}=={one.version}\n" for name, one in found.items()), missing


def main() -> int:
    text, missing = constraints()
    if missing:
        print(f"Not installed here: {', '.join(missing)}. Run `make check` first, which installs all.", file=sys.stderr)
        return 1
    FILE.write_text(text)
    print(f"{FILE.relative_to(ROOT)}: {text.count('==')} versions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
