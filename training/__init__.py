"""The offline floor: data sets, training a model from a folder, and measuring it on labelled pictures.

Imports the detector floor only. scikit-learn and tqdm are imported where they are used, because the server
imports this package too.
"""

from training.data import (
    DataSet,
    DataSetError,
    TestPicture,
    Unusable,
    check,
    find_data_set,
    find_test_pictures,
    find_training_pictures,
)
from training.measure import Evaluation, evaluate
from training.train import Training, train

__all__ = [
    "DataSet",
    "DataSetError",
    "Evaluation",
    "TestPicture",
    "Training",
    "Unusable",
    "check",
    "evaluate",
    "find_data_set",
    "find_test_pictures",
    "find_training_pictures",
    "train",
]
