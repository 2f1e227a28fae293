"""``make release``: everything of a release into ``dist/``, or a sentence that says why not.

Exit code: 0 where everything was done and is well; 1 where something is not; 3 where everything else is well, but no
advisory service could be asked for known vulnerabilities.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from detector import VERSION
from release import advisories, licences
from release.build import NotReleased, build_twice, clean_commit, write_checksums
from release.requirements import ROOT, user_extras
from release.wheels import interpreter, try_all

DIST = ROOT / "dist"
SBOM_PYTHON = "3.12"
"""The container's: the list of parts is that of a clean environment of this Python."""


def changelog_entry() -> str:
    """What CHANGELOG.md says of this version. Raises: NotReleased where it says nothing."""
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(rf"(?ms)^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text)
    if found is None or not found.group(1).strip():
        raise NotReleased(f"CHANGELOG.md has no entry `## [{VERSION}] - DATE`: write what changed")
    return found.group(1)


def write_sbom(environment: Path, file: Path) -> int:
    """The parts that a base install brings, as CycloneDX. Returns: their number."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(environment / "bin" / "python")]
    command += ["--output-format", "JSON", "--output-reproducible", "--spec-version", "1.6", "-o", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotReleased(f"the list of parts failed: {done.stderr.strip()[-500:]}")
    tools = ("pip", "setuptools")  # of the environment itself
    said = json.loads(file.read_text())
    refs = {one["bom-ref"] for one in said["components"] if one["name"] in tools}
    said["components"] = [one for one in said["components"] if one["bom-ref"] not in refs]
    said["dependencies"] = [one for one in said["dependencies"] if one["ref"] not in refs]
    file.write_text(json.dumps(said, indent=2) + "\n")
    return len(said["components"])


def release() -> int:
    """Returns: the exit code. Raises: NotReleased."""
    step("changelog", f"has {VERSION}, {len(changelog_entry().splitlines())} lines")
    step("tree", f"clean at {clean_commit()[:12]}")
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = build_twice(folder / "build")
        for path in made:
            shutil.copy(path, DIST)
            step("built", f"{path.name}, twice alike, {path.stat().st_size / 1e6:.1f} MB")
        wheel = DIST / made[-1].name
        trials, absent = try_all(wheel, folder / "trials")
        step("licences", _licences())
        python = interpreter(SBOM_PYTHON)
        if python is None:
            raise NotReleased(f"no Python {SBOM_PYTHON} here, whose list of parts is the release's")
        sbom = DIST / f"defectvision-{VERSION}.cdx.json"
        count = write_sbom(folder / "trials" / SBOM_PYTHON / "environment", sbom)
        step("parts", f"{count} in {sbom.name}, CycloneDX 1.6")
        pinned = folder / "pinned.txt"
        components = json.loads(sbom.read_text())["components"]
        pins = [f"{one['name']}=={one['version']}" for one in components if one["name"] != "defectvision"]
        pinned.write_text("\n".join(pins))
        code, said = advisories.check(pinned)
        (DIST / "ADVISORIES.txt").write_text("\n".join(said) + "\n")
        step("vulnerabilities", "\n  ".join(said))
    write_checksums(DIST)
    step("checksums", "SHA256SUMS")
    if absent:
        raise NotReleased(" ".join(absent))
    if code == 1:
        raise NotReleased("something is known against a package: take the version that mends it, or say why not")
    print(f"dist/ holds {VERSION}, tried on {len(trials)} Pythons.")
    return code


def _licences() -> str:
    count, wrong = licences.check(user_extras())
    if wrong:
        raise NotReleased("licences that are not allowed:\n  " + "\n  ".join(wrong))
    return f"of {count} packages (base install and all extras) are allowed"


def step(name: str, result: str) -> None:
    print(f"{name}: {result}", flush=True)


def main() -> int:
    try:
        return release()
    except NotReleased as error:
        print(f"Not released: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
