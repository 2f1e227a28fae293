"""anomalib's own models, exported for us and run through its own Engine: compared, and served.

Only :mod:`training.anomalib.models` may be imported where torch and anomalib are not installed; the others in here
import them, which are an extra.
"""

from training.anomalib import models
from training.anomalib.models import EFFICIENTAD_STEPS

__all__ = ["EFFICIENTAD_STEPS", "models"]
