"""What few pictures of good parts are worth: 5, 10, 20 and 50 of them, ten draws of each.

    python -m benchmarks.few_shot FOLDER… [--counts 5,10,20,50] [--cache FOLDER] [--tree CHECKOUT]

Each folder is a data set with labelled pictures, or holds some. A draw takes its pictures to learn from, and its seed,
by its number; all are measured on the same pictures, as many good as defective ones where there are. What was
measured is kept in the cache, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, Rows, measurable, part
from benchmarks.tree import ROOT
from training.data import DataSet
from training.reports.markdown import table

COUNTS = (5, 10, 20, 50)
DRAWS = 10
MEASURED = 60
"""Pictures at the most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/defectvision-accuracy"))
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--counts", type=lambda text: [int(count) for count in text.split(",")], default=list(COUNTS))
    arguments = parser.parse_args()
    data_sets = measurable(arguments.folders)
    found: dict[tuple[str, int], list[Row]] = {}
    with Rows(arguments.cache, arguments.tree) as rows:
        for count in arguments.counts:
            for data_set in data_sets:
                if len(data_set.training) >= count:
                    found[data_set.name, count] = [few(rows, data_set, count, draw) for draw in range(DRAWS)]
    took = sum(row.took for of_set in found.values() for row in of_set)
    print(f"{over_all(found)}\n\n{by_set(found)}\n\n{took / 60:.0f} minutes.")


def few(rows: Rows, data_set: DataSet, count: int, draw: int) -> Row:
    """One draw."""
    learn = np.random.default_rng([count, draw]).choice(len(data_set.training), count, replace=False)
    return rows.row(part(data_set, sorted(learn.tolist()), measured_on(data_set)), {}, draw, maps=False)


def measured_on(data_set: DataSet) -> list[int]:
    """Which labelled pictures, the same for every draw: half of them good; more of one kind where the other lacks."""
    defective = np.array([picture.defective for picture in data_set.test])
    bad, good = np.flatnonzero(defective), np.flatnonzero(~defective)
    of_good = min(len(good), max(MEASURED // 2, MEASURED - len(bad)))
    of_bad = min(len(bad), MEASURED - of_good)
    random = np.random.default_rng(0)
    chosen = (random.choice(kind, size, replace=False) for kind, size in ((good, of_good), (bad, of_bad)))
    return sorted(int(index) for kind in chosen for index in kind)


def over_all(found: dict[tuple[str, int], list[Row]]) -> str:
    """Means over the sets, each counting the same; a count has only the sets with as many pictures."""
    lines = []
    for count in COUNTS:
        sets = [measures(rows) for (_, own), rows in found.items() if own == count]
        if sets:
            means = np.mean([one.mean(axis=0) for one in sets], axis=0)
            spread = np.mean([one.std(axis=0, ddof=1) for one in sets], axis=0)
            lines.append([count, len(sets), *written(means, spread), f"{min(one[:, 3].min() for one in sets):.3f}"])
    heads = [
        "good pictures",
        "sets",
        "escapes",
        "false rejects",
        "found at 1 %",
        "image AUROC",
        "worst draw of any set",
    ]
    return f"Means over sets, ± the spread (standard deviation) of {DRAWS} draws:\n\n{table(heads, lines)}"


def by_set(found: dict[tuple[str, int], list[Row]]) -> str:
    names = list(dict.fromkeys(name for name, _ in found))
    lines = []
    for name in names:
        cells = []
        for count in COUNTS:
            rows = found.get((name, count))
            if rows is None:
                cells.append("–")
                continue
            own = measures(rows)
            escapes, rejects, _, auroc = own.mean(axis=0)
            cells.append(f"{auroc:.3f} ± {own[:, 3].std(ddof=1):.3f}; {escapes:.0%}; {rejects:.0%}")
        lines.append([name, *cells])
    return (
        f"Image AUROC; escapes; false rejects:\n\n{table(['pictures', *(f'{count} good' for count in COUNTS)], lines)}"
    )


def measures(rows: Sequence[Row]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """For each draw: rates of escapes and of false rejects, recall at 1 % false rejects, image AUROC."""
    return np.array(
        [
            (
                row.decisions.escapes / row.decisions.defective,
                row.decisions.false_rejects / row.decisions.good,
                row.recall.recall,
                row.auroc,
            )
            for row in rows
        ]
    )


def written(means: Sequence[float], spread: Sequence[float]) -> list[str]:
    shares = [f"{100 * mean:.0f} ± {100 * own:.0f} %" for mean, own in zip(means[:3], spread[:3], strict=True)]
    return [*shares, f"{means[3]:.3f} ± {spread[3]:.3f}"]


if __name__ == "__main__":
    main()
