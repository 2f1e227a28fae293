"""What mkdocs is told beside ``mkdocs.yml``: pages that lie beside ``docs/``, and links that lead out of it."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from release.requirements import ROOT

BESIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "THIRD_PARTY.md": "third-party.md"}
"""Pages of the project's root, and what they are called in the site."""
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages of the root; there they link to ``docs/…``."""
    for name, page in BESIDE.items():
        text = (ROOT / name).read_text()
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files of the project that the site does not hold become their names."""
    return LINK.sub(_within, markdown)


def _within(link: re.Match[str]) -> str:
    text, target = link.groups()
    path, _, anchor = target.removeprefix("../").partition("#")
    if path in BESIDE:
        return f"[{text}]({BESIDE[path]}{'#' if anchor else ''}{anchor})"
    if path == "README.md":
        return f"[{text}](index.md)"
    leads_out = target.startswith("../") or ("://" not in target and (ROOT / path).is_file())
    return text if leads_out else link.group()
