"""How good a model is: metrics, evaluation on labelled pictures, and the study of changed light."""

from training.measure.evaluate import Evaluation, evaluate
from training.measure.latency import interleaved_latencies, sentence
from training.measure.lighting import CONDITIONS, MIXED, ORIGINAL, Lamp, moved
from training.measure.lighting_study import CORESET_SIZE, IMAGE_SIZE, TEACHINGS, LightingStudy, study
from training.measure.metrics import AUPRO_FPR_LIMIT, RECALL_FALSE_REJECTS, Labels, RecallAt, Scores
from training.measure.promised import Promised

__all__ = [
    "AUPRO_FPR_LIMIT",
    "CONDITIONS",
    "CORESET_SIZE",
    "IMAGE_SIZE",
    "MIXED",
    "ORIGINAL",
    "RECALL_FALSE_REJECTS",
    "TEACHINGS",
    "Evaluation",
    "Labels",
    "Lamp",
    "LightingStudy",
    "Promised",
    "RecallAt",
    "Scores",
    "evaluate",
    "interleaved_latencies",
    "moved",
    "sentence",
    "study",
]
