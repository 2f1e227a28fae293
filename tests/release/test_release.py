"""What can be told of a release without making one: ``make release`` and ``make image-test`` do the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from detector import VERSION
from release import advisories, licences
from release.__main__ import changelog_entry
from release.build import git, sha256, write_checksums
from release.constraints import FILE
from release.requirements import ROOT, installed, requirements, user_extras
from release.wheels import PYTHONS
from server.cli import main
from server.web import asyncapi, health, openapi


def test_the_version_is_said_in_one_place_and_everywhere_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "detector/version.py"
    metadata = subprocess.run(
        [sys.executable, "-m", "hatchling", "metadata", "version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert metadata.stdout.strip() == VERSION == str(Version(VERSION))
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"defectvision {VERSION}\n"
    for told in (health, openapi, asyncapi):
        assert told.VERSION is VERSION
    others = re.compile(rf"[\"']{re.escape(VERSION)}[\"']")
    sources = [path for floor in ("detector", "training", "server") for path in (ROOT / floor).rglob("*.py")]
    assert [str(path) for path in sources if others.search(path.read_text())] == [str(ROOT / "detector/version.py")]


def test_the_changelog_has_this_version() -> None:
    assert "### Added" in changelog_entry()


def test_the_licences_of_all_that_a_base_install_brings_are_allowed() -> None:
    packages, missing = installed(requirements())
    assert not missing
    assert len(packages) > 30
    assert licences.forbidden(packages, licences.read_rules()) == []


RULES = licences.Rules(frozenset({"MIT", "BSD License", "Apache-2.0"}), {"odd": "UNKNOWN", "nvidia-*": "*"})


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [
        ("MIT", False),
        ("", True),
        ("GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", True),
        ("MIT OR GPL-3.0-only", False),
        ("MIT AND (GPL-3.0-only OR Apache-2.0)", False),
        ("MIT AND (GPL-3.0-only AND Apache-2.0)", True),
        ("BSD License AND MIT", False),
    ],
)
def test_a_licence_is_allowed_or_not(licence: str, forbids: bool) -> None:
    assert RULES.forbids("some", licence) is forbids


def test_an_exception_is_for_that_package_and_what_it_said_when_somebody_looked() -> None:
    assert not RULES.forbids("odd", "UNKNOWN")
    assert RULES.forbids("other", "UNKNOWN")
    assert RULES.forbids("odd", "GPL-3.0-only")
    assert not RULES.forbids("nvidia-cublas", "Proprietary")


def test_a_licence_written_out_is_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\nLicense: MIT\n        Copyright\n")
    assert licences.licence_of(Distribution.at(tmp_path)) == "MIT"


def test_the_containers_versions_are_of_all_that_we_ask_for_and_ones_that_we_allow() -> None:
    pinned = dict(line.split("==") for line in FILE.read_text().splitlines() if "==" in line)
    for one in requirements(["line"]):
        name = canonicalize_name(one.name)
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            assert name in pinned, f"run `make constraints`: {name} is new"
            assert one.specifier.contains(pinned[name], prereleases=True), f"run `make constraints`: {one}"


def test_every_extra_a_user_may_install_is_looked_at() -> None:
    assert {"torch", "int8", "anomalib", "line", "opcua"} <= set(user_extras())
    assert not {"test", "dev", "docs", "release"} & set(user_extras())
    everything = {one.name for one in requirements(user_extras())}
    assert {Requirement(one).name for one in ("asyncua", "torch", "numpy")} <= everything


def skipped(name: str) -> dict[str, object]:
    return {"name": name, "skip_reason": "Dependency not found on PyPI"}


def test_packages_that_a_service_does_not_know_were_not_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pip-audit itself calls that *no known vulnerabilities*."""
    report = {"dependencies": [skipped("numpy"), skipped("av")]}
    assert advisories.understood(report) == advisories.Answer(0, [], ["numpy", "av"])
    done = subprocess.CompletedProcess([], 0, json.dumps(report), "No known vulnerabilities found")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    code, said = advisories.check(tmp_path / "pins")
    assert code == advisories.NOT_ASKED
    assert said[0].startswith("NOT CHECKED")


def test_what_is_known_against_a_package_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {"name": "av", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    done = subprocess.CompletedProcess([], 1, json.dumps({"dependencies": [known, skipped("x")]}), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    code, said = advisories.check(tmp_path / "pins")
    assert code == 1
    assert said == ["av 1: PYSEC-1, mended in 2", "Not known to pypi, so not checked: x."]


def test_checksums_are_what_sha256sum_checks(tmp_path: Path) -> None:
    (tmp_path / "one.whl").write_bytes(b"1")
    write_checksums(tmp_path)
    write_checksums(tmp_path)  # its own is not of them
    assert (tmp_path / "SHA256SUMS").read_text() == f"{sha256(tmp_path / 'one.whl')}  one.whl\n"


def test_the_container_is_as_locked_up_as_it_can_be() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]', "tmpfs:"):
        assert line in compose
    stages = re.split(r"(?m)^FROM \$\{BASE\}.*\n", (ROOT / "Dockerfile").read_text())
    assert len(stages) == 3
    assert "ARG BASE=" in stages[0]
    assert "-c constraints.txt" in stages[1]
    final = stages[2]
    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert not re.search(r"\b(pip|apt-get|gcc|hatchling)\b", final)


def test_the_source_archive_is_the_whole_tree(tmp_path: Path) -> None:
    """``make run``, ``make test`` and the build of the image go from it as from a clone."""
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no clone: git cannot say what belongs to it")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (made,) = tmp_path.iterdir()
    with tarfile.open(made) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    ours = {name for name in git("ls-files", "-z").decode().split("\0") if name and (ROOT / name).exists()}
    assert {"Makefile", "CONTRIBUTING.md", ".dockerignore", ".ci/run"} <= ours
    assert not ours - held


def test_what_the_container_is_built_of_gets_into_its_build() -> None:
    taken = re.findall(r"(?m)^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text())
    sources = {source for line in taken for source in line.split()[:-1]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == let_in
    assert all((ROOT / source).exists() for source in sources)


def test_the_pythons_tried_begin_with_the_oldest_that_is_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={PYTHONS[0]}"
