"""``python -m release.advisories REQUIREMENTS``: what is known against the versions a release installs.

Asked of the Python Packaging Advisory Database through pip-audit. A service that cannot be reached, or knows none of
the packages, has said nothing: then the exit code is 3, not 0, and the release says that it was not checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_ASKED = 3
"""The exit code where no service answered."""
SERVICES = ("pypi", "osv")
PATIENCE_S = 300


@dataclass(frozen=True)
class Answer:
    """Attributes:
    asked: how many packages the service knows.
    known: what is known against them, a line each.
    unknown: packages that it does not know, by name.
    """

    asked: int
    known: list[str]
    unknown: list[str]


def understood(report: dict[str, Any]) -> Answer:
    """pip-audit's report (its JSON). A package that it skipped was not checked, whatever its exit code says."""
    asked, known, unknown = 0, [], []
    for one in report["dependencies"]:
        if "skip_reason" in one:
            unknown.append(one["name"])
            continue
        asked += 1
        for vulnerability in one["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            known.append(f"{one['name']} {one['version']}: {vulnerability['id']}, mended in {fixed}")
    return Answer(asked, known, unknown)


def ask(pinned: Path, service: str) -> Answer | str:
    """Returns: the answer, or a sentence that says why there is none."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pinned), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        answer = understood(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return f"it did not answer within {PATIENCE_S} s"
    except (ValueError, KeyError):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return lines[-1][:200] if lines else f"pip-audit ended with {done.returncode}"
    return answer if answer.asked else f"it knows none of the {len(answer.unknown)} packages"


def check(pinned: Path) -> tuple[int, list[str]]:
    """Ask one service after the other until one answers.

    Args:
        pinned: ``name==version`` lines.

    Returns: 0, 1 where something is known, :data:`NOT_ASKED`; and what to say, a line each.
    """
    reasons = []
    for service in SERVICES:
        answer = ask(pinned, service)
        if isinstance(answer, str):
            reasons.append(f"{service}: {answer}")
            continue
        said = list(answer.known)
        if answer.unknown:
            said.append(f"Not known to {service}, so not checked: {', '.join(answer.unknown)}.")
        if not answer.known:
            said.append(f"Nothing is known against the {answer.asked} packages that {service} knows.")
        return (1 if answer.known else 0), said
    return NOT_ASKED, ["NOT CHECKED for known vulnerabilities: no advisory service answered.", *reasons]


def main() -> int:
    code, said = check(Path(sys.argv[1]))
    print("\n".join(said))
    return code


if __name__ == "__main__":
    sys.exit(main())
