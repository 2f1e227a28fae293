"""One run of anomalib's Engine that leaves nothing behind but progress bars: no files, log lines or changed seeds."""

from __future__ import annotations

import detector.quiet_openvino  # noqa: F401  before anomalib can import openvino

# isort: split

import contextlib
import ctypes
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.engine import Engine

from training.anomalib.pictures import Pictures

_LOGGERS = (
    *("anomalib", "torch.onnx", "onnxscript", "lightning", "lightning.pytorch", "lightning.fabric"),
    *("pytorch_lightning", "lightning_fabric"),  # torchmetrics brings this one's log lines into the other
)
_M_MMAP_THRESHOLD = -3


def fit(module: Any, pictures: Pictures, *, seed: int, steps: int | None = None) -> float:
    """Teach one of anomalib's models.

    Args:
        module: the Lightning module.
        pictures: what it learns from.
        seed: of every random choice anomalib makes.
        steps: of gradient descent; ``None`` for models that only look at every picture once.

    Returns:
        seconds the Engine's fit took.
    """
    chosen: dict[str, Any] = {} if steps is None else {"max_steps": steps}
    with (
        tempfile.TemporaryDirectory(prefix="anomalib-") as folder,
        quiet(),
        seeded(seed),
        large_blocks_apart(),
    ):
        # barebones: no checkpoint of hundreds of megabytes, which would also count as time to fit.
        engine = Engine(default_root_dir=folder, logger=False, barebones=True, accelerator="auto", devices=1, **chosen)
        start = time.perf_counter()
        engine.fit(module, datamodule=pictures)
        seconds = time.perf_counter() - start
        if steps is not None:
            # The last step need not end an epoch, and what is made by validation must fit the last weights.
            engine.trainer.validate(module, datamodule=pictures, verbose=False)
    module.eval()
    return seconds


def export(module: Any, folder: Path, side: int) -> Path:
    """anomalib's own export to OpenVINO, for one picture at a time; returns the ``.xml``."""
    with tempfile.TemporaryDirectory(prefix="anomalib-") as root, quiet():
        engine = Engine(default_root_dir=root, logger=False, barebones=True, accelerator="cpu", devices=1)
        # Without dynamic shapes the example is a single picture; with them it is two, and PatchCore keeps the two.
        # 18 is the opset torch writes; the 14 anomalib asks for is converted to, in vain.
        path = engine.export(
            module.cpu(),
            "openvino",
            export_root=folder,
            input_size=(side, side),
            onnx_kwargs={"opset_version": 18, "dynamic_shapes": None, "verbose": False},
        )
    return Path(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Errors only, from anomalib and what it stands on."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's and numpy's global random numbers start at ``seed``, and go on afterwards as if nothing had been."""
    before = np.random.get_state()  # scikit-learn's default, which anomalib's projection uses
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


@contextlib.contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Give every tensor above 8 MB its own mapping for a while, where the C library is glibc.

    In each of its steps anomalib's coreset frees a tensor of 12 MB and keeps a tiny one. In glibc's heap the tiny ones
    can then keep the freed space from being used again, up to 24 GB and the end (seen here, not in every run).
    """
    mallopt = None
    with contextlib.suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
    if mallopt is None:
        yield
        return
    mallopt(_M_MMAP_THRESHOLD, 8 << 20)
    try:
        yield
    finally:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
