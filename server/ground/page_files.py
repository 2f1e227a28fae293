"""Where the page's files are."""

from __future__ import annotations

from pathlib import Path


def page_folder(name: str) -> Path:
    """``static`` or ``templates``: inside the package when installed, beside it in the source tree."""
    here = Path(__file__).parent.parent
    return next(folder for folder in (here / name, here.parent / name) if folder.is_dir())
