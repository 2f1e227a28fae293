"""openvino, imported so that it reports to nobody: everything of ours that needs it takes ``ov`` and ``ops`` from here.

Importing openvino tells its makers, unasked, and no environment variable stops it. A telemetry client that cannot be
imported does: openvino then takes its own stub, which sends nothing, and so does NNCF. Import this only where it is
needed: openvino takes its time.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
import openvino.opset13 as ops  # noqa: E402

__all__ = ["ops", "ov"]
