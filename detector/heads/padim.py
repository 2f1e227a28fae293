"""PaDiM: a normal distribution for each place of the patch grid; the Mahalanobis distance is the anomaly.

Defard et al., PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization, ICPR 2021
(arXiv 2011.08785). It wants parts that lie the same way in every frame, and learns in one pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.heads.head import Gaussians
from detector.heads.projection import Projection

DIMENSIONS = 64
REGULARISATION = 0.01
"""Added to the variances, as in the paper (equation 1): keeps a covariance of few images invertible."""
MAX_IMAGES = 500
"""Normal images kept, chosen at random when there are more."""


def learn(projected: NDArray[np.float32], projection: Projection) -> Gaussians:
    """Mean and covariance of each place, from projected patch features, images×N×D float32."""
    centres = projected.mean(0)
    deviations = (projected - centres).transpose(1, 2, 0)  # N×D×images
    covariance = deviations @ deviations.transpose(0, 2, 1) / max(1, len(projected) - 1)
    covariance += REGULARISATION * np.eye(covariance.shape[1], dtype=np.float32)
    # Inverse covariance = L⁻ᵀ L⁻¹ for the Cholesky factor L, so W = L⁻ᵀ.
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).transpose(0, 2, 1)
    return Gaussians(projection.mean, projection.matrix, centres, np.ascontiguousarray(whitening, np.float32))
