"""Accuracy is measured by hand, ``make bench``; that its rows are kept and added up is tested here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import few_shot, frame_time
from benchmarks.accuracy import as_json, by_set, recorded
from benchmarks.rows import Row, Rows, measurable, part
from benchmarks.summary import goals, summary
from benchmarks.tree import ROOT, Tree, digest
from tests.training.conftest import draw_part, write_picture

OPTIONS = {"image_size": 64, "coreset_size": 40}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "disc"
    for number in range(8):
        write_picture(folder / f"train/good/{number}.png", draw_part(number))
    for number in range(3):
        write_picture(folder / f"test/good/{number}.png", draw_part(100 + number))
        write_picture(folder / f"test/spot/{number}.png", draw_part(200 + number, defect=True))
    return folder


def row(data_set: str = "cookie", seed: int = 0, **facts: Any) -> Row:
    made = Row(data_set, seed, [1.0, 2.0, 3.0], [2.5, 4.0, 5.0, 6.0], 4.5, [1.0, 2.0], None, None, 0.5, 3.0, 9.0)
    return replace(made, **facts)


def test_a_row_is_measured_once_and_known_by_what_it_depends_on(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_set,) = measurable([parts.parent])
    with Rows(tmp_path) as rows:
        found = rows.row(data_set, OPTIONS, 0)
        assert found.auroc == 1.0 and found.decisions.defective == 3 and len(found.good) == 3
        assert len(found.held_out) == 8 and found.threshold > 0 and found.took >= found.seconds > 0

    def not_again(*_: object) -> Row:
        raise AssertionError("measured again")

    with Rows(tmp_path) as rows:
        monkeypatch.setattr(rows, "_measure", not_again)
        assert rows.row(data_set, OPTIONS, 0) == found
        for other, options, seed in (
            (data_set, OPTIONS, 1),
            (data_set, {"image_size": 96}, 0),
            (part(data_set, range(7), range(6)), OPTIONS, 0),
        ):
            with pytest.raises(AssertionError, match="measured again"):
                rows.row(other, options, seed)


def test_another_checkout_answers_with_its_own_detector(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no detector"):
        Tree(tmp_path)
    package = tmp_path / "detector"
    package.mkdir()
    (package / "__init__.py").write_text("images = None\n")
    with Tree(tmp_path) as tree:
        assert tree.ask("which")["file"] == str(package / "__init__.py")
        with pytest.raises(SystemExit, match="teach: AttributeError"):
            tree.ask("teach", model="a", paths=[], options={})
    assert digest(tmp_path) != digest(ROOT)


def test_seeds_are_added_up() -> None:
    found = summary([row(), row(seed=1, threshold=5.5), row(seed=2, good=[1.0, 2.0, 5.75], threshold=5.5)])
    assert found.group == "tuned"
    assert (found.worst_escapes, found.worst_false_rejects) == (3, 1)
    assert found.escape_rate == pytest.approx((2 + 3 + 3) / 12)
    assert found.false_reject_rate == pytest.approx(1 / 9)
    assert found.auroc == pytest.approx((2 * 11 / 12 + 9 / 12) / 3)
    assert found.worst_auroc == pytest.approx(9 / 12)
    assert found.recall == pytest.approx((3 / 4 + 3 / 4 + 1 / 4) / 3)
    assert (found.promised, found.kept, found.at_most) == (0, 0, None)


def test_a_promise_is_kept_or_not() -> None:
    promise = {"expected": 0.001, "at_most": 0.01, "confidence": 0.95, "parts": 30, "independent": 30.0}
    good = [1.0] * 95 + [9.0] * 5
    found = summary([row(promise=promise), row(seed=1, promise=promise, good=good)])
    assert (found.promised, found.kept, found.at_most) == (2, 1, 0.01)


def test_goals_are_computed_and_an_older_checkout_stands_beside(tmp_path: Path) -> None:
    before = {"balanced": {name: summary([row(name)]) for name in ("cookie", "kolektorsdd", "mine")}}
    better = {name: summary([row(name, threshold=3.5)]) for name in ("cookie", "mine")}
    lines = {goal.what: goal.line for goal in goals({"balanced": better}, before)}
    assert lines["escapes at the default threshold, mean of all sets"][1:] == ["≤ 15.0%", "50.0%", "25.0%", "**no**"]
    assert lines["cookie, worst seed: escapes of 32"][1:] == ["≤ 4", "2", "1", "yes"]
    assert lines["largest loss of image AUROC of a tuned set"][3:] == ["0.0000", "yes"]
    assert not any("newer" in what for what in lines), "kolektorsdd was not measured"
    file = tmp_path / "before.json"
    file.write_bytes(as_json(before))
    assert recorded(file) == before
    text = by_set("balanced", better, before["balanced"])
    assert "| cookie | 25% (50%) of 4 | 0.0% (0.0%) of 3 | – | 75% (75%) |" in text
    assert text.count("mean of 1") == 2


def test_few_pictures_are_measured_on_as_many_good_as_defective_ones(parts: Path) -> None:
    (data_set,) = measurable([parts])
    many = replace(data_set, test=tuple(picture for picture in data_set.test for _ in range(20)))
    chosen = few_shot.measured_on(many)
    assert len(set(chosen)) == few_shot.MEASURED
    assert sum(many.test[index].defective for index in chosen) == few_shot.MEASURED // 2
    lacking = replace(data_set, test=many.test[50:])  # 10 good ones
    assert len(few_shot.measured_on(lacking)) == few_shot.MEASURED
    found = {("disc", 5): [row(seed=draw) for draw in range(few_shot.DRAWS)]}
    assert "| 5 | 1 | 50 ± 0 % | 0 ± 0 % | 75 ± 0 % | 0.917 ± 0.000 | 0.917 |" in few_shot.over_all(found)
    assert "| disc | 0.917 ± 0.000; 50%; 0% | – | – | – |" in few_shot.by_set(found)


def test_ratios_are_of_medians() -> None:
    times = {
        (name, preset): [scale * each for each in (1.0, 2.0, 30.0)]
        for name, scale in (("now", 11.0), ("before", 10.0))
        for preset in frame_time.PRESETS
    }
    text = frame_time.goals(times, {"now": 4.0, "before": 6.0})
    assert "| one frame, *fast*, against before | ≤ 1.00× | 1.10× | **no** |" in text
    assert "| one frame, *balanced*, against before | ≤ 1.15× | 1.10× | yes |" in text
    assert "| 60 frames taught, *balanced*, now | ≤ 5.0 s | 4.0 s | yes |" in text
