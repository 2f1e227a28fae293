from __future__ import annotations

import re
from pathlib import Path

import pytest

from detector.counted import counted

ROOT = Path(__file__).parents[2]
WRITTEN_OUT = (
    r"""=== 1 \? "[a-z]+" : "[a-z]+s\"""",
    r"""'' if [a-z_.|]+ == 1 else 's'""",
    r"""'s' if [a-z_.]+ > 1 else ''""",
)


@pytest.mark.parametrize(("number", "words"), [(0, "0 parts"), (1, "1 part"), (2, "2 parts"), (1204, "1,204 parts")])
def test_one_is_not_many(number: int, words: str) -> None:
    assert counted(number, "part") == words


def test_what_takes_no_s_is_given() -> None:
    assert [counted(n, "image is", "images are") for n in (1, 2)] == ["1 image is", "2 images are"]


def test_nothing_that_a_server_says_is_counted_in_another_way() -> None:
    sources = [path for folder in ("detector", "server") for path in (ROOT / folder).rglob("*.py")]
    sources += [path for path in (ROOT / "static").rglob("*.js") if path.name != "count.js"]
    found = [
        f"{path.relative_to(ROOT)}: {hit}"
        for path in sources
        for pattern in WRITTEN_OUT
        for hit in re.findall(pattern, path.read_text())
    ]
    assert found == []
