"""Benchmarks are run by hand, ``make bench``; that what they print reaches the document is tested here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as bench
from benchmarks.interleaved import take_turns
from benchmarks.memory import Jittered
from detector.images import encode_jpeg
from training.benchmark import draw


def test_every_section_has_its_place_in_the_document() -> None:
    for name in bench.SECTIONS:
        document = bench.document_of(name).read_text()
        assert document.count(f"<!-- {name} -->") == document.count(f"<!-- /{name} -->") == 1


def test_a_section_is_replaced_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "DOCUMENT", tmp_path / "benchmarks.md")
    bench.DOCUMENT.write_text("before\n<!-- one -->\nold\n<!-- /one -->\nbetween\n<!-- two -->\n<!-- /two -->\n")
    bench.write("one", r"new \1")
    bench.write("two", "| a |")
    expected = "before\n<!-- one -->\nnew \\1\n<!-- /one -->\nbetween\n<!-- two -->\n| a |\n<!-- /two -->\n"
    assert bench.DOCUMENT.read_text() == expected
    with pytest.raises(SystemExit, match="has no section three"):
        bench.write("three", "")


def test_candidates_take_turns_and_the_first_round_does_not_count() -> None:
    runs: list[str] = []
    names = ("a", "b", "c")
    times = take_turns({name: lambda name=name: runs.append(name) for name in names}, rounds=6, pause=0)
    turns = runs[::2]
    assert turns == runs[1::2], "each runs twice in a row"
    assert all(sorted(turns[start : start + 3]) == list(names) for start in range(0, 21, 3))
    assert len({tuple(turns[start : start + 3]) for start in range(0, 21, 3)}) > 1, "the order is one of chance"
    assert all(0 <= found.low <= found.median <= found.high for found in times.values())


def test_jittered_pictures_differ_and_are_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "part.jpg"
    path.write_bytes(encode_jpeg(draw(64, 48), quality=90)[0])
    pictures = Jittered([path], 3)
    assert len(list(pictures)) == 3
    assert np.array_equal(pictures[1], pictures[1]) and not np.array_equal(pictures[0], pictures[1])
