"""How well models separate, by preset and precision, and what the fast search costs against the exact one.

    python -m benchmarks.accuracy FOLDER…

Each folder is a data set with labelled pictures. All figures are at default settings but for what a row names.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import detector
from detector import PRESETS, TaughtModel
from detector.heads.head import NearestNeighbour
from detector.score import to_detection
from training.data import datasets
from training.data.datasets import DataSet
from training.measure import evaluate
from training.reports.markdown import table

MODELS: dict[str, dict[str, Any]] = {
    **{f"{preset}, float32": {"preset": preset} for preset in PRESETS},
    "balanced, bfloat16": {"precision": "bfloat16"},
    "balanced, int8": {"precision": "int8"},
    "padim": {"method": "padim"},
}


def main() -> None:
    data_sets = [datasets.find_data_set(Path(folder)) for folder in sys.argv[1:]]
    if not data_sets:
        sys.exit("usage: python -m benchmarks.accuracy FOLDER…")
    rows, exact = [], []
    for data_set in data_sets:
        for name, options in MODELS.items():
            start = time.perf_counter()
            model = detector.fit(datasets.Pictures(data_set.training), **options)
            seconds = time.perf_counter() - start
            rows.append([data_set.name, name, *figures(model, data_set), f"{seconds:.1f}"])
            if name == "balanced, float32":
                exact.append([data_set.name, *beside_exact_search(model, data_set)])
    heads = ["pictures", "model", "image AUROC", "pixel AUROC", "AUPRO", "false rejects", "escapes", "taught in, s"]
    print(f"{table(heads, rows)}\n")
    print("The served search (signatures of 128 bytes) against exact float32 search in all dimensions, *balanced*:\n")
    heads = ["pictures", "image AUROC, served", "exact", "loss", "largest difference of a score"]
    print(table(heads, exact))


def figures(model: TaughtModel, data_set: DataSet) -> list[str]:
    found = evaluate(model, data_set.test)
    good = sum(not picture.defective for picture in data_set.test)
    return [
        *(
            f"{value:.4f}" if value is not None else "–"
            for value in (found.image_auroc, found.pixel_auroc, found.aupro)
        ),
        f"{found.false_rejects} of {good}",
        f"{found.escapes} of {len(data_set.test) - good}",
    ]


def beside_exact_search(model: TaughtModel, data_set: DataSet) -> list[str]:
    assert isinstance(model.head, NearestNeighbour)
    bank = model.head.memory_bank
    grid = model.input_size.grid(model.backbone.grid_stride)
    served, exact = [], []
    for frame in datasets.read_all(picture.path for picture in data_set.test):
        patches = model.patches(frame)
        squared = (patches**2).sum(1)[:, None] + (bank**2).sum(1) - 2 * patches @ bank.T
        exact.append(to_detection(np.sqrt(np.maximum(squared.min(1), 0)).reshape(grid)).score)
        served.append(model.detect(frame).score)
    labels = [picture.defective for picture in data_set.test]
    one, other = (float(roc_auc_score(labels, scores)) for scores in (served, exact))
    largest = float(np.abs(np.divide(served, exact) - 1).max())
    return [f"{one:.4f}", f"{other:.4f}", f"{max(0.0, other - one):.4f}", f"{largest:.1%}"]


if __name__ == "__main__":
    main()
