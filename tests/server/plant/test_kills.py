"""A gateway is killed at each step of what changes recipes and models: see :mod:`tests.server.plant.killed`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from urllib.parse import quote

import pytest

from server.ground import DatabaseAddress
from tests.running import ROOT
from tests.server.records.postgres import PASSWORD, USER

CHANGES = ("teach", "forgive", "take back", "import", "delete", "make")
BOTH_SIDES = ["before the database is asked", "after the database answered"]


@pytest.fixture(scope="module")
def reports(
    postgresql_or_none: object, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, list[tuple[str, str]]]:
    """Of each change its steps, and what a kill there left; all of one process, which loads the libraries once."""
    pytest.importorskip("asyncpg")
    if postgresql_or_none is None:
        pytest.skip("PostgreSQL is not installed: python -m tests.equipment")
    address: DatabaseAddress = postgresql_or_none.database()  # type: ignore[attr-defined]
    url = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{address.port}/{address.database}"
    command = [sys.executable, "-m", "tests.server.plant.killed", str(tmp_path_factory.mktemp("killed")), url, *CHANGES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in done.stdout.splitlines():
        one = json.loads(line)
        assert one["found"] != "broken", f"{one}\n{done.stderr}"
        found[one["change"]].append((one["step"], one["found"]))
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_leaves_the_old_or_the_new(reports: dict[str, list[tuple[str, str]]], change: str) -> None:
    steps = reports[change]
    names = [name for name, _ in steps if "clock" not in name]  # which is written when others are removed
    assert [name for name in names if "database" in name] == BOTH_SIDES
    stored = [name for name in names if name.startswith("os.rename")]
    assert bool(stored) == (change not in ("take back", "delete")), "what is new is in the store before it counts"
    assert names.index(BOTH_SIDES[0]) >= len(stored)
    asked = names.index(BOTH_SIDES[1])
    assert {found for _, found in steps[:asked]} == {"old"}
    if change != "make":  # whose directory is a gateway's only once it says so: then it is done again
        assert {found for _, found in steps[asked:]} == {"new"}
