"""How well models separate and what their thresholds do, over several seeds, beside an older checkout's figures.

    python -m benchmarks.accuracy FOLDER… [--cache FOLDER] [--tree CHECKOUT] [--record FILE] [--before FILE]

Each folder is a data set with labelled pictures, or holds some. All figures are at default settings but for what a row
names. What was measured is kept in the cache: an interrupted run goes on, and several processes may each fill it with
other data sets. With ``--tree`` another checkout is measured, by the same measures; ``--record`` writes its figures to
a file, which a later run prints beside its own (``--before``).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import detector
from benchmarks.rows import Row, Rows, measurable
from benchmarks.summary import ELSEWHERE, Sets, Summaries, Summary, all_false_rejects, goals, over, summary
from benchmarks.tree import ROOT, Refused
from detector import TaughtModel
from detector.files import write_atomically
from detector.heads import MemoryBanks
from detector.runtimes import runtime
from detector.score import to_detection
from training.data import datasets
from training.data.datasets import DataSet
from training.reports.markdown import table

PRESETS = ("balanced", "fine")
SEEDS = (0, 1, 2)
FEW = 3
"""The data sets with the fewest pictures: other precisions and methods are measured on these, with one seed."""
OTHERS: dict[str, dict[str, Any]] = {
    "balanced, float32": {"preset": "balanced"},
    "fast, float32": {"preset": "fast"},
    "balanced, bfloat16": {"precision": "bfloat16"},
    "balanced, int8": {"precision": "int8"},
    "padim": {"method": "padim"},
}
MEANS = (("escape_rate", ".0%"), ("false_reject_rate", ".1%"), ("recall", ".0%"), ("auroc", ".4f"))
BEFORE = Path(__file__).with_name("before.json")
TITLES = {
    "tuned": "The sets that layers, weights and search were once chosen on",
    "newer": "Sets that came later",
    ELSEWHERE: "Other sets, on which nothing was chosen",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/defectvision-accuracy"))
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--presets", type=lambda text: text.split(","), default=list(PRESETS))
    parser.add_argument("--record", metavar="FILE", type=Path)
    parser.add_argument("--before", metavar="FILE", type=Path, default=BEFORE)
    arguments = parser.parse_args()
    data_sets = measurable(arguments.folders)
    found: dict[str, dict[str, Summary]] = {preset: {} for preset in arguments.presets}
    own = arguments.tree.resolve() == ROOT.resolve()
    with Rows(arguments.cache, arguments.tree) as rows:
        took = 0.0
        for data_set in data_sets:
            for preset in arguments.presets:
                of_set = [rows.row(data_set, {"preset": preset}, seed) for seed in SEEDS]
                found[preset][data_set.name] = summary(of_set)
                took += sum(row.took for row in of_set)
        before = recorded(arguments.before) if own else {}
        for preset, sets in found.items():
            print(f"{by_set(preset, sets, before.get(preset, {}))}\n")
        print("What was asked for:\n")
        heads = ["what", "goal", "before", "reached", "met"]
        print(f"{table(heads, [goal.line for goal in goals(found, before, arguments.presets[0])])}\n")
        print(f"{len(SEEDS)} seeds of {', '.join(arguments.presets)}: {took / 60:.0f} minutes.")
        if arguments.record:
            write_atomically(arguments.record, as_json(found))
        if own:
            few = sorted(data_sets, key=lambda one: len(one.training) + len(one.test))[:FEW]
            print(f"\nOther presets, precisions and methods, seed {SEEDS[0]}:\n\n{others(rows, few)}\n")
            print("The served search (signatures of 128 bytes) against exact float32 search in all dimensions:\n")
            heads = ["pictures", "image AUROC, served", "exact", "loss", "largest difference of a score"]
            print(table(heads, [[one.name, *beside_exact_search(one)] for one in few]))


def by_set(preset: str, found: Sets, before: Sets) -> str:
    """One table for each group of sets, with its means; figures in brackets are the older checkout's."""
    old = {name: one for name, one in before.items() if name in found}
    blocks = []
    heads = [
        *("pictures", "escapes", "false rejects", "promised at most", "found at 1 %"),
        *("image AUROC", "worst seed", "AUPRO", "taught in, s"),
    ]
    for group, title in TITLES.items():
        sets = [one for one in found.values() if one.group == group]
        if not sets:
            continue
        lines = [line(one, before.get(one.data_set)) for one in sets]
        means = [shown(over(found, group, name), over(old, group, name), digits) for name, digits in MEANS]
        means.insert(2, "")
        lines.append([f"**mean of {len(sets)}**", *means, "", shown(over(found, group, "aupro"), None, ".3f"), ""])
        blocks.append(f"{title}, *{preset}*:\n\n{table(heads, lines)}")
    rejected = shown(all_false_rejects(found), all_false_rejects(old), ".1%")
    blocks.append(f"False rejects of all good pictures, *{preset}*: {rejected}.")
    return "\n\n".join(blocks)


def line(one: Summary, old: Summary | None) -> list[str]:
    promised = "–" if one.at_most is None else f"{one.at_most:.1%}, kept {one.kept} of {one.promised}"
    return [
        one.data_set,
        f"{shown(one.escape_rate, old and old.escape_rate, '.0%')} of {one.defective}",
        f"{shown(one.false_reject_rate, old and old.false_reject_rate, '.1%')} of {one.good}",
        promised,
        shown(one.recall, old and old.recall, ".0%"),
        shown(one.auroc, old and old.auroc, ".4f"),
        f"{one.worst_auroc - one.auroc:+.4f}",
        shown(one.aupro, old and old.aupro, ".3f"),
        f"{one.seconds:.1f}",
    ]


def shown(value: float | None, old: float | None, digits: str) -> str:
    text = "–" if value is None else f"{value:{digits}}"
    return text if old is None or value is None else f"{text} ({old:{digits}})"


def others(rows: Rows, data_sets: Sequence[DataSet]) -> str:
    heads = ["pictures", "model", "image AUROC", "pixel AUROC", "AUPRO", "false rejects", "escapes", "taught in, s"]
    lines = []
    for data_set in data_sets:
        for name, options in OTHERS.items():
            try:
                row = rows.row(data_set, options, SEEDS[0])
            except Refused as refusal:  # a precision that this processor or installation does not have
                print(refusal, file=sys.stderr)
                continue
            lines.append([data_set.name, name, *figures(row)])
    return table(heads, lines)


def figures(row: Row) -> list[str]:
    made = row.decisions
    return [
        *(shown(value, None, ".4f") for value in (row.auroc, row.pixel_auroc, row.aupro)),
        f"{made.false_rejects} of {made.good}",
        f"{made.escapes} of {made.defective}",
        f"{row.seconds:.1f}",
    ]


def as_json(found: Summaries) -> bytes:
    plain = {preset: {name: asdict(one) for name, one in sets.items()} for preset, sets in found.items()}
    return (json.dumps(plain, indent=1) + "\n").encode()


def recorded(file: Path) -> dict[str, dict[str, Summary]]:
    """What :func:`as_json` wrote; nothing where there is no such file."""
    if not file.is_file():
        return {}
    return {
        preset: {name: Summary(**one) for name, one in sets.items()}
        for preset, sets in json.loads(file.read_text()).items()
    }


def beside_exact_search(data_set: DataSet) -> list[str]:
    """AUROC of the served and of the exact search, the loss, and the largest difference of a score: by distance alone,
    at both scales."""
    model: TaughtModel = detector.fit(datasets.Pictures(data_set.training), seed=SEEDS[0])
    assert isinstance(model.head, MemoryBanks)
    head = dataclasses.replace(model.head, drawn=None)
    model = TaughtModel(model.manifest, head, model.backbone, runtime("openvino"))
    served, exact = [], []
    for frame in datasets.read_all(picture.path for picture in data_set.test):
        patches = model.patches(frame)
        maps = []
        for (shrink, _), rows, bank in zip(
            head.scales, (patches.fine, patches.coarse), (head.banks.fine, head.banks.coarse), strict=False
        ):
            squared = (rows**2).sum(1)[:, None] + (bank**2).sum(1) - 2 * rows @ bank.T
            grid = model.input_size.shrunk(shrink).grid(model.backbone.grid_stride)
            maps.append(np.sqrt(np.maximum(squared.min(1), 0)).reshape(grid))
        exact.append(to_detection(*maps).score)
        served.append(model.detect(frame).score)
    labels = [picture.defective for picture in data_set.test]
    one, other = (float(roc_auc_score(labels, scores)) for scores in (served, exact))
    largest = float(np.abs(np.divide(served, exact) - 1).max())
    return [f"{one:.4f}", f"{other:.4f}", f"{max(0.0, other - one):.4f}", f"{largest:.1%}"]


if __name__ == "__main__":
    main()
