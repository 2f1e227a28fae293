"""What runs anomalib's own models through its own Engine; the face is :mod:`training.anomalib_models`.

Everything in here imports torch and anomalib, which are an extra: import it inside functions only.
"""

import detector.openvino_runtime  # noqa: F401  openvino's telemetry is off before anomalib can import openvino
