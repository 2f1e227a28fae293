"""The offline floor: data sets, training a model from a folder, and measuring it on labelled pictures.

Imports the detector floor only. scikit-learn and tqdm are imported where they are used, because the server
imports this package too.
"""

from training.datasets import DataSetError, TestPicture, TrainingSet, find_test_pictures, find_training_set
from training.evaluate import Evaluation, evaluate
from training.train import Training, train

__all__ = [
    "DataSetError",
    "Evaluation",
    "TestPicture",
    "Training",
    "TrainingSet",
    "evaluate",
    "find_test_pictures",
    "find_training_set",
    "train",
]
