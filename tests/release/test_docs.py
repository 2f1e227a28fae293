"""The docs as a site: no broken link, no page that nothing leads to, nothing asked of the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the docs need the extra `docs`")

ROOT = Path(__file__).parents[2]
LARGEST = 150_000
LOADED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_there_and_is_found(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages | {"contributing", "changelog", "third-party"} <= {path.stem for path in site.glob("*.html")}
    assert (site / "search" / "search_index.json").stat().st_size > 100_000


def test_it_asks_nothing_of_the_network(site: Path) -> None:
    for path in site.glob("*.html"):
        assert not LOADED.search(path.read_text()), path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", path.read_text()), path.name


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", readme))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - linked <= {"index.md"}


def test_every_picture_of_the_tour_is_small() -> None:
    shown = set(re.findall(r"\]\((tour/\w+\.webp)\)", (ROOT / "docs" / "tour.md").read_text()))
    assert len(shown) == 8
    for picture in shown:
        assert (ROOT / "docs" / picture).stat().st_size <= LARGEST, picture
