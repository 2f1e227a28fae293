"""How good a model is: metrics, evaluation on labelled pictures, and the study of changed light."""

from training.measure.evaluate import Evaluation, evaluate
from training.measure.latency import interleaved_latencies, sentence
from training.measure.lighting import CONDITIONS, MIXED, ORIGINAL, Lamp, moved
from training.measure.lighting_study import CORESET_SIZE, IMAGE_SIZE, TEACHINGS, LightingStudy, study
from training.measure.metrics import AUPRO_FPR_LIMIT, Labels, Scores

__all__ = [
    "AUPRO_FPR_LIMIT",
    "CONDITIONS",
    "CORESET_SIZE",
    "IMAGE_SIZE",
    "MIXED",
    "ORIGINAL",
    "TEACHINGS",
    "Evaluation",
    "Labels",
    "Lamp",
    "LightingStudy",
    "Scores",
    "evaluate",
    "interleaved_latencies",
    "moved",
    "sentence",
    "study",
]
