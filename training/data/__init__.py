"""Folders of pictures: which layout they have, which pictures are usable, which are good and which are not."""

from training.data import datasets
from training.data.datasets import (
    GOOD,
    DataSet,
    DataSetError,
    TestPicture,
    Unusable,
    check,
    find_data_set,
    find_test_pictures,
    find_training_pictures,
)

__all__ = [
    "GOOD",
    "DataSet",
    "DataSetError",
    "TestPicture",
    "Unusable",
    "check",
    "datasets",
    "find_data_set",
    "find_test_pictures",
    "find_training_pictures",
]
