"""How an extra is installed is said in one place, of extras that there are, and never as PyPI's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from detector.extras import to_install

ROOT = Path(__file__).parents[2]
CODE = [path for floor in ("detector", "training", "server") for path in sorted((ROOT / floor).rglob("*.py"))]


def test_it_names_the_release_and_the_clone_and_not_pypi() -> None:
    words = to_install("mqtt")
    assert re.match(r"pip install './defectvision-[\w.]+-py3-none-any\.whl\[mqtt\]' \(in a clone: ", words)
    assert "'.[mqtt]'" in words and "'defectvision[" not in words


def test_nobody_else_makes_that_sentence() -> None:
    own = ROOT / "detector" / "extras.py"
    assert [path for path in CODE if path != own and "defectvision[" in path.read_text()] == []


def test_each_extra_that_is_named_is_there() -> None:
    there = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for path in CODE for name in re.findall(r"to_install\([\"'](\w+)[\"']\)", path.read_text())}
    named |= {name for path in CODE for name in re.findall(r"^    extra=\"(\w+)\"", path.read_text(), re.MULTILINE)}
    assert {"ray", "torch", "mqtt", "plant", "opcua"} <= named <= set(there)
