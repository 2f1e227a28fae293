"""The optional dependencies of this package, by the names of pyproject.toml, and how one is installed."""

from detector.version import VERSION


def to_install(extra: str) -> str:
    """The commands that install an extra, for the end of a sentence: of a release's wheel, and in a clone. Neither
    takes what others may publish under this name."""
    wheel = f"defectvision-{VERSION}-py3-none-any.whl"
    return f"pip install './{wheel}[{extra}]' (in a clone: .venv/bin/pip install -e '.[{extra}]')"
